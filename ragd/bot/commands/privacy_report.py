"""What `/privacy`, `/forget-me` and `/privacy-channel` tell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from ragd.bot.commands.wording import inert_line, moment, plural
from ragd.config import Settings
from ragd.snowflake import to_unix_seconds
from ragd.store import Store
from ragd.store.erasure import Erasure
from ragd.store.people import Kept

TEXT = """\
**What this bot keeps.** It stores the messages of the channels it can view, so that members can search them: text, \
author's name and id, time, reply, mentions, the text of embeds, polls, forwards and buttons, names and descriptions \
of attachments (not the files), stickers, who used which bot's command, and how many reactions there are (not whose). \
Of an edited message only the newest version.
**Where.** In a database on the machine of whoever runs this bot. {where}
**Who can find it.** You find only what you could read in Discord at the moment you ask. Whoever runs the machine can \
read everything there.
**How to have it gone.** Delete a message in Discord: nobody finds it here from then on, also if the bot was offline. \
{deleted}`/forget-me` erases all you wrote.
**How to object.** `/privacy change:opt-out` and nothing further of yours is stored, `opt-out-and-erase` and nothing \
stays either; `opt-in` takes it back. In a channel the bot cannot view nothing is recorded.\
"""

_VECTORS_HERE = "Texts are turned into search vectors on that machine"
_VECTORS_ELSEWHERE = "Texts, and what members search for, are sent to {host}, which turns them into search vectors"
_NOTHING_SENT = "nothing is sent to an AI service or anywhere else"
_NOTHING_ELSE = "nothing else leaves that machine"
_ASKED_ELSEWHERE = (
    "for `ask` the question and the passages found for it, with the names in them, go to the language model {model} at"
    " {host}"
)

OPTED_OUT = (
    "Opted out: nothing you write is stored from now on, on any server this bot is on. What was stored before stays"
    " until you say `/forget-me`; edit one of those messages and it goes too."
)
OPTED_IN = "Opted in: what you write from now on is stored and found again. What was withheld until now stays out."
CONFIRM = (
    "This erases every message of yours that this bot keeps, on every server it is on: words, names of files, search"
    " index. It cannot be taken back, and nothing brings it back. What you write later is stored unless you opt out."
    " If you mean it: `/forget-me confirm:yes`."
)
NOT_OPT_IN = "In this channel nobody has to agree: it is recorded as `/privacy` says."
AGREED = "Agreed: what you write in this channel and its threads from now on is stored. `withdraw-here` takes it back."
WITHDRAWN = "Withdrawn: nothing you write in this channel is stored from now on."
NOT_AGREED = "You have not agreed in this channel: nothing you write here is stored."


def privacy_text(settings: Settings) -> str:
    """What is true of everybody under these settings: with an endpoint named, texts leave the machine."""
    parts = [_VECTORS_HERE]
    if settings.embedding_url:
        parts = [_VECTORS_ELSEWHERE.format(host=_host(settings.embedding_url))]
    if settings.llm_url:
        parts.append(_ASKED_ELSEWHERE.format(model=inert_line(settings.llm_model, 60), host=_host(settings.llm_url)))
    parts.append(_NOTHING_ELSE if settings.embedding_url or settings.llm_url else _NOTHING_SENT)
    return TEXT.format(where="; ".join(parts) + ".", deleted=_deleted(settings.deleted_retention_days))


def _deleted(days: float) -> str:
    """What stays of a deleted message: with RAGD_DELETED_RETENTION_DAYS its text does for a while."""
    return f"Its text stays in the database for {days:g} more days. " if days else ""


def _host(url: str) -> str:
    return inert_line(urlsplit(url).hostname or "another service", 60)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands here."""

    kept: Kept
    erasure: Erasure | None
    """Their newest."""
    opt_in: bool
    """Only who agrees is recorded in the channel where they ask."""
    agrees: bool


def collect_standing(settings: Settings, user_id: int, channel_id: int) -> Standing:
    """Counts messages: for a thread of its own. Raises RagdError."""
    with contextlib.closing(Store.open_read_only(settings.database_path)) as store:
        return Standing(
            store.people.kept(user_id),
            store.erasures.of_user(user_id),
            store.people.is_opt_in(channel_id),
            store.people.agrees(channel_id, user_id),
        )


def render_standing(standing: Standing, text: str) -> str:
    """For the asker alone: first how they stand, then the text for everybody."""
    kept = standing.kept
    since = f", the oldest of {moment(to_unix_seconds(kept.oldest_id), 'D')}" if kept.messages else ""
    lines = [f"**You:** {plural(kept.messages, 'message')} in {plural(kept.channels, 'channel')} stored{since}."]
    lines[0] += f" You opted out {moment(kept.opted_out_at)}." if kept.opted_out_at else ""
    lines[0] += f" {_erasure(standing.erasure)}" if standing.erasure else ""
    if standing.opt_in:
        agreed = "you did" if standing.agrees else "you did not: `/privacy change:agree-here`"
        lines.append(f"**This channel** is recorded only of who agreed; {agreed}.")
    return "\n".join([*lines, text])


def _erasure(erasure: Erasure) -> str:
    if erasure.finished_at is None:
        return f"Your erasure, receipt {erasure.id}, goes on."
    what = plural(erasure.messages, "message")
    return f"Your erasure, receipt {erasure.id}, was complete {moment(erasure.finished_at)}: {what}."


def render_forgetting(erasure_id: int, kept: Kept | None) -> str:
    """Without a figure where others read along: it counts what was said elsewhere too."""
    what = plural(kept.messages, "message") if kept else "Every message"
    return (
        f"{what} of yours will be erased, receipt {erasure_id}. Nobody finds them within"
        " moments; the files follow within minutes. `/privacy` shows when it is complete. Backups that whoever runs"
        " this bot has made expire by themselves."
    )


def render_mode(name: str, opt_in: bool) -> str:
    if opt_in:
        return (
            f"{name} and its threads: from now on only what members write who agreed there, by"
            " `/privacy change:agree-here`. What was stored before stays until somebody has it erased."
        )
    return f"{name} and its threads: recorded of everybody again who has not opted out. What was withheld stays out."
