"""discord.py's messages to the `extra` column: everything that they carry beside their words (ragd/extra.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import discord

from ragd.bot.permissions import everybody_views
from ragd.extra import (
    Attachment,
    Component,
    Embed,
    EmbedField,
    EmbedPart,
    Extra,
    Interaction,
    Named,
    Poll,
    PollAnswer,
    Reference,
    Snapshot,
    dump_extra,
)

_EPOCH = datetime.fromtimestamp(0, UTC)
_ROLE_MENTION = re.compile(r"<@&(\d{1,20})>")
_CHANNEL_MENTION = re.compile(r"<#(\d{1,20})>")
_WORDS_OF_COMPONENTS = ("label", "placeholder", "content", "description", "name", "url")
_PARTS_OF_COMPONENTS = ("children", "options", "items")
_PART_OF_COMPONENT = ("accessory", "component")
_FILE_STORES = ("cdn.discordapp.com", "media.discordapp.net")


def message_extra(message: discord.Message) -> str:
    """What a message carries, as JSON: the same however it came."""
    # most messages carry nothing: whatever is empty is not even asked for its parts
    flags, snapshots = message.flags.value, message.message_snapshots
    fields = {
        **_enclosed(message),
        **(_mentioned(message) if snapshots or "<" in message.content else {}),
        "application_id": message.application_id,
        "flags": flags,
        "interaction": _interaction(message),
        "mention_everyone": message.mention_everyone,
        "mentions": message.mentions and _sorted([account(user) for user in message.mentions]),
        "pinned": message.pinned,
        "poll": message.poll and _poll(message.poll),
        "reference": message.reference and _reference(message, message.reference),
        "snapshots": [_snapshot(snapshot) for snapshot in snapshots],
        "thread_id": flags & discord.MessageFlags.has_thread.flag and message.id,  # `message.thread` asks the cache
        "webhook_id": message.webhook_id,
    }
    extra: Extra = _said(fields)
    return dump_extra(extra)


def valid_text(text: str) -> str:
    """Text that UTF-8 can hold: JSON may escape half of a surrogate pair, which neither SQLite nor the model takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def unix_ms(moment: datetime | None) -> int:
    """Rounded down; 0 for never."""
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment else 0


def account_name(user: discord.User | discord.Member | discord.ClientUser) -> str:
    """What a user is called everywhere: nicknames of a server come with live events alone."""
    return valid_text(user.global_name or user.name)


def account(user: discord.User | discord.Member) -> Named:
    """A user by that name."""
    return {"id": user.id, "name": account_name(user)}


def emoji_key(emoji: discord.PartialEmoji | discord.Emoji | str) -> str:
    """A standard emoji as it is, one of a server's own as `name:id`."""
    if isinstance(emoji, str):
        return valid_text(emoji)
    return valid_text(f"{emoji.name}:{emoji.id}" if emoji.id else emoji.name)


def _said(fields: Mapping[str, Any]) -> Any:
    """Only what says something: no empty text or list, no zero, no false, no null."""
    return {key: value for key, value in fields.items() if value}


def _text(text: str | None) -> str:
    return valid_text(text or "")


def _url(url: str | None) -> str:
    """An address of Discord's file store without its signature, which expires and is another for each reader."""
    shown = _text(url)
    if urlsplit(shown).hostname in _FILE_STORES:
        return shown.partition("?")[0]
    return shown


# What forwarded messages have too


def _enclosed(holder: discord.Message | discord.MessageSnapshot) -> dict[str, Any]:
    return {
        "attachments": holder.attachments and [_attachment(file) for file in holder.attachments],
        "components": holder.components and _components(holder.components),
        "embeds": holder.embeds and [embed for each in holder.embeds if (embed := _embed(each))],
        "stickers": holder.stickers and [{"id": each.id, "name": valid_text(each.name)} for each in holder.stickers],
    }


def _attachment(file: discord.Attachment) -> Attachment:
    optional: dict[str, Any] = {
        "type": _text(file.content_type),
        "title": _text(file.title),
        "description": _text(file.description),
        "duration_seconds": file.duration,
        "spoiler": file.is_spoiler(),
    }
    found: Attachment = {"id": file.id, "name": valid_text(file.filename), "size": file.size}
    found.update(_said(optional))
    return found


def _embed(embed: discord.Embed) -> Embed:
    found: Embed = _said(
        {
            "type": "" if embed.type == "rich" else _text(embed.type),
            "title": _text(embed.title),
            "description": _text(embed.description),
            "url": _url(embed.url),
            "timestamp": unix_ms(embed.timestamp),
            "author": _embed_part(embed.author),
            "provider": _embed_part(embed.provider),
            "footer": _said({"text": _text(embed.footer.text)}),
            "fields": [_embed_field(field) for field in embed.fields],
        }
    )
    return found


def _embed_part(part: Any) -> EmbedPart:
    found: EmbedPart = _said({"name": _text(part.name), "url": _url(part.url)})
    return found


def _embed_field(field: Any) -> EmbedField:
    found: EmbedField = {"name": _text(field.name), "value": _text(field.value)}
    return {**found, "inline": True} if field.inline else found


