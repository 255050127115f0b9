"""The searchable text of a message, and which messages have one: the only place that decides what search can find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ragd.extra import Attachment, Component, Embed, Extra, Named, Poll, Snapshot, Sticker, read_extra

CONVERSATION: Mapping[int, str] = {
    0: "DEFAULT: what people write",
    19: "REPLY: what people write",
    20: "CHAT_INPUT_COMMAND: a bot's answer to a slash command, as good as anything else that the bot says",
    23: "CONTEXT_MENU_COMMAND: likewise",
}
"""Message types that take part in search, and why."""

NOT_CONVERSATION: Mapping[int, str] = {
    1: "RECIPIENT_ADD: somebody was put into a thread",
    2: "RECIPIENT_REMOVE: somebody was taken out of one",
    3: "CALL: only in direct messages",
    4: "CHANNEL_NAME_CHANGE: the new name of a thread, which the channel has",
    5: "CHANNEL_ICON_CHANGE: only in direct messages",
    6: "CHANNEL_PINNED_MESSAGE: points at what was pinned, and that is found by itself",
    7: "USER_JOIN: Discord's greeting, nobody wrote it",
    8: "GUILD_BOOST: says how often, at best",
    9: "GUILD_BOOST_TIER_1: an announcement of Discord's",
    10: "GUILD_BOOST_TIER_2: likewise",
    11: "GUILD_BOOST_TIER_3: likewise",
    12: "CHANNEL_FOLLOW_ADD: the name of a channel elsewhere",
    13: "GUILD_STREAM: never seen",
    14: "GUILD_DISCOVERY_DISQUALIFIED: a notice to the owner",
    15: "GUILD_DISCOVERY_REQUALIFIED: likewise",
    16: "GUILD_DISCOVERY_GRACE_PERIOD_INITIAL_WARNING: likewise",
    17: "GUILD_DISCOVERY_GRACE_PERIOD_FINAL_WARNING: likewise",
    18: "THREAD_CREATED: the thread's name, which the channel has",
    21: "THREAD_STARTER_MESSAGE: empty; the words are those of the message it points at, found where they were said",
    22: "GUILD_INVITE_REMINDER: a notice to the owner",
    24: "AUTO_MODERATION_ACTION: quotes to moderators what was blocked: it must not come up again",
    25: "ROLE_SUBSCRIPTION_PURCHASE: somebody paid for something",
    26: "INTERACTION_PREMIUM_UPSELL: an advertisement",
    27: "STAGE_START: the topic of a stage, of which nothing else is kept",
    28: "STAGE_END: likewise",
    29: "STAGE_SPEAKER: likewise",
    30: "STAGE_RAISE_HAND: likewise",
    31: "STAGE_TOPIC: likewise",
    32: "GUILD_APPLICATION_PREMIUM_SUBSCRIPTION: somebody paid for something",
    36: "GUILD_INCIDENT_ALERT_MODE_ENABLED: a notice to moderators",
    37: "GUILD_INCIDENT_ALERT_MODE_DISABLED: likewise",
    38: "GUILD_INCIDENT_REPORT_RAID: likewise",
    39: "GUILD_INCIDENT_REPORT_FALSE_ALARM: likewise",
    44: "PURCHASE_NOTIFICATION: somebody paid for something",
    46: "POLL_RESULT: a card of names and numbers for programs; the poll itself has its votes when it is over",
    63: "EMOJI_ADDED: a notice of Discord's",
}
"""Message types that are kept and take no part in search, and why. One that is in neither table takes none either:
nobody knows yet what it holds."""

COMMANDS = frozenset(
    ("ask", "autosync_status", "forget-me", "health", "listener_stats", "privacy", "privacy-channel", "search", "sync")
)
"""What members may type to ragd behind its prefix. That is said to ragd alone: found, it would be the best answer to
the next who asks the same."""

JUDGEMENT = 2
"""Raise this when `is_chunkable` would say otherwise of a stored message: capture then judges all of them anew."""


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """Whose messages take part in search beside people's."""

    index_bots: bool = False
    """Whether those of other bots and of webhooks do."""
    own_user_id: int = 0
    """ragd's own account: its messages never do, for an answer that quotes passages must not become a passage. As long
    as it is not known (0), no bot's do."""
    command_prefix: str = ""
    """What typed commands begin with; none if empty."""

    def hears(self, author_id: int, is_bot: bool) -> bool:
        """Whether this author's messages take part."""
        if is_bot:
            return self.index_bots and self.own_user_id not in (0, author_id)
        return author_id != self.own_user_id or not author_id

    def is_command(self, content: str) -> bool:
        """Whether this was typed to ragd."""
        if not self.command_prefix or not content.startswith(self.command_prefix):
            return False
        words = re.split(r"\s", content.removeprefix(self.command_prefix), maxsplit=1)
        return words[0] in COMMANDS


def is_chunkable(
    policy: SearchPolicy, author_id: int, is_bot: bool, message_type: int, content: str, extra: str
) -> bool:
    """Whether a message takes part in search: conversation, by somebody who counts, not typed to ragd, not empty."""
    return (
        policy.hears(author_id, is_bot)
        and message_type in CONVERSATION
        and not policy.is_command(content)
        and bool(searchable_text(content, extra))
    )


