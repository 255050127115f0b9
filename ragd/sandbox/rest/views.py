"""Messages as a bot may see them."""

from __future__ import annotations

from ragd.sandbox.entities import Application, Channel, Intents, Message, Payload
from ragd.sandbox.payloads import message_payload
from ragd.sandbox.redaction import redacted
from ragd.sandbox.world import World


def message_view(world: World, application: Application, channel: Channel, message: Message) -> Payload:
    """The message object that `application` gets: redacted without the MESSAGE_CONTENT intent, over REST too."""
    payload = message_payload(world, message, viewer_id=application.bot_id)
    if application.granted_intents & Intents.MESSAGE_CONTENT or channel.guild_id is None:
        return payload
    return redacted(payload, application.bot_id)
