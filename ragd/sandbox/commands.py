"""Application commands: bots register them, users run them, bots answer."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from .entities import Command, Message, MessageFlags, MessageType, Payload
from .interactions import CallbackType, Interaction, InteractionKind, interaction_metadata_payload, interaction_payload
from .posting import MessageChanges, PartFields, is_loading
from .state import UnknownEntityError, WorldRuleError
from .threads import ThreadActions


class InteractionActions(ThreadActions):
    """Commands and interactions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.interactions: dict[int, Interaction] = {}

    # -- commands

    def commands_of(self, application_id: int, guild_id: int | None) -> list[Command]:
        """An application's commands in exactly that scope (None: global)."""
        scope = (application_id, guild_id)
        return [command for command in self.commands.values() if (command.application_id, command.guild_id) == scope]

    def put_command(self, application_id: int, guild_id: int | None, payload: Payload) -> Command:
        """Register a command, or replace the one of the same name and type in the scope (its id stays)."""
        self.application(application_id)
        key = (payload["name"], payload.get("type", 1))
        same = [
            old for old in self.commands_of(application_id, guild_id) if (old.name, old.payload.get("type", 1)) == key
        ]
        command_id = same[0].id if same else self.clock.fresh()
        command = Command(command_id, application_id, guild_id, self.clock.fresh(), dict(payload))
        self.commands[command_id] = command
        return command

    def set_commands(self, application_id: int, guild_id: int | None, wanted: Iterable[Payload]) -> list[Command]:
        """Replace all commands of a scope."""
        kept = [self.put_command(application_id, guild_id, payload) for payload in wanted]
        ids = {command.id for command in kept}
        for command in self.commands_of(application_id, guild_id):
            if command.id not in ids:
                del self.commands[command.id]
        return kept

    def delete_command(self, command_id: int) -> None:
        """Unregister a command."""
        if self.commands.pop(command_id, None) is None:
            raise UnknownEntityError("command", command_id)

    def find_command(self, application_id: int, guild_id: int | None, name: str) -> Command:
        """The slash command users of a guild reach by `name`: the guild's own before the global one."""
        for scope in dict.fromkeys((guild_id, None)):
            for command in self.commands_of(application_id, scope):
                if command.name == name and command.payload.get("type", 1) == 1:
                    return command
        raise UnknownEntityError("command", name)

    # -- users trigger

    def invoke_command(
        self, application_id: int, channel_id: int, user_id: int, name: str, options: Mapping[str, Any] | None = None
    ) -> Interaction:
        """A user runs a slash command; `name` may be 'group sub'. Emits INTERACTION_CREATE to the bot.

        Option types come from the registered command; users, channels and roles are given by id.
        """
        channel = self.channel(channel_id)
        command_name, *path = name.split()
        command = self.find_command(application_id, channel.guild_id, command_name)
        data: Payload = {
            "id": str(command.id),
            "name": command.name,
            "type": 1,
            "options": _nested_options(command.payload.get("options") or [], path, dict(options or {})),
        }
        if command.guild_id is not None:
            data["guild_id"] = str(command.guild_id)
        return self._start(InteractionKind.COMMAND, application_id, channel_id, user_id, data)

    def press_component(
        self, message_id: int, user_id: int, custom_id: str, *, component_type: int = 2, values: Iterable[str] = ()
    ) -> Interaction:
        """A user presses a button (type 2) or picks `values` in a select of a bot's message."""
        message = self.message(message_id)
        application = self.application_of_bot(message.author_id)
        if application is None:
            raise WorldRuleError(f"message {message_id} is not by a bot application")
        data: Payload = {"custom_id": custom_id, "component_type": component_type, "values": list(values)}
        return self._start(
            InteractionKind.COMPONENT, application.id, message.channel_id, user_id, data, source=message_id
        )

    def _start(
        self,
        kind: InteractionKind,
        application_id: int,
        channel_id: int,
        user_id: int,
        data: Payload,
        source: int | None = None,
    ) -> Interaction:
        channel = self.channel(channel_id)
        if channel.guild_id is not None:
            self.member(channel.guild_id, user_id)
        interaction = Interaction(
            id=self.clock.fresh(),
            kind=kind,
            application_id=application_id,
            token=secrets.token_urlsafe(64),
            guild_id=channel.guild_id,
            channel_id=channel_id,
            user_id=self.user(user_id).id,
            created_ms=self.clock.now_ms(),
            data=data,
            source_message_id=source,
        )
        self.interactions[interaction.id] = interaction
        bot_id = self.application(application_id).bot_id
        self.emit(
            "INTERACTION_CREATE",
            lambda: interaction_payload(self, interaction),
            guild_id=channel.guild_id,
            only_user=bot_id,
        )
        return interaction

    # -- the bot answers

    def interaction(self, interaction_id: int) -> Interaction:
        """The interaction with this id."""
        found = self.interactions.get(interaction_id)
        if found is None:
            raise UnknownEntityError("interaction", interaction_id)
        return found

    def interaction_by_token(self, token: str) -> Interaction:
        """The interaction with this token."""
        for interaction in self.interactions.values():
            if interaction.token == token:
                return interaction
        raise UnknownEntityError("interaction", "token")

    def acknowledge(self, interaction_id: int, callback_type: int, data: Payload | None = None) -> Interaction:
        """Note the bot's one callback. A deferred message makes the 'thinking...' message (flag 64 hides it).

        For callback 4 call `answer` next; 5 waits for `edit_answer` or `answer`. WorldRuleError on a second callback.
        """
        interaction = self.interaction(interaction_id)
        if interaction.callback_type is not None:
            raise WorldRuleError("interaction has already been acknowledged")
        interaction.callback_type, interaction.callback_data = callback_type, data
        interaction.callback_ms = self.clock.now_ms()
        if callback_type == CallbackType.DEFERRED_MESSAGE:
            self._add_answer(interaction, "", int((data or {}).get("flags", 0)) | MessageFlags.LOADING, {})
        elif callback_type != CallbackType.MESSAGE:
            interaction.answered.set()
        return interaction

    def answer(self, interaction_id: int, content: str = "", *, flags: int = 0, **parts: Unpack[PartFields]) -> Message:
        """The bot says something: its first answer, or a follow-up; after a deferral the first one fills 'thinking'."""
        interaction = self.interaction(interaction_id)
        original = self._original(interaction)
        if original is not None and is_loading(original):
            fields: MessageChanges = {"content": content}
            for name in ("embeds", "attachments", "components", "poll"):
                if name in parts:
                    fields[name] = parts[name]
            return self.edit_answer(interaction_id, original.id, **fields)
        message = self._add_answer(interaction, content, flags, parts)
        interaction.answered.set()
        return message

    def edit_answer(self, interaction_id: int, message_id: int | None, **changes: Unpack[MessageChanges]) -> Message:
        """Edit an answer (None: the original); a 'thinking' one becomes a plain one."""
        interaction = self.interaction(interaction_id)
        message = self.answer_message(interaction, message_id)
        was_loading = is_loading(message)
        changes["flags"] = changes.get("flags", message.flags) & ~MessageFlags.LOADING
        changes["flags"] |= message.flags & MessageFlags.EPHEMERAL
        if message.id in interaction.hidden:
            _edit_hidden(message, changes, None if was_loading else self.clock.now_ms())
        else:
            self.edit(message.id, mark_edited=not was_loading, **changes)
        interaction.answered.set()
        return message

    def delete_answer(self, interaction_id: int, message_id: int | None) -> None:
        """Delete an answer (None: the original)."""
        interaction = self.interaction(interaction_id)
        message = self.answer_message(interaction, message_id)
        interaction.message_ids.remove(message.id)
        if interaction.hidden.pop(message.id, None) is None:
            self.delete(message.id)

    def answer_message(self, interaction: Interaction, message_id: int | None) -> Message:
        """One of the interaction's answers (None: the original), hidden or not; UnknownEntityError if there is none."""
        wanted = interaction.original_id if message_id is None else message_id
        if wanted is None or wanted not in interaction.message_ids:
            raise UnknownEntityError("message", wanted or "@original")
        return interaction.hidden.get(wanted) or self.message(wanted)

    def _original(self, interaction: Interaction) -> Message | None:
        wanted = interaction.original_id
        return None if wanted is None else interaction.hidden.get(wanted) or self.messages.get(wanted)

    def _add_answer(self, interaction: Interaction, content: str, flags: int, parts: PartFields) -> Message:
        bot_id = self.application(interaction.application_id).bot_id
        first = interaction.original_id is None and interaction.kind == InteractionKind.COMMAND
        kind = MessageType.CHAT_INPUT_COMMAND if first else MessageType.DEFAULT
        parts = {
            **parts,
            "application_id": interaction.application_id,
            "webhook_id": interaction.application_id,
            "interaction_metadata": interaction_metadata_payload(self, interaction),
        }
        if flags & MessageFlags.EPHEMERAL:
            message = Message(self.clock.fresh(), interaction.channel_id, bot_id, content, kind, flags)
            message.parts = self._parts(self.channel(interaction.channel_id), content, parts)
            interaction.hidden[message.id] = message
        else:
            message = self.post(interaction.channel_id, bot_id, content, type=kind, flags=flags, **parts)
        interaction.message_ids.append(message.id)
        interaction.original_id = interaction.original_id or message.id
        return message


