"""The embedded model: llama.cpp's server as a child process on loopback, spoken to in the OpenAI dialect.

The child is started by the first call (or by `start`), and again by the next call after it died; what was being answered
when it died fails with an error that may be retried. No network is used but loopback. How the child comes and goes stands
in `local_child.py`, what it runs in `local_server.py`, where the weights come from in `weights.py`.
"""

import asyncio
import importlib.util
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import structlog

from bot.clock import Clock
from bot.llm import local_server
from bot.llm.local_child import Child, start_child, what_is_missing
from bot.llm.openai import OpenAIModel
from bot.llm.protocol import Alive, Delta, LLMError, LLMTimeout, LLMUnavailable, PromptMessage

_log = structlog.get_logger(__name__)

LOCAL_MAX_TOKENS = 256
"""How long the embedded model's answers may be: it writes some 40 tokens a second, and small models ramble."""

SERVER = (sys.executable, "-P", local_server.__file__)  # -P: the server's own directory has an `openai.py`, among others
LOAD_LIMIT = timedelta(seconds=180)  # from a slow disk; half a second to three seconds is usual
LONGEST_BACK_OFF = timedelta(seconds=8)
_PULSE = timedelta(seconds=5)
_DEATH_SHOWS = timedelta(seconds=1)  # how long after its connection broke a process may still seem to live


def local_unavailable() -> str | None:
    """Tell why the embedded model can't run in this environment, with the remedy; None when it can.

    Only the package is looked for, nothing is imported: a missing system library shows when the child starts.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        return what_is_missing("No module named 'xllamacpp'")
    return None


def default_threads() -> int:
    """Leave one processor to the bot itself: with all of them busy the model is slower, not faster."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus - 1)


@dataclass(frozen=True, slots=True)
class _Server:
    child: Child
    client: OpenAIModel


class LocalModel:
    """A GGUF file that answers."""

    def __init__(
        self,
        model_path: Path,
        clock: Clock,
        rng: random.Random,
        *,
        name: str | None = None,
        max_tokens: int = LOCAL_MAX_TOKENS,
        threads: int | None = None,
        load_limit: timedelta = LOAD_LIMIT,
        command: Sequence[str] = SERVER,
    ) -> None:
        self._path = model_path
        self._clock = clock
        self._rng = rng
        self._name = name or model_path.stem
        self._max_tokens = max_tokens
        self._threads = threads or default_threads()
        self._load_limit = load_limit
        self._command = command
        self._slots = asyncio.Semaphore(local_server.SLOTS)  # the server's own queue says nothing while one waits in it
        self._starting: asyncio.Task[_Server] | None = None
        self._failures = 0  # deaths and failed starts since the last whole answer
        self._not_before = clock.monotonic()
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        """Load the model now, so that the first answer need not wait for it.

        Raises:
            LLMError: it can't be loaded; the message names the reason.
        """
        await self._server()

    @asynccontextmanager
    async def stream(self, prompt: Sequence[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
        async with aclosing(self._deltas(prompt)) as deltas:
            yield deltas

    async def aclose(self) -> None:
        self._closed = True
        if self._starting is None:
            return
        self._starting.cancel()
        await asyncio.wait({self._starting})
        if server := _result(self._starting):
            await _end(server)

    async def _deltas(self, prompt: Sequence[PromptMessage]) -> AsyncGenerator[Delta, None]:
        """Wait for a slot and for the server, giving signs of life, then answer."""
        turn = asyncio.create_task(self._take_slot(), name="local.turn")
        try:
            while not await self._soon(turn):
                yield Alive()
            async with aclosing(self._answer(turn.result(), prompt)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            # a task that can still be cancelled gives its slot back by itself
            if not turn.cancel() and _result(turn):
                self._slots.release()

    async def _soon(self, turn: asyncio.Task[_Server]) -> bool:
        pulse = asyncio.create_task(self._clock.sleep(_PULSE))
        try:
            await asyncio.wait({turn, pulse}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pulse.cancel()
        return turn.done()

    async def _take_slot(self) -> _Server:
        await self._slots.acquire()
        try:
            return await self._server()
        except BaseException:
            self._slots.release()
            raise

    async def _answer(self, server: _Server, prompt: Sequence[PromptMessage]) -> AsyncGenerator[Delta, None]:
        read = [replace(message, images=()) for message in prompt]  # weights alone can't see: that takes a projector file
        try:
            async with AsyncExitStack() as held:
                try:
                    deltas = await held.enter_async_context(server.client.stream(read))
                except LLMUnavailable:
                    # llama.cpp promises to keep a connection and closes it behind each stream; a call that follows at once,
                    # as one that waited for a slot does, may still be sent into the closed one
                    deltas = await held.enter_async_context(server.client.stream(read))
                async for delta in deltas:
                    yield delta
        except LLMError as exc:
            if isinstance(exc, LLMTimeout) and not server.child.ended and not await server.child.healthy():
                _log.warning("local.hung", pid=server.child.pid)
                await server.child.end()
            if not await server.child.ends_within(self._clock, _DEATH_SHOWS):
                raise
            raise LLMUnavailable(f"{self._name}: the embedded model's process ended; the next call starts it again") from exc
        self._failures = 0

    async def _server(self) -> _Server:
        """Return the server that runs, or start one: one start for all who wait, and none of them can take it away."""
        if self._closed:
            raise LLMUnavailable(f"{self._name}: the embedded model is shut down")
        last = self._starting
        if last is None or (last.done() and ((server := _result(last)) is None or server.child.ended)):
            if last is not None:
                self._back_off()
            self._starting = asyncio.create_task(self._start(last), name="local.start")
            self._starting.add_done_callback(_result)  # its error is nobody's if all who waited have left
        assert self._starting is not None  # noqa: S101 - set above
        return await asyncio.shield(self._starting)

    async def _start(self, last: asyncio.Task[_Server] | None) -> _Server:
        if last is not None and (server := _result(last)):
            await _end(server)
        await self._clock.sleep(self._not_before - self._clock.monotonic())
        began = self._clock.monotonic()
        child = await start_child(self._command, self._path, self._name, self._threads, self._clock, self._load_limit)
        _log.info(
            "local.started", model=self._name, pid=child.pid, seconds=(self._clock.monotonic() - began).total_seconds()
        )
        client = OpenAIModel(
            base_url=f"{child.address}/v1",
            model=self._name,
            clock=self._clock,
            api_key=child.key,
            max_tokens=self._max_tokens,
        )
        return _Server(child, client)

    def _back_off(self) -> None:
        """Start again at once after the first failure, then later and later."""
        self._failures += 1
        wait = min(LONGEST_BACK_OFF, timedelta(seconds=0.5) * 2 ** min(self._failures - 1, 10))
        jittered = wait * (1 - self._rng.random() / 4) if self._failures > 1 else timedelta()
        self._not_before = self._clock.monotonic() + jittered


async def _end(server: _Server) -> None:
    await server.child.end()
    await server.client.aclose()


def _result(task: asyncio.Task[_Server]) -> _Server | None:
    """Return what a finished task has brought, if it has."""
    return None if task.cancelled() or task.exception() is not None else task.result()
