"""Processes that die in the middle of a turn, and those that come after them: store, platform and clock go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.chat.run import LEASE
from store import LeaseLost
from tests.chat.chatting import KITCHEN, Chat, cancelled, chatting, until


async def die(chat: Chat) -> None:
    """End the worker as a kill does: nothing is handed back, whatever it still tries to write fails."""

    async def gone(*args: object, **kwargs: object) -> None:
        raise LeaseLost("the process is gone")

    assert chat.task is not None
    real = chat.store.release
    chat.store.release = gone  # type: ignore[method-assign]
    await cancelled(chat.task, chat.clock)
    chat.store.release = real  # type: ignore[method-assign]


async def die_before_showing(chat: Chat, text: str, **parts: Any) -> None:
    """Die with the answer to `text` in the store and nothing of it on the platform: the first post never comes back."""
    chat.surface.script("post", asyncio.Event())
    await chat.say(text, **parts)
    await until(lambda: bool(chat.surface.times("post")))
    while (await chat.history())[-1][0] != "assistant":  # noqa: ASYNC110 - the store has no event to wait for
        await asyncio.sleep(0.001)
    await die(chat)


@asynccontextmanager
async def cut_short(question: str, *, shown: str = "Half") -> AsyncIterator[Chat]:
    """Have a process die when it has shown so much of its answer to a question in the kitchen."""
    async with chatting([shown, asyncio.Event()]) as chat:
        await chat.say(question)
        await until(lambda: chat.surface.texts(KITCHEN) == [shown])
        await die(chat)
        yield chat


@asynccontextmanager
async def next_process(dead: Chat, *steps: object) -> AsyncIterator[Chat]:
    """Let another process go on once the dead one's leases are over; its model plays `steps`."""
    await dead.clock.advance(LEASE)
    async with chatting(*steps, store=dead.store, surface=dead.surface, clock=dead.clock) as chat:
        yield chat
