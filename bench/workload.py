"""The work that every subject does, and how it is timed. Standard library only: the peers' environment imports it too."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

WINDOW = 20
"""Messages that a turn reads back."""
QUESTION = (
    "Wie spät ist es in 서울, wenn es in Zürich Mittag ist? Bitte mit Erklärung und ohne Umschweife, danke schön! 🙂🙂🙂🙂"
)
ANSWER = "Es ist 20 Uhr (im Sommer 19 Uhr): 서울 liegt acht Stunden vor Zürich; Korea kennt keine Sommerzeit. " * 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process of a subject has to do with the directory `place`, which is its own.

    `working_set` is how many of the conversations are used, 0 for all of them.
    """

    subject: str
    action: str
    place: str
    conversations: int
    messages: int = WINDOW
    working_set: int = 0
    workers: int = 64
    warmup: int = 256
    turns: int = 0
    seconds: float = 0.0
    seed: int = 1
    options: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class Timing:
    """What was timed: whole turns, from the first call to the return of the last."""

    turns: int
    seconds: float
    cpu: float
    latencies: list[float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a subject reports of one repetition; `hops` and `commits` are those of one turn, None where not counted."""

    turns: int
    rate: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    cpu_us: float
    hops: float | None = None
    commits: float | None = None
    setup: str = ""
    more: dict[str, float] = field(default_factory=dict)


def result(
    timing: Timing,
    *,
    hops: float | None = None,
    commits: float | None = None,
    setup: str = "",
    more: dict[str, float] | None = None,
) -> Result:
    """Sum a timing up."""
    latencies = sorted(timing.latencies)
    return Result(
        turns=timing.turns,
        rate=timing.turns / timing.seconds,
        p50_ms=quantile(latencies, 0.50) * 1e3,
        p99_ms=quantile(latencies, 0.99) * 1e3,
        longest_ms=latencies[-1] * 1e3,
        cpu_us=timing.cpu / timing.turns * 1e6,
        hops=hops,
        commits=commits,
        setup=setup,
        more=more or {},
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return the value below which the share `q` of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def chosen(job: Job) -> list[int]:
    """Name the conversations that the job uses, in the order in which they are used.

    A working set is chosen at random among the odd ones: the even ones may be stale (`bench.filling`).
    """
    order = random.Random(job.seed)
    if job.working_set:
        return order.sample(range(1, job.conversations, 2), job.working_set)
    return order.sample(range(job.conversations), job.conversations)


async def drive(
    turn: Callable[[int], Awaitable[None]],
    job: Job,
    *,
    warmed: Callable[[], object] = lambda: None,
) -> Timing:
    """Let `workers` tasks do turns, until `turns` are done or `seconds` have passed.

    Before that come the turns of the warm-up, then a call of `warmed`.
    """
    # One after the other, over and over: none is ever in two hands at once.
    conversations = itertools.cycle(chosen(job))
    await _spread(turn, itertools.islice(conversations, job.warmup), job.workers, None, [])
    warmed()
    latencies: list[float] = []
    source = itertools.islice(conversations, job.turns) if job.turns else conversations
    cpu, start = time.process_time(), time.perf_counter()
    await _spread(turn, source, job.workers, None if job.turns else start + job.seconds, latencies)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Timing(turns=len(latencies), seconds=seconds, cpu=cpu, latencies=latencies)


async def _spread(
    turn: Callable[[int], Awaitable[None]],
    conversations: Iterator[int],
    workers: int,
    until: float | None,
    latencies: list[float],
) -> None:
    async def work() -> None:
        for conversation in conversations:
            start = time.perf_counter()
            if until is not None and start >= until:
                return
            await turn(conversation)
            latencies.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