def searchable_text(content: str, extra: str) -> str:
    """What chunks and search read of a message. Empty when it says nothing in words.

    In this order: its words; of each forwarded message all that follows here too; each embed's author, title,
    description, fields and footer; a poll's question and answers, with the votes when it is over; the words of
    components; names and descriptions of attachments, and stickers' names, in brackets.

    Mentions appear as `@name` and `#channel`, custom emoji as `:name:`, timestamps as dates (UTC), commands as `/name`;
    links stay as they are. `extra` is the message row's JSON (ragd/extra.py).
    """
    if extra == "{}" and "<" not in content:
        return _tidy(content)
    carried = read_extra(extra)
    markup = _Markup(carried)
    return _tidy("\n".join(part for part in _parts(content, carried, markup) if part))


def mentioned_ids(extra: str) -> tuple[int, ...]:
    """The ids of the users a message names, from its row's JSON."""
    return tuple(user["id"] for user in read_extra(extra).get("mentions", ()))


_BLANKS = re.compile(r"(?<![ \t])[ \t]+\n")
"""Looked for only where a run of blanks begins: from each blank in it anew, a long one would take hours."""


def _tidy(text: str) -> str:
    return _BLANKS.sub("\n", text).strip()


# Parts


def _parts(content: str, carried: Extra, readable: Callable[[str], str]) -> Iterator[str]:
    yield readable(content)
    for snapshot in carried.get("snapshots", ()):
        yield readable(snapshot.get("content", ""))
        yield from _enclosed(snapshot, readable)
    if poll := carried.get("poll"):
        yield from _poll_lines(poll)
    yield from _enclosed(carried, readable)


def _enclosed(holder: Extra | Snapshot, readable: Callable[[str], str]) -> Iterator[str]:
    """What messages and forwarded ones alike have."""
    for embed in holder.get("embeds", ()):
        yield from map(readable, _embed_lines(embed))
    for component in holder.get("components", ()):
        yield from map(readable, _component_lines(component))
    yield _file_names(holder.get("attachments", ()), holder.get("stickers", ()))


def _embed_lines(embed: Embed) -> Iterator[str]:
    yield embed.get("author", {}).get("name", "")
    yield embed.get("title", "")
    yield embed.get("description", "")
    for field in embed.get("fields", ()):
        yield f"{field['name']}: {field['value']}"
    if footer := embed.get("footer"):
        yield footer["text"]


def _poll_lines(poll: Poll) -> Iterator[str]:
    yield poll["question"]
    for answer in poll["answers"]:
        text = answer.get("text") or answer.get("emoji", "")
        yield f"- {text} ({answer['votes']} votes)" if "votes" in answer else f"- {text}"


def _component_lines(component: Component) -> Iterator[str]:
    yield component.get("label", "")
    yield component.get("placeholder", "")
    yield component.get("content", "")
    yield component.get("name", "")
    yield component.get("description", "")
    for part in component.get("parts", ()):
        yield from _component_lines(part)


def _file_names(attachments: Iterable[Attachment], stickers: Iterable[Sticker]) -> str:
    names = [_file_name(attachment) for attachment in attachments]
    names += [f"sticker {sticker['name']}" for sticker in stickers]
    return f"[{', '.join(names)}]" if names else ""


def _file_name(attachment: Attachment) -> str:
    name, title = attachment["name"], attachment.get("title")
    shown = f"{title} ({name})" if title and not name.startswith(title) else name
    description = attachment.get("description")
    return f"{shown}: {description}" if description else shown


# Discord's markup

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})"
    r"|@&(?P<role>\d{1,20})"
    r"|\#(?P<channel>\d{1,20})"
    r"|a?:(?P<emoji>\w+):\d{1,20}"
    r"|t:(?P<time>-?\d{1,17})(?::[tTdDfFRsS])?"
    r"|/(?P<command>[^:<>]{1,100}):\d{1,20})>"
)
"""All at once, so that nothing is looked at twice: a name may look like markup.

Source: https://discord.com/developers/docs/reference#message-formatting
"""


class _Markup:
    """Makes a message's markup readable, by the names that came with it."""

    def __init__(self, carried: Extra) -> None:
        self._users = _names(carried.get("mentions", ()))
        self._roles = _names(carried.get("mention_roles", ()))
        self._channels = _names(carried.get("mention_channels", ()))

    def __call__(self, text: str) -> str:
        return _MARKUP.sub(self._replacement, text) if "<" in text else text

    def _replacement(self, match: re.Match[str]) -> str:
        kind, value = next((kind, value) for kind, value in match.groupdict().items() if value is not None)
        match kind:
            case "user":
                return "@" + self._users.get(int(value), "someone")
            case "role":
                return "@" + self._roles.get(int(value), "role")
            case "channel":
                return "#" + self._channels.get(int(value), "channel")
            case "emoji":
                return f":{value}:"
            case "time":
                return _date(int(value)) or match[0]
            case _:
                return f"/{value}"


def _names(named: Iterable[Named]) -> dict[int, str]:
    return {each["id"]: each["name"] for each in named}


def _date(unix_seconds: int) -> str | None:
    """None for what lies outside of the calendar: Discord does not show that as a time either."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return None
