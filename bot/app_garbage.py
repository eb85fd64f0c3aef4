"""How memory is tidied in a process that runs for months, and answers many people at once.

A turn that is over leaves nothing to Python's collector (`tests/chat/test_turns.py`); what it does find are circles inside
libraries, most of them around calls that failed: 600 objects when a database restarts. And the C library keeps what it was
given back.
"""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from bot.clock import Clock

ROUND = timedelta(minutes=1)
"""How often it looks at everything, and what is free goes back to the system. By their number alone those few circles would
wait for an hour, and by then the process would have grown by some 2 MB."""
FEW = 20
"""A round is left out while more answers are under way. It takes about 1 ms for each 1,000 objects, and 200 answers have
100,000: it took 80 to 140 ms, in which nothing else happens. Where so much goes on, their number alone is soon enough."""
YOUNG = 5_000
"""How many more objects there are before it looks at the young ones. With 200 streams at once Python's own 700 are reached
several times a second, and each look takes the longer the more there are: up to 10 ms in which nothing else happens."""
OLDER = (5, 2)
"""After so many looks at the young ones it looks at the middle ones too, and after so many of those at all: 50,000 objects
later. Python's own 10 and 10 would let half a million gather, some 100 MB."""


@asynccontextmanager
async def collecting(clock: Clock, under_way: Callable[[], int]) -> AsyncIterator[None]:
    """Let the collector pass over what is there by now, code and settings, look at all else and hand back what is free, once
    every `ROUND` while the body lasts, unless more than `FEW` answers are `under_way`; entered once, when all of the program
    is loaded.

    It walked through all of that in every full round: with what 200 streams hold, that took 230 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
    rounds = asyncio.create_task(_rounds(clock, under_way), name="garbage")
    try:
        yield
    finally:
        rounds.cancel()
        await asyncio.wait({rounds})


async def _rounds(clock: Clock, under_way: Callable[[], int]) -> None:
    hand_back = _hand_back()
    while True:
        await clock.sleep(ROUND)
        if under_way() <= FEW:
            gc.collect()
            hand_back(0)


def _hand_back() -> Callable[[int], object]:
    """Return what makes the C library hand back to the system what is free in its heaps, SQLite's pages most of all.

    By itself glibc does so only with what lies at a heap's end, which grows with every crowd and never shrinks.
    """
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda keep: None)
