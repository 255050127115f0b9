"""A local Discord in a process of its own, so that it shares no GIL with what is measured.

    python -m benchmarks.server [--like-discord] [--community demo | FOLDER] [--history CHANNELS MESSAGES]

Prints one line of JSON with its URLs; ends when its standard input ends, so it never outlives a benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from benchmarks.history import furnish_long
from ragd.sandbox.rest import LimitSettings
from ragd.sandbox.rest.limits import Limit
from ragd.sandbox.run import CommunityChoice, set_scene
from ragd.sandbox.server import Sandbox, SandboxOptions
from ragd.sandbox.world import World
from tests.processes import TOKEN

UNLIMITED = Limit(1_000_000, 1.0)


async def serve(sandbox: Sandbox) -> None:
    """Serve until standard input ends."""
    await sandbox.start()
    print(json.dumps(sandbox.urls()), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await sandbox.stop()


def main() -> None:
    """Build the world and serve it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--like-discord", action="store_true", help="rate limits of about Discord's size")
    parser.add_argument("--community", help="who talks there: the demo, or a folder of exports; default: nobody")
    parser.add_argument("--history", nargs=2, type=int, help="channels, and messages in each, made when asked for")
    asked = parser.parse_args()
    limits = LimitSettings.like_discord() if asked.like_discord else LimitSettings(UNLIMITED, UNLIMITED)
    world = World()
    if asked.community:
        community: CommunityChoice = "demo" if asked.community == "demo" else [Path(asked.community)]
        set_scene(world, TOKEN, community)
    if asked.history:
        furnish_long(world, *asked.history)
    asyncio.run(serve(Sandbox(SandboxOptions(limits=limits), world)))


if __name__ == "__main__":
    main()
