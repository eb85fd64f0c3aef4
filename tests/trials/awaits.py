"""Something that happens at one chosen await of running tasks, however deep in them it stands.

with at_await(7, of=TURN_TASKS, do=sweep) as awaits:
    ...                      # the seventh time that one of those tasks waits for something, `sweep` is carried out first
awaits.reached               # whether there was a seventh
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

TURN_TASKS = ("accept", "turn ", "work on turn", "lease of turn", "reply.", "generation")
"""How the names of tasks begin that take a message in and carry out its turn. Those in which the store makes a call are none
of them: it lets others wait for a call whose caller has given up, so what is done in the middle of one would wait for
itself."""


class Awaits:
    """Counts the awaits of tasks with some names."""

    def __init__(self, number: int, of: Collection[str], do: Callable[[], Awaitable[None]]) -> None:
        self.seen = 0
        self._number = number
        self._of = tuple(of)
        self._do = do
        self._busy = False

    @property
    def reached(self) -> bool:
        return self.seen >= self._number

    def factory(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> Any:
        """Make a task as the loop does, whose awaits are counted if that is asked for."""
        if self._busy:  # what is done at the await is not of it
            return asyncio.Task(coroutine, loop=loop, **options)
        task = asyncio.Task(self._watched(coroutine), loop=loop, **options)
        task.add_done_callback(lambda task: coroutine.close())  # one that was cancelled before its first step never began
        return task

    async def _watched(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        # A task is named when it has been made already: only its first step can know.
        task = asyncio.current_task()
        if task is not None and task.get_name().startswith(self._of):
            return await self._stepped(coroutine)
        return await coroutine

    @types.coroutine
    def _stepped(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waited_for = coroutine.send(sent) if thrown is None else coroutine.throw(thrown)
            except StopIteration as exc:
                return exc.value
            sent = thrown = None
            self.seen += 1
            try:
                if self.seen == self._number:
                    yield from self._interrupted().__await__()
                sent = yield waited_for
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it was meant for the coroutine
                thrown = exc

    async def _interrupted(self) -> None:
        self._busy = True
        try:
            await self._do()
        finally:
            self._busy = False


@contextmanager
def at_await(number: int, *, of: Collection[str], do: Callable[[], Awaitable[None]]) -> Iterator[Awaits]:
    """Carry out `do` at the await of this number, counted from 1 and over all tasks `of` these names that begin within."""
    loop = asyncio.get_running_loop()
    awaits = Awaits(number, of, do)
    loop.set_task_factory(awaits.factory)
    try:
        yield awaits
    finally:
        loop.set_task_factory(None)
