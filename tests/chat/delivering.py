"""A reply on a platform that fails, in time that a test sets: what is delivered, and what is kept of it."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bot.chat.delivery import Reply
from bot.chat.pacing import Pacers
from bot.chat.protocol import NO_CONTROLS, Address, Controls, Limits
from store.errors import LeaseLost
from tests.fakes.clock import FakeClock
from tests.fakes.surface import FakeSurface

HERE = Address(platform="fake", workspace="w", channel="c")
LIMITS = Limits(part=64, parts=3)
SECOND = timedelta(seconds=1)
WORDS = "".join(f"word{number:03} " for number in range(200))


class Stage:
    """A platform, and what the store knows of one turn."""

    growing = NO_CONTROLS
    """What its replies offer while they grow."""

    def __init__(self, limits: Limits = LIMITS, *, nonces: bool = False) -> None:
        self.clock = FakeClock()
        self.surface = FakeSurface(self.clock, limits, nonces=nonces)
        self.pacers = Pacers(self.clock)
        self.parts: dict[int, str] = {}
        self.ours = True

    def reply(self, *, address: Address = HERE, reconcile: bool = False) -> Reply:
        return Reply(
            self.surface,
            address,
            nonce="turn-1-{}".format,
            parts=dict(self.parts),
            reconcile=reconcile,
            pacers=self.pacers,
            clock=self.clock,
            record=self.record,
            guard=self.guard,
            controls=self.growing,
        )

    async def record(self, number: int, platform_id: str) -> None:
        self.parts[number] = platform_id

    def guard(self) -> None:
        if not self.ours:
            raise LeaseLost("somebody else's by now")

    async def until(self, work: Coroutine[Any, Any, Any], limit: timedelta = timedelta(minutes=20)) -> Any:
        """Let time pass until `work` is done, and return what it returns."""
        task, end = asyncio.create_task(work), self.clock.monotonic() + limit
        while not task.done() and self.clock.monotonic() < end:
            await self.clock.advance(SECOND / 10)
        if not task.done():
            task.cancel()
            pytest.fail("it does not end")
        return await task

    async def reply_in_lives(
        self, lengths: Sequence[int], crashes: Sequence[float], controls: Controls = NO_CONTROLS
    ) -> None:
        """Carry out a reply that grows to these lengths, in lives that end after so many seconds each, and in a last one.

        A crash is an end at any moment, with nothing kept but what was recorded; the next life reconciles.
        """

        async def live(reconcile: bool) -> None:
            async with self.reply(reconcile=reconcile) as reply:
                for length in lengths:
                    reply.show(WORDS[:length])
                    await self.clock.sleep(SECOND)
                await reply.complete(WORDS[: lengths[-1]], controls)

        for number, seconds in enumerate(crashes):
            dying = asyncio.create_task(live(reconcile=number > 0))
            await self.clock.advance(timedelta(seconds=seconds))
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            self.pacers = Pacers(self.clock)
            await self.clock.advance(2 * SECOND)
            await asyncio.gather(dying, return_exceptions=True)
        await self.until(live(reconcile=bool(crashes)))

    async def reply_with(self, *texts: str, reconcile: bool = False, every: timedelta = SECOND) -> None:
        """Carry out a reply: show `texts` one after another and complete with the last."""

        async def run() -> None:
            async with self.reply(reconcile=reconcile) as reply:
                for text in texts[:-1]:
                    reply.show(text)
                    await self.clock.sleep(every)
                await reply.complete(texts[-1])

        await self.until(run())

    @property
    def seen(self) -> list[str]:
        return self.surface.texts(HERE)

    def count(self, *methods: str) -> int:
        return len(self.surface.times(*methods))
