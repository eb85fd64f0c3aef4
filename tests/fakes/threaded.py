"""A fake platform in a thread of its own, for tests that run the bot as a separate process."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import uvloop


class FakeInThread:
    """Has what its fake has. Read anything directly; what does something goes through `do`."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(fake).__name__, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.fake.__aenter__)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.do(self.fake.__aexit__, kind, error, trace)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fake, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("fake", "_loop", "_thread"):
            super().__setattr__(name, value)
        else:
            setattr(self.fake, name, value)

    def do(self, act: Callable[..., Any], *arguments: Any, within: float = 30.0, **named: Any) -> Any:
        """Call a function or coroutine function in the fake's own loop and wait for what it returns."""

        async def run() -> Any:
            result = act(*arguments, **named)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(within)

    def until(self, holds: Callable[[], Any], *, within: timedelta = timedelta(seconds=10)) -> None:
        """Wait until something holds, and fail if it takes too long."""
        deadline = time.monotonic() + within.total_seconds()
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"this did not come to hold within {within}")
            time.sleep(0.005)
