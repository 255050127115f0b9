"""Passages, as a searcher gives them."""

from __future__ import annotations

from ragd.answers import PassageLine, SearchAnswer, SearchResult
from tests.store.factories import CHANNEL, GUILD, at

COLD = (
    ("rafa", "is it ok to charge the battery when it is freezing? we get minus 8 at night"),
    ("lena", "my rain gauge counts double"),
    ("wei", "No. Never charge lithium iron phosphate below 0 °C."),
    ("wei", "Discharging is fine down to -20."),
)
NTC = (
    ("mara", "The board has an NTC input, with it the charger pauses by itself when it freezes."),
    ("rafa", "gracias"),
)


def passage(*said: tuple[str, str], start: int = 0, best: int = 0, score: float = 0.5, **more: object) -> SearchResult:
    """Messages a minute apart; `best` is the place of the one that search marks."""
    lines = [PassageLine(str(at(start + 60 * nth)), author, text) for nth, (author, text) in enumerate(said)]
    marked = lines[best]
    values: dict[str, object] = {
        "score": score,
        "strategy": "conversation",
        "guild_id": str(GUILD),
        "channel_id": str(CHANNEL),
        "channel": "help",
        "author": lines[0].author,
        "time": "2023-11-14T22:13:20+00:00",
        "message_ids": [line.message_id for line in lines],
        "text": "\n".join(f"{line.author}: {line.text}" for line in lines),
        "url": f"https://discord.com/channels/{GUILD}/{CHANNEL}/{marked.message_id}",
        "best_message_id": marked.message_id,
        "highlight": f"{marked.author}: {marked.text}",
        "lines": lines,
    }
    return SearchResult(**{**values, **more})  # type: ignore[arg-type]


def found(*results: SearchResult, **more: object) -> SearchAnswer:
    return SearchAnswer(list(results), 9, 0, 1.0, **more)  # type: ignore[arg-type]
