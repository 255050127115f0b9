"""Changes to users, bots, guilds, roles and members."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from . import payloads
from .entities import PRIVILEGED_INTENTS, Application, Guild, Intents, Member, Role, User
from .state import UnknownEntityError, WorldRuleError, WorldState

_EVERYONE_BITS = (6, 10, 11, 14, 15, 16, 17, 18, 20, 21, 25, 26, 31, 35, 36, 37, 38, 39, 49)
DEFAULT_EVERYONE_PERMISSIONS = sum(1 << bit for bit in _EVERYONE_BITS)
"""What a new guild's @everyone may do: view, send, read history, react, thread, use commands, ..."""


class GuildActions(WorldState):
    """Accounts, guilds, roles, members."""

    # -- accounts

    def create_user(
        self,
        username: str,
        *,
        user_id: int | None = None,
        global_name: str | None = None,
        bot: bool = False,
        avatar: str | None = None,
    ) -> User:
        """A new account; an id that exists already is an error (WorldRuleError)."""
        user = User(self._new_id(user_id), username, global_name, bot, avatar)
        if user.id in self.users:
            raise WorldRuleError(f"user {user.id} exists already")
        self.users[user.id] = user
        return user

    def create_application(
        self,
        name: str,
        *,
        token: str | None = None,
        application_id: int | None = None,
        granted_intents: Intents = PRIVILEGED_INTENTS,
    ) -> Application:
        """A new bot application and its bot user (same id, as on Discord for newer bots)."""
        app_id = self._new_id(application_id)
        bot = self.create_user(name, user_id=app_id, bot=True)
        application = Application(app_id, name, token or secrets.token_urlsafe(32), bot.id, granted_intents)
        self.applications[app_id] = application
        return application

    def reset_token(self, application_id: int, token: str | None = None) -> Application:
        """The token becomes another one, and is refused from now on; sessions that it began go on."""
        application = self.application(application_id)
        application.token = token or secrets.token_urlsafe(32)
        return application

    # -- guilds

    def create_guild(
        self,
        name: str,
        owner_id: int,
        *,
        guild_id: int | None = None,
        everyone_permissions: int = DEFAULT_EVERYONE_PERMISSIONS,
    ) -> Guild:
        """A new guild with @everyone and its owner as the only member; no channels. Bots come by `invite_bot`."""
        self.user(owner_id)
        guild = Guild(self._new_id(guild_id), name, owner_id)
        if guild.id in self.guilds:
            raise WorldRuleError(f"guild {guild.id} exists already")
        guild.roles[guild.id] = Role(guild.id, "@everyone", everyone_permissions)
        self.guilds[guild.id] = guild
        self.add_member(guild.id, owner_id)
        return guild

    def invite_bot(self, guild_id: int, application_id: int, permissions: int = DEFAULT_EVERYONE_PERMISSIONS) -> Member:
        """Add a bot with its managed role; the bot gets GUILD_CREATE."""
        application, guild = self.application(application_id), self.guild(guild_id)
        role = self.create_role(guild_id, application.name, permissions=permissions, bot_id=application.bot_id)
        member = self.add_member(guild_id, application.bot_id, roles=[role.id])
        self.emit(
            "GUILD_CREATE",
            lambda: payloads.guild_create_payload(self, guild, application.bot_id),
            guild_id=guild_id,
            only_user=application.bot_id,
        )
        return member

    def update_guild(self, guild_id: int, *, name: str) -> Guild:
        """Rename a guild."""
        guild = self.guild(guild_id)
        guild.name = name
        self.emit("GUILD_UPDATE", lambda: payloads.guild_payload(self, guild), guild_id=guild_id, intent=Intents.GUILDS)
        return guild

    def set_guild_unavailable(self, guild_id: int, unavailable: bool) -> None:
        """An outage of a guild: bots get GUILD_DELETE with `unavailable`, and GUILD_CREATE when it is over."""
        guild = self.guild(guild_id)
        guild.unavailable = unavailable
        for bot_id in self.bots_of(guild):
            self._emit_availability(guild, bot_id)

    def _emit_availability(self, guild: Guild, bot_id: int) -> None:
        if guild.unavailable:
            gone = payloads.unavailable_guild_payload(guild.id)
            self.emit("GUILD_DELETE", lambda: gone, guild_id=guild.id, only_user=bot_id)
            return
        self.emit(
            "GUILD_CREATE",
            lambda: payloads.guild_create_payload(self, guild, bot_id),
            guild_id=guild.id,
            only_user=bot_id,
        )

    def delete_guild(self, guild_id: int) -> None:
        """Erase a guild and all in it. To only throw a bot out use `remove_member`."""
        guild = self.guild(guild_id)
        for bot_id in self.bots_of(guild):
            self.emit("GUILD_DELETE", lambda: {"id": str(guild_id)}, guild_id=guild_id, only_user=bot_id)
        for channel_id in (*guild.threads, *guild.channels):
            self.messages.drop_channel(channel_id, guild_id)
            del self.channels[channel_id]
        del self.guilds[guild_id]

    def bots_of(self, guild: Guild) -> list[int]:
        """The bot users among a guild's members that belong to an application."""
        return [app.bot_id for app in self.applications.values() if app.bot_id in guild.members]

    # -- members

    def add_member(
        self,
        guild_id: int,
        user_id: int,
        *,
        nick: str | None = None,
        roles: Iterable[int] = (),
        joined_ms: int | None = None,
    ) -> Member:
        """Let a user join; joining twice returns the membership that is there."""
        guild = self.guild(guild_id)
        self.user(user_id)
        if user_id in guild.members:
            return guild.members[user_id]
        member = Member(user_id, self.clock.now_ms() if joined_ms is None else joined_ms, nick, list(roles))
        guild.members[user_id] = member
        self.emit(
            "GUILD_MEMBER_ADD",
            lambda: payloads.member_event_payload(self, guild, member),
            guild_id=guild_id,
            intent=Intents.GUILD_MEMBERS,
        )
        return member

    def remove_member(self, guild_id: int, user_id: int) -> None:
        """A member leaves or is kicked; a bot so removed gets GUILD_DELETE and loses its managed role."""
        guild = self.guild(guild_id)
        member = self.member(guild_id, user_id)
        del guild.members[user_id]
        if self.application_of_bot(user_id):
            for role_id in [role.id for role in guild.roles.values() if role.bot_id == user_id]:
                del guild.roles[role_id]
            self.emit("GUILD_DELETE", lambda: {"id": str(guild_id)}, guild_id=guild_id, only_user=user_id)
        user = payloads.user_payload(self.user(member.user_id))
        self.emit(
            "GUILD_MEMBER_REMOVE",
            lambda: {"guild_id": str(guild_id), "user": user},
            guild_id=guild_id,
            intent=Intents.GUILD_MEMBERS,
        )

    def set_member_roles(self, guild_id: int, user_id: int, roles: Iterable[int]) -> Member:
        """Replace a member's roles (without @everyone)."""
        member = self.member(guild_id, user_id)
        member.roles = [self.role(guild_id, role_id).id for role_id in roles]
        return self._updated_member(guild_id, member)

    def time_out(self, guild_id: int, user_id: int, until_ms: int | None) -> Member:
        """Let a member only look until that moment; None ends it."""
        member = self.member(guild_id, user_id)
        member.timed_out_until_ms = until_ms
        return self._updated_member(guild_id, member)

    def set_nick(self, guild_id: int, user_id: int, nick: str | None) -> Member:
        """Change a member's nickname."""
        member = self.member(guild_id, user_id)
        member.nick = nick
        return self._updated_member(guild_id, member)

    def _updated_member(self, guild_id: int, member: Member) -> Member:
        guild = self.guild(guild_id)
        make = lambda: payloads.member_event_payload(self, guild, member)  # noqa: E731
        # Discord tells a bot about itself even without the members intent.
        self.emit(
            "GUILD_MEMBER_UPDATE",
            make,
            guild_id=guild_id,
            intent=Intents.GUILD_MEMBERS,
            always_for=member.user_id,
        )
        return member

    # -- roles

    def create_role(
        self,
        guild_id: int,
        name: str,
        *,
        permissions: int = 0,
        role_id: int | None = None,
        color: int = 0,
        hoist: bool = False,
        mentionable: bool = False,
        bot_id: int | None = None,
    ) -> Role:
        """A new role on top of the others; with `bot_id` it is that bot's managed role."""
        guild = self.guild(guild_id)
        role = Role(
            self._new_id(role_id),
            name,
            permissions,
            position=len(guild.roles),
            color=color,
            hoist=hoist,
            mentionable=mentionable,
            managed=bot_id is not None,
            bot_id=bot_id,
        )
        guild.roles[role.id] = role
        self._emit_role("GUILD_ROLE_CREATE", guild_id, role)
        return role

    def set_role_permissions(self, guild_id: int, role_id: int, permissions: int) -> Role:
        """Change what a role may do; the guild's own id names @everyone."""
        role = self.role(guild_id, role_id)
        role.permissions = permissions
        self._emit_role("GUILD_ROLE_UPDATE", guild_id, role)
        return role

    def delete_role(self, guild_id: int, role_id: int) -> None:
        """Remove a role from the guild, its members and the overwrites of its channels."""
        if role_id == guild_id:
            raise WorldRuleError("@everyone cannot be deleted")
        guild = self.guild(guild_id)
        if guild.roles.pop(role_id, None) is None:
            raise UnknownEntityError("role", role_id)
        for member in guild.members.values():
            member.roles = [kept for kept in member.roles if kept != role_id]
        for channel in guild.channels.values():
            channel.overwrites.pop(role_id, None)
        gone = {"guild_id": str(guild_id), "role_id": str(role_id)}
        self.emit("GUILD_ROLE_DELETE", lambda: gone, guild_id=guild_id, intent=Intents.GUILDS)

    def _emit_role(self, name: str, guild_id: int, role: Role) -> None:
        make = lambda: {"guild_id": str(guild_id), "role": payloads.role_payload(role)}  # noqa: E731
        self.emit(name, make, guild_id=guild_id, intent=Intents.GUILDS)

    def _new_id(self, given: int | None) -> int:
        if given is None:
            return self.clock.fresh()
        return given