def _edit_hidden(message: Message, changes: MessageChanges, edited_ms: int | None) -> None:
    for name, value in changes.items():
        setattr(message if name in ("content", "flags") else message.own_parts(), name, value)
    message.edited_ms = edited_ms


_SUB_COMMAND, _SUB_COMMAND_GROUP = 1, 2


def _nested_options(declared: list[Payload], path: list[str], values: dict[str, Any]) -> list[Payload]:
    """The `options` of an interaction: sub-commands of `path` around the values, types as declared."""
    by_name = {str(option["name"]): option for option in declared}
    if path:
        option = by_name.get(path[0])
        if option is None or option["type"] not in (_SUB_COMMAND, _SUB_COMMAND_GROUP):
            raise UnknownEntityError("sub-command", path[0])
        inner = _nested_options(option.get("options") or [], path[1:], values)
        return [{"name": path[0], "type": option["type"], "options": inner}]
    unknown = values.keys() - by_name.keys()
    if unknown:
        raise UnknownEntityError("option", ", ".join(sorted(unknown)))
    missing = [name for name, option in by_name.items() if option.get("required") and name not in values]
    if missing:
        raise WorldRuleError(f"option {missing[0]} is required")
    for name, value in values.items():
        choices = [choice["value"] for choice in by_name[name].get("choices") or []]
        if choices and value not in choices:
            raise WorldRuleError(f"option {name} is one of {', '.join(map(str, choices))}")
    return [{"name": name, "type": by_name[name]["type"], "value": value} for name, value in values.items()]
