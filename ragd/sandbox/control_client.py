"""The control side from plain synchronous code, over HTTP; import it from `client`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ragd.errors import RagdError, UnavailableError

from .entities import ChannelType, Ledger, LedgerEntry, OverwriteTarget

Json = dict[str, Any]


class ControlError(RagdError):
    """The control side refused; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ControlClient:
    """Speaks to `control` over HTTP, one connection a call: usable from any thread.

    Ids are int. Raises ControlError when refused and UnavailableError when nobody listens.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._timeout_seconds = timeout_seconds

    # -- plumbing

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return self._request("GET", path, None)

    def send(self, path: str, body: Json | Sequence[Json]) -> Any:
        """The JSON of a POST."""
        return self._request("POST", path, json.dumps(body).encode())

    def change(self, name: str, /, **arguments: Any) -> Any:
        """Any mutation of `World` by name."""
        return self.send(f"/world/{name}", arguments)

    def fault(self, name: str, /, **arguments: Any) -> Json:
        """Any method of `orders.FaultOrders` by name."""
        answer: Json = self.send(f"/faults/{name}", arguments)
        return answer

    def _request(self, method: str, path: str, body: bytes | None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except OSError as error:
            raise UnavailableError(f"sandbox control at {self._host}:{self._port} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ControlError(response.status, answer["error"])
        return answer

    def _make(self, change: str, /, **arguments: Any) -> int:
        return int(self.change(change, **arguments)["id"])

    # -- looking

    def state(self) -> Json:
        """Connections, counts and faults."""
        answer: Json = self.get("/state")
        return answer

    def gateway(self) -> Json:
        """The gateway's part of `state()`: sessions, identifies, resumes, sent_events, heartbeats, ..."""
        answer: Json = self.state()["gateway"]
        return answer

    def world(self) -> Json:
        """Guilds, channels, users and applications as payloads."""
        answer: Json = self.get("/world")
        return answer

    def ledger(self, guild_id: int | None = None) -> Ledger:
        """What truly exists and what is gone."""
        answer = self.get("/ledger" if guild_id is None else f"/ledger?guild_id={guild_id}")
        entries = (_ledger_entry(entry) for entry in answer["messages"])
        return Ledger({entry.id: entry for entry in entries}, frozenset(map(int, answer["deleted"])))

    # -- accounts, guilds, members, roles

    def create_user(self, username: str, **more: Any) -> int:
        """See `World.create_user`."""
        return self._make("create_user", username=username, **more)

    def create_application(self, name: str, **more: Any) -> Json:
        """See `World.create_application`; the answer has `id`, `bot_id` and `token`."""
        answer: Json = self.change("create_application", name=name, **more)
        return answer

    def reset_token(self, application_id: int) -> None:
        """See `World.reset_token`."""
        self.change("reset_token", application_id=application_id)

    def create_guild(self, name: str, owner_id: int, **more: Any) -> int:
        """See `World.create_guild`."""
        return self._make("create_guild", name=name, owner_id=owner_id, **more)

    def invite_bot(self, guild_id: int, application_id: int, **more: Any) -> None:
        """See `World.invite_bot`."""
        self.change("invite_bot", guild_id=guild_id, application_id=application_id, **more)

    def delete_guild(self, guild_id: int) -> None:
        """See `World.delete_guild`."""
        self.change("delete_guild", guild_id=guild_id)

    def set_guild_unavailable(self, guild_id: int, unavailable: bool) -> None:
        """See `World.set_guild_unavailable`."""
        self.change("set_guild_unavailable", guild_id=guild_id, unavailable=unavailable)

    def add_member(self, guild_id: int, user_id: int, **more: Any) -> None:
        """See `World.add_member`."""
        self.change("add_member", guild_id=guild_id, user_id=user_id, **more)

    def remove_member(self, guild_id: int, user_id: int) -> None:
        """A member leaves; a bot is kicked."""
        self.change("remove_member", guild_id=guild_id, user_id=user_id)

    def set_member_roles(self, guild_id: int, user_id: int, roles: Sequence[int]) -> None:
        """See `World.set_member_roles`."""
        self.change("set_member_roles", guild_id=guild_id, user_id=user_id, roles=list(roles))

    def create_role(self, guild_id: int, name: str, **more: Any) -> int:
        """See `World.create_role`."""
        return self._make("create_role", guild_id=guild_id, name=name, **more)

    def set_role_permissions(self, guild_id: int, role_id: int, permissions: int) -> None:
        """See `World.set_role_permissions`."""
        self.change("set_role_permissions", guild_id=guild_id, role_id=role_id, permissions=permissions)

    # -- channels and threads

    def create_channel(self, guild_id: int, name: str, type: int = ChannelType.TEXT, **more: Any) -> int:
        """See `World.create_channel`."""
        return self._make("create_channel", guild_id=guild_id, name=name, type=int(type), **more)

    def update_channel(self, channel_id: int, **changes: Any) -> None:
        """See `World.update_channel`."""
        self.change("update_channel", channel_id=channel_id, **changes)

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel or thread."""
        self.change("delete_channel", channel_id=channel_id)

    def set_overwrite(
        self, channel_id: int, target_id: int, target: OverwriteTarget, *, allow: int = 0, deny: int = 0
    ) -> None:
        """See `World.set_overwrite`."""
        body = {"channel_id": channel_id, "target_id": target_id, "target": int(target)}
        self.change("set_overwrite", **body, allow=allow, deny=deny)

    def delete_overwrite(self, channel_id: int, target_id: int) -> None:
        """See `World.delete_overwrite`."""
        self.change("delete_overwrite", channel_id=channel_id, target_id=target_id)

    def create_thread(self, parent_id: int, owner_id: int, name: str, **more: Any) -> int:
        """See `World.create_thread`."""
        return self._make("create_thread", parent_id=parent_id, owner_id=owner_id, name=name, **more)

    def create_forum_post(self, forum_id: int, author_id: int, name: str, content: str, **more: Any) -> int:
        """See `World.create_forum_post`."""
        body = {"forum_id": forum_id, "author_id": author_id, "name": name, "content": content}
        return self._make("create_forum_post", **body, **more)

    def archive_thread(self, thread_id: int, *, locked: bool | None = None) -> None:
        """See `World.archive_thread`."""
        self.change("archive_thread", thread_id=thread_id, locked=locked)

    def unarchive_thread(self, thread_id: int) -> None:
        """See `World.unarchive_thread`."""
        self.change("unarchive_thread", thread_id=thread_id)

    # -- messages

    def post(self, channel_id: int, author_id: int, content: str = "", **more: Any) -> int:
        """See `World.post`."""
        return self._make("post", channel_id=channel_id, author_id=author_id, content=content, **more)

    def post_many(self, channel_id: int, author_id: int, contents: Sequence[str], **more: Any) -> list[int]:
        """Many posts in one request."""
        items = [
            {"change": "post", "channel_id": channel_id, "author_id": author_id, "content": content, **more}
            for content in contents
        ]
        return [int(answer["id"]) for answer in self.send("/batch", items)]

    def edit(self, message_id: int, content: str, **more: Any) -> None:
        """See `World.edit`."""
        self.change("edit", message_id=message_id, content=content, **more)

    def delete(self, message_id: int) -> None:
        """See `World.delete`."""
        self.change("delete", message_id=message_id)

    def bulk_delete(self, channel_id: int, message_ids: Sequence[int]) -> list[int]:
        """See `World.bulk_delete`."""
        gone = self.change("bulk_delete", channel_id=channel_id, message_ids=list(message_ids))
        return [int(message_id) for message_id in gone]

    def react(self, message_id: int, user_id: int, emoji: str) -> None:
        """See `World.react`."""
        self.change("react", message_id=message_id, user_id=user_id, emoji=emoji)

    def forward(self, channel_id: int, author_id: int, message_id: int) -> int:
        """See `World.forward`."""
        return self._make("forward", channel_id=channel_id, author_id=author_id, message_id=message_id)

    # -- asking the bot

    def run_command(
        self,
        channel_id: int,
        user_id: int,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        application_id: int | None = None,
        wait_seconds: float = 10.0,
    ) -> Json:
        """A user runs a slash command ('group sub' for sub-commands); returns the bot's answer as `asking` reports it.

        `messages` are its payloads, each with `ephemeral`. ControlError 504 when none came in time.
        """
        body = {"channel_id": channel_id, "user_id": user_id, "application_id": application_id}
        return self._ask({**body, "name": name, "options": dict(options or {}), "wait_seconds": wait_seconds})

    def press(self, message_id: int, channel_id: int, user_id: int, custom_id: str, **more: Any) -> Json:
        """A user presses a component of a bot's message."""
        body = {"message_id": message_id, "channel_id": channel_id, "user_id": user_id, "custom_id": custom_id}
        return self._ask({**body, **more})

    def say(self, channel_id: int, user_id: int, content: str, *, wait_seconds: float = 10.0) -> Json:
        """A user writes a prefix command; returns the bot's next message in the channel."""
        body = {"channel_id": channel_id, "user_id": user_id, "content": content}
        return self._ask({**body, "wait_seconds": wait_seconds})

    def interaction(self, interaction_id: int) -> Json:
        """An interaction's answers by now, follow-ups included."""
        answer: Json = self.get(f"/interactions/{interaction_id}")
        return answer

    def _ask(self, body: Json) -> Json:
        answer: Json = self.send("/interactions", body)
        return answer

    # -- faults

    def cut(self, code: int | None = None, session_id: str | None = None) -> int:
        """End gateway connections, with a close code or without a close frame; returns how many."""
        return int(self.fault("cut", code=code, session_id=session_id)["connections"])

    def reconnect(self, session_id: str | None = None) -> int:
        """Op 7."""
        return int(self.fault("reconnect", session_id=session_id)["connections"])

    def invalidate(self, *, resumable: bool = False, session_id: str | None = None) -> int:
        """Op 9."""
        return int(self.fault("invalidate", resumable=resumable, session_id=session_id)["connections"])

    def expire_sessions(self, session_id: str | None = None) -> int:
        """The next RESUME gets op 9 false."""
        return int(self.fault("expire_sessions", session_id=session_id)["sessions"])

    def network(self, *, up: bool) -> None:
        """Take REST and gateway off the network, or put them back on the same port."""
        self.fault("network", up=up)

    def zombie(self, on: bool = True) -> None:
        """No heartbeat ACKs."""
        self.fault("zombie", on=on)

    def deaf(self, on: bool = True, *, keep_for_resume: bool = False, names: Sequence[str] = ()) -> None:
        """ACKs but no events (or none of `names`)."""
        self.fault("deaf", on=on, keep_for_resume=keep_for_resume, names=list(names))

    def drop(
        self, count: int = 0, *, fraction: float = 0.0, keep_for_resume: bool = False, names: Sequence[str] = ()
    ) -> None:
        """Lose the next `count` events, or a fraction of all."""
        body = {"count": count, "fraction": fraction, "keep_for_resume": keep_for_resume, "names": list(names)}
        self.fault("drop", **body)

    def refuse(self, *, gateway: bool = False, rest: bool = False, resume: bool = False) -> None:
        """Reset gateway or REST connections, refuse RESUMEs; what is not given is allowed again."""
        self.fault("refuse", gateway=gateway, rest=rest, resume=resume)

    def rest_fault(self, **rule: Any) -> int:
        """See `orders.FaultOrders.rest`; returns the rule's number."""
        return int(self.fault("rest", **rule)["rule"])

    def identify_budget(self, **changes: int) -> Json:
        """Change the session start limit: remaining, total, reset_after_ms, max_concurrency."""
        return self.fault("identify_budget", **changes)

    def sharding(self, **changes: int) -> Json:
        """Change what a bot is told about shards: recommended, required."""
        return self.fault("sharding", **changes)

    def clear_faults(self) -> None:
        """Everything back to normal."""
        self.fault("clear")


def _ledger_entry(entry: Json) -> LedgerEntry:
    guild_id = entry["guild_id"]
    return LedgerEntry(
        id=int(entry["id"]),
        channel_id=int(entry["channel_id"]),
        guild_id=None if guild_id is None else int(guild_id),
        author_id=int(entry["author_id"]),
        content=entry["content"],
        edited_timestamp=entry["edited_timestamp"],
    )
