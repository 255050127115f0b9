"""`/privacy`: what the bot keeps and how to object."""

from __future__ import annotations

from urllib.parse import urlsplit

from discord.ext import commands

from ragd.bot.commands.host import Host
from ragd.bot.commands.replies import Asked, answer
from ragd.bot.commands.wording import inert_line
from ragd.config import Settings

_TEXT = """\
**What this bot keeps.** It stores the messages of the channels it can view, so that members can search them: text, \
author's name and id, time, reply, mentions, the text of embeds, polls, forwards and buttons, names and descriptions \
of attachments (not the files), stickers, who used which bot's command, and how many reactions there are (not whose). \
Of an edited message only the newest version.
**Where.** In a database on the machine of whoever runs this bot. {vectors}
**Who can find it.** You find only what you could read in Discord at the moment you ask. Whoever runs the machine can \
read everything there.
**How to have it gone.** Delete a message in Discord: from then on nobody finds it here, and its text is removed from \
the database and the search index. That also works while the bot is offline, as soon as it is back.
**How to object.** Tell somebody who manages this server. A channel in which the bot lacks View Channel or Read \
Message History is not recorded from then on; what was recorded before stays until it is deleted."""


_HERE = """\
Texts are turned into search vectors on that machine; nothing is sent to an AI service or anywhere else."""

_ELSEWHERE = """\
Texts, and the questions of who searches, are sent to {host}, which turns them into search vectors."""


def privacy_text(settings: Settings) -> str:
    """What it says under these settings: with an endpoint named, texts may leave the machine."""
    if not settings.embedding_url:
        return _TEXT.format(vectors=_HERE)
    host = urlsplit(settings.embedding_url).hostname or "another service"
    return _TEXT.format(vectors=_ELSEWHERE.format(host=inert_line(host)))


class PrivacyCommands(commands.Cog):
    """For everybody."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @commands.hybrid_command(name="privacy", description="What this bot keeps of what you write, and how to object")  # type: ignore[arg-type]
    @commands.guild_only()
    @commands.cooldown(2, 10, commands.BucketType.member)
    async def privacy(self, context: Asked) -> None:
        await answer(context, privacy_text(self._host.settings))
