"""capture: one gateway connection; everything it sees is committed to SQLite, what it missed is read over REST.

The working loop is the writer: it takes what the gateway's handlers queued, commits it, and writes the heartbeat.
The event loop runs the handlers; one thread of its own holds the database, so that a slow disk stops no event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import aiohttp
import discord
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from ragd.answering import Answerer
from ragd.applied import record_settings
from ragd.bot.alerts import deliver_alerts
from ragd.bot.audit import Auditor
from ragd.bot.backfill import Backfill
from ragd.bot.client import close_quietly
from ragd.bot.commands import add_commands
from ragd.bot.endpoints import LONGEST_RECONNECT_SECONDS, use_endpoints
from ragd.bot.guard import GatewayGuard
from ragd.bot.inspection import Means
from ragd.bot.journal import Journal
from ragd.bot.reach_server import ReachServer
from ragd.bot.reconcile import Reconciler
from ragd.bot.requests import TokenRefusedError, in_background
from ragd.bot.scope import CaptureScope
from ragd.bot.sessions import Shards
from ragd.bot.sharding import make_client
from ragd.bot.spool import Spool
from ragd.config import Settings, load_settings
from ragd.errors import ConfigError, RagdError, TransientError, UnavailableError
from ragd.heartbeat import Counter
from ragd.soundness import require_sound
from ragd.store import Ingest, Store
from ragd.store.promises import FILE as PROMISES
from ragd.store.promises import catch_up
from ragd.worker import Pulse, StopFlag, make_directory, run_async, wait_for_stop

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

COMMIT_RETRY_SECONDS = 1.0
"""Pause before a batch is tried again that the database would not take."""

DISCONNECTED_SECONDS = 10.0
"""Discord closes connections as a matter of course; one that is resumed sooner is no news."""

AUTHENTICATION_FAILED, INVALID_SHARD, SHARDING_REQUIRED = 4004, 4010, 4011
"""The gateway's close codes for a token that it does not take, or takes no more; for a shard that there is not; and for
one that would have more than 2,500 servers."""

RELOAD_SIGNAL = signal.SIGHUP
"""Has capture read its allow and deny lists again; `ragdctl reload` sends it."""

CLOSE_SECONDS = 1.0
DRAIN_SECONDS = 1.5
"""Together less than supervisord's stopwaitsecs."""


