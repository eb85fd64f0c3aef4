"""An answer that grows while people look on, by a word a second, as the budgets of platforms are tried with."""

from collections.abc import Sequence
from datetime import timedelta

from bot.chat.delivery import Reply
from bot.chat.pacing import Pacers
from bot.chat.protocol import NO_CONTROLS, Address, Control, Controls, Surface
from bot.clock import Clock

SECOND = timedelta(seconds=1)
GROWING = Controls(turn_id=7, offered=(Control.STOP,))
FINISHED = Controls(turn_id=7, offered=(Control.RETRY, Control.CONTINUE))


async def grow(
    surface: Surface,
    address: Address,
    words: Sequence[str],
    *,
    number: int,
    pacers: Pacers,
    clock: Clock,
    finished: Controls = NO_CONTROLS,
) -> None:
    """Let the answer of such a number grow to all these words, and finish it."""

    async def record(part: int, platform_id: str) -> None:
        del part, platform_id

    async with Reply(
        surface,
        address,
        nonce=lambda part: f"n{number}x{part}",
        parts={},
        reconcile=False,
        pacers=pacers,
        clock=clock,
        record=record,
        guard=lambda: None,
        controls=GROWING,
    ) as reply:
        for end in range(1, len(words) + 1):
            reply.show(" ".join(words[:end]))
            await clock.sleep(SECOND)
        await reply.complete(" ".join(words), finished)
