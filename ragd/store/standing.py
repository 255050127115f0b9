"""How channels stand with us as a whole: left out by the lists, out of the bot's sight, in a guild that we left.

All of it belongs into the transaction of Ingest, which is told which channels the gateway no longer tells about: what
was live there proves nothing from then on.
"""

from __future__ import annotations

from ragd.scope import Scope
from ragd.store.coverage import THREAD_TYPES
from ragd.store.database import Queries
from ragd.store.events import ChannelRow, GuildsListed

_THREADS = ",".join(map(str, THREAD_TYPES))
_PUBLIC_THREADS = "10,11"


class StandingStore(Queries):
    """The one writer of `guild.removed` and of `channel.excluded` as a whole."""

    def excluded(self) -> set[int]:
        """Ids of channels that the lists leave out."""
        return {row[0] for row in self._all("SELECT id FROM channel WHERE excluded")}

    def places(self) -> dict[int, tuple[int | None, ...]]:
        """Every channel and thread with the way to it: thread, channel, category, guild; the most specific first."""
        rows = self._all("SELECT id, guild_id, parent_id FROM channel")
        parents = {row[0]: row[2] for row in rows}
        return {row[0]: (row[0], row[2], parents.get(row[2]), row[1]) for row in rows}

    def apply_scope(self, scope: Scope) -> set[int]:
        """Say of every channel and thread, those that no client has in its cache too, whether the lists leave it out;
        returns the ids of those that they do."""
        rows = self._all("SELECT id, guild_id, parent_id, imported, excluded FROM channel")
        parents = {row[0]: row[2] for row in rows}
        excluded = set()
        for channel_id, guild_id, parent_id, imported, before in rows:
            path = (channel_id, parent_id, parents.get(parent_id), guild_id)
            is_out = not scope.includes(path, imported=bool(imported))
            if is_out:
                excluded.add(channel_id)
            if is_out != bool(before):
                self._execute(
                    "UPDATE channel SET excluded = ?, threads_listed_at = 0 WHERE id = ?", int(is_out), channel_id
                )
        return excluded

    def remove_guild(self, guild_id: int) -> list[int]:
        """The bot left the guild: what is kept of it is found by nobody. Returns the guild's channels."""
        self._execute("UPDATE guild SET removed = 1 WHERE id = ?", guild_id)
        return self.channels_of(guild_id)

    def remove_absent_guilds(self, listed: GuildsListed) -> list[int]:
        """Guilds that should have been listed and are not were left while nobody listened. Returns their channels.

        Not those that only an imported file told us of: the bot was never there.
        """
        known = self._all(
            "SELECT id FROM guild g WHERE NOT removed"
            " AND EXISTS (SELECT 1 FROM channel c WHERE c.guild_id = g.id AND NOT c.imported)"
        )
        gone = [row[0] for row in known if listed.concerns(row[0]) and row[0] not in set(listed.guild_ids)]
        return [channel_id for guild_id in gone for channel_id in self.remove_guild(guild_id)]

    def channels_of(self, guild_id: int) -> list[int]:
        return [row[0] for row in self._all("SELECT id FROM channel WHERE guild_id = ?", guild_id)]

    def threads_of(self, parent_id: int) -> list[int]:
        """Threads in a channel; the channels in a category are none."""
        rows = self._all(f"SELECT id FROM channel WHERE parent_id = ? AND type IN ({_THREADS})", parent_id)
        return [row[0] for row in rows]

    def follow_parent(self, seen: ChannelRow) -> list[int]:
        """A channel is about to be stored as seen: if the bot's access to it came or went, its threads go with it.

        Returns the threads that nothing is heard of any more. Archived ones are in nobody's cache, so nobody else
        would say it of them; and what was archived meanwhile has to be listed from the start.
        """
        before = self._all("SELECT readable, excluded FROM channel WHERE id = ?", seen.id)
        if not before or before[0] == (int(seen.readable), int(seen.excluded)):
            return []
        self._execute("UPDATE channel SET threads_listed_at = 0 WHERE id = ?", seen.id)
        if before[0][0] == int(seen.readable):
            return []
        kinds = _PUBLIC_THREADS if seen.readable else _THREADS
        self._execute(
            f"UPDATE channel SET readable = ? WHERE parent_id = ? AND type IN ({kinds})", int(seen.readable), seen.id
        )
        return [] if seen.readable else self.threads_of(seen.id)

    def is_gone(self, channel_id: int) -> bool:
        """Whether the channel was deleted."""
        return bool(self._all("SELECT 1 FROM channel WHERE id = ? AND deleted", channel_id))

    def suspects(self, guild_id: int, present: set[int]) -> list[int]:
        """Channels and active threads of a guild that the store has and Discord did not name: gone, or archived."""
        rows = self._all(
            "SELECT id FROM channel WHERE guild_id = ? AND readable AND NOT deleted AND NOT excluded AND NOT imported"
            f" AND (type NOT IN ({_THREADS}) OR NOT archived) ORDER BY id",
            guild_id,
        )
        return [row[0] for row in rows if row[0] not in present]

    def archived_threads(self, parent_id: int) -> list[int]:
        """Public archived threads of a channel that are thought to exist."""
        rows = self._all(
            "SELECT id FROM channel WHERE parent_id = ? AND archived AND readable AND NOT deleted AND NOT imported"
            f" AND type IN ({_PUBLIC_THREADS}) ORDER BY id",
            parent_id,
        )
        return [row[0] for row in rows]