class Capture:
    """The process: the client, the journal, the writer and the backfill."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "store")
        self._beside_writer = asyncio.Lock()
        self._journal = Journal(Spool(settings.data_dir / "capture.spool"), self._state_everything)
        self._scope = CaptureScope(settings.scope)
        self._client = make_client(settings.command_prefix, self._journal, self._scope, Shards.of(settings))
        self._backfill = Backfill(self._client, self._journal, self._scope, self.in_store, settings.reconcile_hours)
        self._client.backfill = self._backfill
        self._reconciler = Reconciler(
            self._client,
            self._backfill,
            self._backfill.roster,
            lambda since: self.in_store(lambda store: store.coverage.recent_channels(since)),
            hours=settings.reconcile_hours,
            minutes=settings.reconcile_minutes,
        )
        self._reload_wanted = asyncio.Event()
        self._guard = GatewayGuard(self._client, settings.deaf_seconds)
        means = Means(self._client, self._journal, self._backfill, self.in_store, random.SystemRandom())
        self._auditor = Auditor(means)
        self._reach = ReachServer(settings.capture_socket, self._client, self.in_store)
        self._answerer = Answerer(settings, self.in_store)
        self._pulse = Pulse(settings, "capture", self.counters)
        self._store: Store | None = None
        self._ingest: Ingest | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises ConfigError for what only a person can mend."""
        if self._settings.discord_bot_token is None:
            raise ConfigError("DISCORD_BOT_TOKEN is not set", hint="`ragd` without one runs the demo")
        await self._in_thread(self._open_store)
        asyncio.get_running_loop().add_signal_handler(RELOAD_SIGNAL, self._reload_wanted.set)
        await add_commands(self._client, self)
        await self._reach.start()
        gateway = asyncio.create_task(self._connect(), name="gateway")
        helpers = [
            asyncio.create_task(in_background(self._backfill.run()), name="backfill"),
            asyncio.create_task(in_background(self._reconciler.run()), name="reconcile"),
            asyncio.create_task(in_background(self._guard.run()), name="guard"),
            asyncio.create_task(in_background(self._auditor.run()), name="audit"),
            asyncio.create_task(self._reload_when_asked(), name="reload"),
            asyncio.create_task(self._deliver_alerts(stop), name="alerts"),
        ]
        try:
            await self._write_until(stop, [gateway, *helpers])
        finally:
            await self._shut_down([gateway, *helpers])

    # The writer: this process's working loop

    async def _write_until(self, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        while not stop.is_set():
            await self._write_once(stop)
            self._pulse.beat()
            self._client.requests.require_token()  # whoever met the refusal, and whatever it made of that
            if not stop.is_set():
                for task in tasks:
                    _require_alive(task)
        self._pulse.enter("stopping")

    async def _write_once(self, stop: asyncio.Event) -> None:
        assert self._ingest is not None
        ingest = self._ingest
        wait_seconds = 0.0 if ingest.judges else self._settings.heartbeat_seconds / 2
        try:
            await self._journal.write_next(lambda events: self._in_thread(lambda: ingest.apply(events)), wait_seconds)
            if ingest.judges:
                await self._in_thread(ingest.judge_some)
        except TransientError as error:
            self._pulse.enter("degraded", str(error))
            await wait_for_stop(stop, COMMIT_RETRY_SECONDS)
            return
        self._judge_connection()

    def _judge_connection(self) -> None:
        away = self._client.sessions.away_seconds
        if not away:
            self._pulse.settle("running")
        elif away > DISCONNECTED_SECONDS:
            self._pulse.settle("degraded", self._why_away())

    def _why_away(self) -> str:
        if self._client.pacer.waiting:
            return self._client.pacer.waiting
        away, held = self._client.sessions.away, self._client.held
        which = f" (shards {', '.join(map(str, away))} of {held.count})" if held.several else ""
        return f"not connected to Discord{which}"

    def counters(self) -> dict[str, Counter]:
        """For the heartbeat, and for commands."""
        totals = dict(self._ingest.totals) if self._ingest else {}
        return {
            **totals,
            "backlog": len(self._journal),
            "done": self._journal.committed,
            "holes": self._backfill.holes,
            "resyncs": self._backfill.resyncs,
            **self._reconciler.counters(),
            "spooled": self._journal.spooled,
            **self._client.gateway_counters(),
            **self._guard.counters(),
            **self._answerer.counters(),
        }

    # What commands need (ragd/bot/commands/host.py)

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def answerer(self) -> Answerer:
        return self._answerer

    def hears_of(self, guild: discord.Guild) -> bool:
        return self._client.sessions.has(guild.shard_id)

    def resync(self) -> None:
        self._backfill.resync()

    async def in_store(self, work: Callable[[Store], Result]) -> Result:
        store = self._opened()
        return await self._beside(lambda: work(store))

    # Settings that change while it runs

    async def _reload_when_asked(self) -> None:
        """Take over the allow and deny lists without a new session, for each of those is one of a day's thousand."""
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            try:
                await self._take_over(load_settings())
            except RagdError as error:
                _log.error("the settings stay as they were: %s", error.one_line())

    async def _take_over(self, settings: Settings) -> None:
        changed = {"allow_ids": settings.allow_ids, "deny_ids": settings.deny_ids}
        self._settings = self._settings.model_copy(update=changed)
        self._scope.lists = settings.scope
        self._client.announce_everything()
        await self._journal.commit()
        record_settings("capture", self._settings)
        _log.info("allow and deny lists are in force: %d and %d ids", *map(len, changed.values()))

    # The store, in its own thread

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _beside(self, work: Callable[[], Result]) -> Result:
        """As `_in_thread`, one at a time: of several that wait for a locked database, the writer, which cannot beat
        before its turn comes, has to wait for no more than one (see Settings.busy_seconds)."""
        async with self._beside_writer:
            return await self._in_thread(work)

    def _open_store(self) -> None:
        require_sound(self._settings, self._pulse.beat)
        # FULL: an event counts as captured only when a power cut cannot take it back.
        settings = self._settings
        self._store = Store.open(settings.database_path, durability="FULL", busy_seconds=settings.busy_seconds)
        catch_up(self._store.database, settings.data_dir / PROMISES)
        self._ingest = self._store.ingest(
            index_bots=settings.index_bots,
            command_prefix=settings.command_prefix,
            deleted_kept_days=settings.deleted_retention_days,
        )

    def _opened(self) -> Store:
        assert self._store is not None, "the store is opened before any task starts"
        return self._store

    # Discord

    async def _state_everything(self) -> None:
        self._client.announce_everything()

    async def _connect(self) -> None:
        token = self._settings.discord_bot_token
        assert token is not None, "run() has looked"
        try:
            await self._log_in(token.get_secret_value())
            await self._client.connect(reconnect=True)
        except discord.PrivilegedIntentsRequired:
            raise ConfigError(
                "Discord does not grant the MESSAGE CONTENT intent",
                hint="switch it on in the developer portal, page Bot, Privileged Gateway Intents",
            ) from None
        except discord.ConnectionClosed as error:
            raise self._closed_for_good(error.code) from None

    def _closed_for_good(self, code: int) -> ConfigError:
        if code == AUTHENTICATION_FAILED:
            return TokenRefusedError()
        held = self._client.held
        if code == SHARDING_REQUIRED:
            more = max(self._client.recommended_shards, held.count + 1)
            return ConfigError(
                f"RAGD_SHARD_COUNT={held.count}: Discord refuses a shard of more than 2,500 servers",
                hint=f"set it to {more} or more, the same in every instance of this bot, and share out RAGD_SHARD_IDS",
            )
        if code == INVALID_SHARD:
            ids = ",".join(map(str, held.ids))
            return ConfigError(
                f"Discord does not know shard RAGD_SHARD_IDS={ids} of RAGD_SHARD_COUNT={held.count}",
                hint="set both as the bot's other instances have them",
            )
        return ConfigError(f"Discord closed the gateway for good with code {code}")

    async def _log_in(self, token: str) -> None:
        """Log in; while Discord cannot be reached, try again for ever: capture is of use again the moment it can."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((aiohttp.ClientError, discord.DiscordServerError, OSError, TimeoutError)),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_RECONNECT_SECONDS),
            before_sleep=_log_retry,
        )
        await retrying(self._client.login, token)

    async def _deliver_alerts(self, stop: asyncio.Event) -> None:
        if self._settings.alert_channel_id is None:
            await stop.wait()
            return
        alerts = self._opened().alerts
        await deliver_alerts(self._client, self._settings.alert_channel_id, alerts, self._beside, stop)

    # The end

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._reach.stop()
        await close_quietly(self._client, CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drain(), DRAIN_SECONDS)
        if self._store is not None:
            await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)

    async def _drain(self) -> None:
        """Commit what is queued. What cannot be committed in time is a hole, and the next start fills it."""
        assert self._ingest is not None
        ingest = self._ingest
        while len(self._journal):
            try:
                await self._journal.write_next(lambda events: self._in_thread(lambda: ingest.apply(events)), 0)
            except TransientError as error:
                _log.warning("%d events are left to the next start: %s", len(self._journal), error)
                return


def _require_alive(task: asyncio.Task[None]) -> None:
    """Raise what ended a side task: none of them ends by itself, and without one of them capture is deaf."""
    if task.done():
        task.result()
        raise UnavailableError(f"the {task.get_name()} task has ended")


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    _log.warning("cannot reach Discord (%s), trying again in %.1f s", error or type(error).__name__, pause)


def run(settings: Settings, stop: StopFlag) -> None:
    """Run capture until the flag is set. Raises RagdError."""
    make_directory(settings.data_dir)
    use_endpoints(settings)

    async def main(event: asyncio.Event) -> None:
        await Capture(settings).run(event)

    run_async(main, stop)
