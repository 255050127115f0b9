"""A real OpenAI-compatible endpoint on loopback, which answers as it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

KEY = "sk-test-0123456789"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def completion(text: str, **more: Any) -> web.Response:
    """What a model wrote, as /v1/chat/completions tells it."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return web.json_response({"id": "x", "object": "chat.completion", "choices": choices, **more})


class Endpoint:
    """Belongs to a thread of its own. `answer` is what it says from then on; `requests` is what it was sent."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Handler
        self.says("")
        self.released: asyncio.Event
        self.url = ""

    def says(self, text: str, **more: Any) -> None:
        async def answer(_: web.Request) -> web.Response:
            return completion(text, **more)

        self.answer = answer

    def says_after(self, meanwhile: Callable[[], object], text: str) -> None:
        """Something happens while it writes."""

        async def answer(_: web.Request) -> web.Response:
            await asyncio.to_thread(meanwhile)
            return completion(text)

        self.answer = answer

    def fails(self, status: int, message: str = "no") -> None:
        async def answer(_: web.Request) -> web.Response:
            headers = {"Retry-After-Ms": "1"}
            return web.json_response({"error": {"message": message}}, status=status, headers=headers)

        self.answer = answer

    def sends(self, body: bytes, content_type: str = "application/json") -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type=content_type)

        self.answer = answer

    def breaks_off(self) -> None:
        """Half of an answer, then the connection is gone."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(b'{"choices": [{"message": {"content": "Half')
            assert request.transport is not None
            request.transport.close()
            return response

        self.answer = answer

    def hangs(self) -> None:
        async def answer(_: web.Request) -> web.Response:
            await self.released.wait()
            return completion("late")

        self.answer = answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        return await self.answer(request)

    @property
    def prompt(self) -> str:
        """All that the model was last shown."""
        return "\n".join(message["content"] for message in self.requests[-1]["messages"])


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    served, ready = Endpoint(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        served.released = asyncio.Event()
        application = web.Application()
        application.router.add_post("/v1/chat/completions", served._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        served.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[attr-defined]
        ready.set()
        await stop.wait()
        served.released.set()
        await runner.cleanup()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
