"""What discord.py cannot read must neither stop capture nor get lost: the sandbox sends what it stumbles over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ragd.store.events import Event, SessionBroken
from tests.bot.bots import make_bot
from tests.processes import Place, assert_complete, running

UNKNOWN_STICKER = {"sticker_items": [{"id": "5", "name": "wave"}]}
"""Without `format_type`, which discord.py takes for granted."""


def test_a_message_that_cannot_be_read_is_kept_live_and_from_history(place: Place, variables: dict[str, str]) -> None:
    control, channel, member = place.control, place.channel_id, place.member_id
    before = control.post(channel, member, "before ragd ran", **UNKNOWN_STICKER)
    with running("capture", variables) as capture:
        assert_complete(place, capture.settings.database_path)
        live = control.post(channel, member, "while it runs", **UNKNOWN_STICKER)
        control.edit(live, "and edited")
        assert_complete(place, capture.settings.database_path)
        after = control.post(channel, member, "and life goes on")
        assert_complete(place, capture.settings.database_path)
        assert capture.counter("sessions") == 1
        log = capture.log.read_text()
        for message_id in (before, live):
            assert f"message {message_id} is kept without its details: KeyError" in log
        assert str(after) not in log
        assert "while it runs" not in log


async def test_whatever_else_fails_ends_the_claims_and_everything_is_stated_anew(tmp_path: Path) -> None:
    bot = await make_bot(tmp_path)
    recorded: list[Event] = []
    stated: list[bool] = []
    bot.journal.record = recorded.append  # type: ignore[method-assign]
    bot.announce_everything = lambda: stated.append(True)  # type: ignore[method-assign]
    parsers = bot._connection.parsers
    for payload in ({"guild_id": "1"}, {"guild_id": "1", "id": "x"}, {}):
        parsers["CHANNEL_UPDATE"](payload)
        parsers["MESSAGE_CREATE"](payload)
    assert recorded
    assert {type(event) for event in recorded} == {SessionBroken}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert stated == [True], "once, however often it fails"
    with pytest.raises(KeyError):
        parsers["READY"]({})
    await bot.close()
