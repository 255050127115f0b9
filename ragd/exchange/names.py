"""Names that DiscordChatExporter gives to Discord's numbers; it writes those it has no name for as digits.

Source: its ChannelKind.cs and MessageKind.cs. Also read by the sandbox, so this imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

CHANNEL_TYPES: Mapping[str, int] = {
    "GuildTextChat": 0,
    "DirectTextChat": 1,
    "GuildVoiceChat": 2,
    "DirectGroupTextChat": 3,
    "GuildCategory": 4,
    "GuildNews": 5,
    "GuildNewsThread": 10,
    "GuildPublicThread": 11,
    "GuildPrivateThread": 12,
    "GuildStageVoice": 13,
    "GuildDirectory": 14,
    "GuildForum": 15,
}

MESSAGE_TYPES: Mapping[str, int] = {
    "Default": 0,
    "RecipientAdd": 1,
    "RecipientRemove": 2,
    "Call": 3,
    "ChannelNameChange": 4,
    "ChannelIconChange": 5,
    "ChannelPinnedMessage": 6,
    "GuildMemberJoin": 7,
    "ThreadCreated": 18,
    "Reply": 19,
}


def type_number(table: Mapping[str, int], name: str) -> int | None:
    """The number behind a name, or in its digits; None if it is neither."""
    if name in table:
        return table[name]
    return int(name) if name.isascii() and name.isdigit() and len(name) < 4 else None


def type_name(table: Mapping[str, int], number: int) -> str:
    """The name of a number, digits if it has none."""
    return next((name for name, value in table.items() if value == number), str(number))
