"""A sandbox as a process of its own: what `ragd sandbox` runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragd.errors import CannotCreateError

from .community import Community
from .demo_script import load_demo
from .entities import Application
from .exports import load_exports
from .playback import Playback
from .server import Sandbox, SandboxOptions
from .world import World

log = logging.getLogger(__name__)

CommunityChoice = Literal["demo", "empty"] | Sequence[Path]
BOT_NAME = "ragd"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is on at a sandbox: its bot, its guild, and the community that plays in it (none in an empty one)."""

    application: Application
    guild_id: int
    playback: Playback | None


def run_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    control_port: int = 0,
    token: str = "sandbox",  # noqa: S107  opens nothing but the sandbox
    community: CommunityChoice = "demo",
    seeded: float = 1.0,
    speed: float = 1.0,
    chat: bool = False,
    chat_interval_seconds: float = 4.0,
    ready_file: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    The share `seeded` (0 to 1) of the community's history is there from the beginning; the rest is replayed, `speed`
    times as fast as it happened (0: without waiting), once a bot has connected; then `chat` goes on for ever.
    When it serves, one line of JSON goes to stdout and to `ready_file`: api_url, gateway_url, control_url,
    application_id, guild_id. Raises RagdError for a bad export file or a port that is taken.
    """
    options = SandboxOptions(host=host, port=port, control_port=control_port)
    world = World()
    scene = set_scene(world, token, community, seeded=seeded)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Sandbox(options, world), scene, speed, chat_interval_seconds if chat else None, ready_file))


def set_scene(world: World, token: str, community: CommunityChoice, *, seeded: float = 1.0) -> Scene:
    """Fill an empty world: the community with its seeded history, and the bot in its guild."""
    with world.silence():
        application = world.create_application(BOT_NAME, token=token)
        if community == "empty":
            guild_id, playback = _empty_guild(world), None
        else:
            playback = Playback(world, _loaded(community, seeded))
            playback.seed(seeded)
            guild_id = playback.community.guild_id
        world.invite_bot(guild_id, application.id)
    return Scene(application, guild_id, playback)


def _loaded(community: CommunityChoice, seeded: float) -> Community:
    if isinstance(community, str):
        return load_demo(int(time.time() * 1000), until=seeded)
    return load_exports(community)


def _empty_guild(world: World) -> int:
    owner = world.create_user("owner")
    guild = world.create_guild("Sandbox", owner.id)
    world.create_channel(guild.id, "general")
    return guild.id


async def _serve(
    sandbox: Sandbox, scene: Scene, speed: float, chat_seconds: float | None, ready_file: Path | None
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await sandbox.start()
    play = asyncio.create_task(_play(sandbox, scene, speed, chat_seconds))
    play.add_done_callback(_log_failure)
    try:
        _announce(sandbox, scene, ready_file)
        await stopped.wait()
    finally:
        play.cancel()
        await asyncio.wait([play])
        await sandbox.stop()


async def _play(sandbox: Sandbox, scene: Scene, speed: float, chat_seconds: float | None) -> None:
    if scene.playback is None:
        return
    await sandbox.gateway.first_identify.wait()
    await scene.playback.replay(speed)
    if chat_seconds is not None:
        await scene.playback.chatter(chat_seconds)


def _log_failure(play: asyncio.Task[None]) -> None:
    if not play.cancelled() and play.exception() is not None:
        log.error("the community has stopped playing", exc_info=play.exception())


def _announce(sandbox: Sandbox, scene: Scene, ready_file: Path | None) -> None:
    facts = {**sandbox.urls(), "application_id": str(scene.application.id), "guild_id": str(scene.guild_id)}
    line = json.dumps(facts)
    print(line, flush=True)
    if ready_file is not None:
        _write_whole(ready_file, line + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees the whole file or none."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # never a file or link that somebody else put there
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise CannotCreateError(f"cannot write {path}: {error.strerror}") from error
