"""What of discord.py's gateway is mended in `ragd.bot.endpoints`."""

from __future__ import annotations

import asyncio
import time

import pytest
from discord.gateway import KeepAliveHandler

from ragd.bot.endpoints import GatewaySocket

INTERVAL_SECONDS = 41.25


class PromptServer:
    """Acknowledges a heartbeat before the thread that ordered it has heard that it was sent."""

    def __init__(self) -> None:
        self.socket: GatewaySocket

    async def send_str(self, _data: str) -> None:
        assert self.socket._keep_alive is not None
        self.socket._keep_alive.ack()


def test_a_prompt_acknowledgement_is_not_taken_for_a_late_one(caplog: pytest.LogCaptureFixture) -> None:
    async def beat() -> float:
        server = PromptServer()
        gateway = GatewaySocket(server, loop=asyncio.get_running_loop())  # type: ignore[arg-type]
        gateway._max_heartbeat_timeout = 60.0
        server.socket = gateway
        gateway._keep_alive = KeepAliveHandler(ws=gateway, interval=INTERVAL_SECONDS)
        gateway._keep_alive._last_send = time.perf_counter() - INTERVAL_SECONDS  # the beat before
        await gateway.send_heartbeat({"op": 1, "d": None})
        return gateway._keep_alive.latency

    assert asyncio.run(beat()) < INTERVAL_SECONDS / 2
    assert "behind" not in caplog.text
