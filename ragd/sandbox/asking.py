"""A user turns to the bot - by slash command, component or prefix message - and gets its answer."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import payloads
from .entities import Event, MessageFlags, Payload
from .interactions import Interaction
from .state import UnknownEntityError, WorldRuleError
from .world import World


class NoAnswerError(Exception):
    """The bot has not answered in time."""


class Ask(BaseModel):
    """Who asks what where: exactly one of `name` (slash command), `content` (prefix message), `custom_id`."""

    model_config = ConfigDict(extra="forbid")

    channel_id: int
    user_id: int
    application_id: int | None = None
    name: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    content: str | None = None
    message_id: int | None = None
    custom_id: str | None = None
    values: list[str] = Field(default_factory=list)
    wait_seconds: float = 10.0

    @model_validator(mode="after")
    def _one_kind(self) -> Ask:
        given = [value for value in (self.name, self.content, self.custom_id) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of name, content and custom_id")
        if self.custom_id is not None and self.message_id is None:
            raise ValueError("custom_id needs message_id")
        return self


async def ask(world: World, question: Ask) -> dict[str, Any]:
    """Trigger it and wait; NoAnswerError after `wait_seconds`."""
    application_id = question.application_id or _only_application(world)
    if question.content is not None:
        return await _say(world, question, question.content, world.application(application_id).bot_id)
    if question.custom_id is not None and question.message_id is not None:
        interaction = world.press_component(
            question.message_id, question.user_id, question.custom_id, values=question.values
        )
    else:
        name = question.name or ""
        interaction = world.invoke_command(
            application_id, question.channel_id, question.user_id, name, question.options
        )
    await _in_time(interaction.answered.wait(), question.wait_seconds)
    return interaction_report(world, interaction)


def _only_application(world: World) -> int:
    if len(world.applications) != 1:
        raise WorldRuleError("application_id is needed: there is not exactly one application")
    return next(iter(world.applications))


async def _say(world: World, question: Ask, content: str, bot_id: int) -> dict[str, Any]:
    """Post a message and wait for the bot's next one in the channel."""
    heard: asyncio.Queue[Payload] = asyncio.Queue()

    def listen(event: Event) -> None:
        here = event.name == "MESSAGE_CREATE" and event.channel_id == question.channel_id
        if here and event.data["author"]["id"] == str(bot_id):
            heard.put_nowait(dict(event.data))

    unsubscribe = world.subscribe(listen)
    try:
        message = world.post(question.channel_id, question.user_id, content)
        answer = await _in_time(heard.get(), question.wait_seconds)
    finally:
        unsubscribe()
    return {"id": str(message.id), "messages": [answer]}


async def _in_time(awaitable: Any, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        raise NoAnswerError(f"the bot has not answered within {seconds:g} s") from None


def interaction_report(world: World, interaction: Interaction) -> dict[str, Any]:
    """What the bot said to an interaction, ephemeral answers included."""
    acknowledged = interaction.callback_ms
    return {
        "id": str(interaction.id),
        "callback_type": interaction.callback_type,
        "callback_data": interaction.callback_data,
        "deferred": interaction.deferred,
        "acknowledged_after_ms": None if acknowledged is None else acknowledged - interaction.created_ms,
        "messages": [found for key in interaction.message_ids if (found := _answer(world, interaction, key))],
    }


def _answer(world: World, interaction: Interaction, message_id: int) -> Payload | None:
    try:
        message = world.answer_message(interaction, message_id)
    except UnknownEntityError:
        return None
    ephemeral = bool(message.flags & MessageFlags.EPHEMERAL)
    return {**payloads.message_payload(world, message), "ephemeral": ephemeral}