def _components(components: Iterable[object]) -> list[Component]:
    return [found for each in components if (found := _component(each))]


def _component(component: object) -> Component:
    """A component of any kind, by the names that discord.py gives to words and parts; nothing if it has neither."""
    words = {name: _url(value) if name == "url" else _text(value) for name, value in _strings(component)}
    found: Component = _said({**words, "parts": _components(_parts_of(component))})
    kind = getattr(component, "type", None)
    if found and isinstance(kind, discord.ComponentType):
        found["type"] = kind.name
    return found


def _strings(component: object) -> Iterator[tuple[str, str]]:
    for name in _WORDS_OF_COMPONENTS:
        value = getattr(component, name, None)
        if isinstance(value, str):
            yield name, value


def _parts_of(component: object) -> Iterator[object]:
    for name in _PARTS_OF_COMPONENTS:
        yield from getattr(component, name, ())
    for name in _PART_OF_COMPONENT:
        if (part := getattr(component, name, None)) is not None:
            yield part


def _snapshot(snapshot: discord.MessageSnapshot) -> Snapshot:
    found: Snapshot = _said(
        {
            **_enclosed(snapshot),
            "content": valid_text(snapshot.content),
            "type": snapshot.type.value,
            "created_at": unix_ms(snapshot.created_at),
            "edited_at": unix_ms(snapshot.edited_at),
            "flags": snapshot.flags.value,
        }
    )
    return found


# What only messages have


def _reference(message: discord.Message, reference: discord.MessageReference) -> Reference | None:
    """None for a plain reply in its own channel, which the column `reply_to_id` tells."""
    is_reply = reference.type.value == discord.MessageReferenceType.reply.value
    elsewhere: Any = _said(
        {
            "channel_id": reference.channel_id != message.channel.id and reference.channel_id,
            "guild_id": message.guild and reference.guild_id != message.guild.id and reference.guild_id,
        }
    )
    if is_reply and reference.message_id and not elsewhere:
        return None
    found: Reference = {"type": "reply" if is_reply else reference.type.name}
    found.update(elsewhere)
    if reference.message_id:
        found["message_id"] = reference.message_id
    return found


def _poll(poll: discord.Poll) -> Poll:
    finished = poll.is_finalised()
    optional = {"multiple": poll.multiple, "expires_at": unix_ms(poll.expires_at), "finished": finished}
    answers = [_poll_answer(answer, finished) for answer in sorted(poll.answers, key=lambda answer: answer.id)]
    found: Poll = {"question": _text(poll.question), "answers": answers}
    found.update(_said(optional))
    return found


def _poll_answer(answer: discord.PollAnswer, finished: bool) -> PollAnswer:
    emoji = emoji_key(answer.emoji) if answer.emoji else ""
    found: PollAnswer = _said({"id": answer.id, "text": _text(answer.text), "emoji": emoji})
    if finished:  # until then they change without a word of Discord's
        found["votes"] = answer.vote_count
    return found


def _interaction(message: discord.Message) -> Interaction | None:
    """Who used which command. Its name is only in the field that Discord calls deprecated and sends all the same, and
    discord.py has that in a private attribute: the public one warns at each look.
    """
    named = message._interaction
    origin = message.interaction_metadata or named
    if origin is None:
        return None
    found: Interaction = {"id": origin.id, "type": origin.type.value, "user": account(origin.user)}
    if named and named.name:
        found["command"] = valid_text(named.name)
    return found


def _mentioned(message: discord.Message) -> dict[str, list[Named]]:
    """The roles and channels that the words name, those forwarded too.

    Of a channel that not everybody may view Discord keeps the name from those who may not, and so must search: it is
    named only within itself.
    """
    texts = [message.content, *(snapshot.content for snapshot in message.message_snapshots)]
    guild = message.guild
    if guild is None:
        return {}
    here = {message.channel.id, getattr(message.channel, "parent_id", None)}

    def nameable(channel_id: int) -> discord.abc.GuildChannel | None:
        found = guild.get_channel(channel_id)
        return found if found is not None and (channel_id in here or everybody_views(found)) else None

    return {
        "mention_channels": _known(nameable, _CHANNEL_MENTION, texts),
        "mention_roles": _known(guild.get_role, _ROLE_MENTION, texts),
    }


def _known(find: Callable[[int], Any], mention: re.Pattern[str], texts: Iterable[str]) -> list[Named]:
    """Those of the mentioned that exist, as the cache has them: it holds all roles and channels of a guild."""
    wanted = {int(number) for text in texts for number in mention.findall(text)}
    return _sorted([{"id": each.id, "name": valid_text(each.name)} for each in map(find, wanted) if each is not None])


def _sorted(named: list[Named]) -> list[Named]:
    """By id, each once: their order says nothing, and is not always the same."""
    by_id: dict[int, Named] = {each["id"]: each for each in named}
    return [by_id[key] for key in sorted(by_id)]


def reactions_of(message: discord.Message) -> Mapping[str, int]:
    """How often each emoji stands under it."""
    return {emoji_key(reaction.emoji): reaction.count for reaction in message.reactions}
