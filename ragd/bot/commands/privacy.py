"""`/privacy`: what the bot keeps and how to object."""

from __future__ import annotations

from urllib.parse import urlsplit

from discord.ext import commands

from ragd.bot.commands.host import Host
from ragd.bot.commands.replies import Asked, answer
from ragd.bot.commands.wording import inert_line
from ragd.config import Settings

TEXT = """\
**What this bot keeps.** It stores the messages of the channels it can view, so that members can search them: text, \
author's name and id, time, reply, mentions, the text of embeds, polls, forwards and buttons, names and descriptions \
of attachments (not the files), stickers, who used which bot's command, and how many reactions there are (not whose). \
Of an edited message only the newest version.
**Where.** In a database on the machine of whoever runs this bot. Texts are turned into search vectors on that \
machine; {sent}
**Who can find it.** You find only what you could read in Discord at the moment you ask. Whoever runs the machine can \
read everything there.
**How to have it gone.** Delete a message in Discord: from then on nobody finds it here, and its text is removed from \
the database and the search index. That also works while the bot is offline, as soon as it is back.
**How to object.** Tell somebody who manages this server. A channel in which the bot lacks View Channel or Read \
Message History is not recorded from then on; what was recorded before stays until it is deleted."""

NOTHING_SENT = "nothing is sent to an AI service or anywhere else."
ASK_SENT = (
    "nothing is sent to an AI service or anywhere else, but for `ask`: the question and the passages found for it, with"
    " the names in them, go to the language model {model} at {host}."
)


def privacy_text(settings: Settings) -> str:
    """What is true of these settings."""
    if settings.llm_url is None:
        return TEXT.format(sent=NOTHING_SENT)
    model, host = inert_line(settings.llm_model, 60), inert_line(urlsplit(settings.llm_url).hostname or "", 60)
    return TEXT.format(sent=ASK_SENT.format(model=model, host=host))


class PrivacyCommands(commands.Cog):
    """For everybody."""

    def __init__(self, host: Host) -> None:
        self._text = privacy_text(host.settings)

    @commands.hybrid_command(name="privacy", description="What this bot keeps of what you write, and how to object")  # type: ignore[arg-type]
    @commands.guild_only()
    @commands.cooldown(2, 10, commands.BucketType.member)
    async def privacy(self, context: Asked) -> None:
        await answer(context, self._text)
