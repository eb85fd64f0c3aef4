"""How long a model may take, measured on the clock that is handed in.

The deadlines are ours and not httpx's: its timeouts start again with every byte, so a server that drips never meets them.
A stream costs one sleeping task, whatever the number of its deltas.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

from bot.clock import Clock
from bot.llm.protocol import LLMTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The limits of one call.

    `first_token` runs from the sent request to the first event of any kind, a comment included: a server that says it is
    queueing is better waited for, up to `total`, than asked again at the end of its queue. `stall` is the longest silence
    after that. Only time spent waiting for the server counts for both. `ending` is the patience once the answer itself is
    complete and only its tail (usage, end mark) is missing.
    """

    connect: timedelta = timedelta(seconds=5)
    first_token: timedelta = timedelta(seconds=30)
    stall: timedelta = timedelta(seconds=20)
    total: timedelta = timedelta(seconds=120)
    ending: timedelta = timedelta(seconds=2)


class Alarm:
    """Ends the wait that is under way, and only that, once `due` has come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due = timedelta()
        self._aim = timedelta()
        self._bell: asyncio.Task[None] | None = None
        self._scope: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None  # what ends it holds its frame, and that holds us

    def set(self, due: timedelta) -> None:
        """Move the alarm to `due` on the clock's stopwatch."""
        self._due = due
        if self._bell is not None and not self._bell.done():
            if self._aim <= due:
                return  # it looks again when it wakes: moving an alarm back, as every delta does, is free
            self._bell.cancel()
        self._aim = due
        self._bell = asyncio.create_task(self._ring(), name="llm.alarm")

    async def within(self, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait for what `wait` begins.

        Raises:
            TimeoutError: the alarm is due; the wait was cancelled.
        """
        if self._clock.monotonic() >= self._due:
            raise TimeoutError
        async with asyncio.timeout(None) as scope:
            self._scope = scope
            try:
                return await wait()
            finally:
                self._scope = None

    async def _ring(self) -> None:
        while (left := self._due - self._clock.monotonic()) > timedelta():
            self._aim = self._due
            await self._clock.sleep(left)
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())


class Watch:
    """The deadlines of one call, as it goes from stage to stage."""

    def __init__(self, model: str, clock: Clock, deadlines: Deadlines) -> None:
        self._model = model
        self._clock = clock
        self._deadlines = deadlines
        self._end = clock.monotonic() + deadlines.total
        self._alarm = Alarm(clock)
        self._since = clock.monotonic()
        self._spent = timedelta()
        self._sent = False
        self._enter("no connection", deadlines.connect)

    async def __aenter__(self) -> Self:
        await self._alarm.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._alarm.__aexit__(kind, error, trace)

    def connecting(self) -> None:
        self._sent = False
        self._enter("no connection", self._deadlines.connect)

    def connected(self) -> None:
        """Note, in the middle of a wait, that the request is on its way."""
        self._sent = True
        self._enter("no answer", self._deadlines.first_token)
        self._arm()

    def alive(self) -> None:
        """Note an event; the silence begins anew."""
        self._enter("silence", self._deadlines.stall)

    def ending(self, limit: timedelta | None = None) -> None:
        """Note that only the tail of the stream is missing."""
        self._enter("no end of the stream", self._deadlines.ending if limit is None else limit)

    async def within(self, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait for the server.

        Raises:
            LLMTimeout: a deadline passed.
        """
        self._arm()
        try:
            return await self._alarm.within(wait)
        except TimeoutError as exc:
            raise LLMTimeout(self._words(), sent=self._sent) from exc
        finally:
            self._spent += self._clock.monotonic() - self._since

    def _enter(self, missing: str, limit: timedelta) -> None:
        self._missing, self._limit, self._spent = missing, limit, timedelta()

    def _arm(self) -> None:
        self._since = self._clock.monotonic()
        self._alarm.set(min(self._end, self._since + self._limit - self._spent))

    def _words(self) -> str:
        if self._clock.monotonic() >= self._end:
            return f"{self._model}: not finished after {self._deadlines.total.total_seconds():g} s"
        return f"{self._model}: {self._missing} for {self._limit.total_seconds():g} s"
