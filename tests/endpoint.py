"""A real HTTP server that speaks OpenAI's `/v1/embeddings`, for tests: up, down, refusing, slow, forgetful."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from aiohttp import web

from ragd.embedding import Embedder

KEY = "sk-of-the-tests-0123456789"


class Endpoint:
    """Use as a context manager. Vectors are those of a small model, of texts of at most `longest` characters."""

    def __init__(self, embedder: Embedder, *, longest: int = 100_000) -> None:
        self._embedder = embedder
        self._longest = longest
        self.texts: list[str] = []
        self.requests = 0
        self.fails = 0
        """So many of the next requests are answered by 500."""
        self.status = 200
        self.scale = 3.0
        """Vectors have this length: nobody promises that they are normalised."""
        self.cut: int | None = None
        """Vectors are cut to so many numbers, as another model's would be."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
            self._runner = None

    async def _listen(self) -> None:
        application = web.Application()
        application.router.add_post("/v1/embeddings", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        asked: dict[str, Any] = await request.json()
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        if self.fails:
            self.fails -= 1
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        if max(map(len, asked["input"])) > self._longest:
            return web.json_response({"error": {"message": "too long"}}, status=400)
        self.texts += asked["input"]
        vectors = self._embedder.embed(asked["input"]) * self.scale
        data = [
            {"object": "embedding", "index": index, "embedding": vector[: self.cut].tolist()}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        answer = {"object": "list", "data": data[::-1], "model": asked["model"], "usage": usage}
        return web.json_response(answer)
