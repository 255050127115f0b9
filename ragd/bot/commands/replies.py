"""How every command answers: a slash command to the asker alone, a text command under the question."""

from __future__ import annotations

from typing import Any, TypeAlias

import discord
from discord.ext import commands

from ragd.bot.commands.wording import EMBED_ROOM, TEXT_ROOM, clip

Asked: TypeAlias = commands.Context[commands.Bot]

_TOO_LATE = frozenset({10015, 10062, 50027})
"""Unknown webhook, unknown interaction, invalid webhook token (reference, "JSON Error Codes")."""


def is_private(context: Asked) -> bool:
    """Whether only the asker will see the answer."""
    return context.interaction is not None


async def begin(context: Asked) -> None:
    """Gain time: Discord wants to hear something within 3 s, and gives 15 min for the answer then."""
    if context.interaction is not None:
        await context.interaction.response.defer(ephemeral=True)


async def answer(context: Asked, text: str) -> None:
    """Say something: nobody is pinged, links unfold nothing."""
    await _send(context, content=clip(text, TEXT_ROOM), suppress_embeds=True)


async def answer_in_embed(context: Asked, text: str) -> None:
    """Say something longer than a message's content may be."""
    await _send(context, embed=discord.Embed(description=clip(text, EMBED_ROOM)))


async def _send(context: Asked, **message: Any) -> None:
    message["allowed_mentions"] = discord.AllowedMentions.none()
    if context.interaction is not None:
        await _send_to_asker(context.interaction, message)
    else:  # under the question, also if that has been deleted meanwhile
        question = context.message.to_reference(fail_if_not_exists=False)
        await context.send(**message, reference=question)


async def _send_to_asker(interaction: discord.Interaction[commands.Bot], message: dict[str, Any]) -> None:
    """Never by `Context.send`, which says it in the channel once 15 min have passed by this machine's clock.

    Whether it is too late is for Discord to say: the clock may be ahead of Discord's.
    """
    if interaction.response.is_done():
        await interaction.followup.send(**message, ephemeral=True, wait=True)
    else:
        await interaction.response.send_message(**message, ephemeral=True)


def is_too_late(error: Exception) -> bool:
    """Whether Discord refuses an answer because it does not know the interaction any more."""
    return isinstance(error, discord.HTTPException) and error.code in _TOO_LATE


def may_embed(context: Asked) -> bool:
    """Whether Discord would show an embed of ours here; a slash command's answer always may have one."""
    return is_private(context) or context.bot_permissions.embed_links


async def require_manager(context: Asked) -> bool:
    """A check: the asker may manage the server. Who may use a slash command can be changed there, this cannot."""
    if not is_manager(context):
        raise commands.MissingPermissions(["manage_guild"])
    return True


def is_manager(context: Asked) -> bool:
    """Whether the asker has Manage Server, by the roles that Discord sent along with the question."""
    author = context.author
    return isinstance(author, discord.Member) and author.guild_permissions.manage_guild
