"""What a process takes of the machine, as Linux tells it: memory, file descriptors, threads, time of a processor; and
how much of that time the machine itself did not get."""

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Places of the ticks in `/proc/<pid>/stat`, counted behind the name of the program."""
_STEAL = 8
"""Place of the ticks in the first line of `/proc/stat` for which a virtual machine had work and no processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at a process. `at` is in seconds of the monotonic clock, which is the same in every process."""

    at: float
    megabytes: float
    """What it has in memory (RSS), in millions of bytes."""
    descriptors: int
    threads: int
    processor_seconds: float
    """What it used of the processors since it began."""
    stolen_seconds: float
    """How long the processors of this machine had work since it began, while its host served others."""


def sample(pid: int) -> Sample:
    """Look at a process.

    Raises:
        OSError: there is none of this number.
    """
    process = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    ticks = (process / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        at=time.monotonic(),
        megabytes=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
        descriptors=len(os.listdir(process / "fd")),
        threads=int(status["Threads"]),
        processor_seconds=(int(ticks[_USER]) + int(ticks[_SYSTEM])) / _TICKS,
        stolen_seconds=int(Path("/proc/stat").read_text().split(maxsplit=_STEAL + 1)[_STEAL]) / _TICKS,
    )


@dataclass
class Watch:
    """The looks at a process so far."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def most_megabytes(self) -> float:
        return max(seen.megabytes for seen in self.samples)

    @property
    def processor_seconds(self) -> float:
        """What it used from the first look to the last one."""
        return self.samples[-1].processor_seconds - self.samples[0].processor_seconds

    @property
    def stolen_share(self) -> float:
        """Which share of a processor other machines took meanwhile."""
        first, last = self.samples[0], self.samples[-1]
        return (last.stolen_seconds - first.stolen_seconds) / (last.at - first.at)


@contextmanager
def watched(pid: int, every: float = 0.2) -> Iterator[Watch]:
    """Look at a process every so many seconds while the body lasts, and at its beginning and end."""
    watch, over = Watch([sample(pid)]), threading.Event()

    def look() -> None:
        while not over.wait(every):
            watch.samples.append(sample(pid))

    thread = threading.Thread(target=look, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
    watch.samples.append(sample(pid))


def slope_an_hour(samples: Sequence[Sample]) -> float:
    """Return by how many megabytes an hour the memory grows, as least squares have it; at least two samples."""
    return statistics.linear_regression([seen.at / 3600 for seen in samples], [seen.megabytes for seen in samples]).slope


def growth(numbers: Sequence[float]) -> float:
    """Return by how much the last third of some numbers is above the first third, on average."""
    third = max(1, len(numbers) // 3)
    return statistics.mean(numbers[-third:]) - statistics.mean(numbers[:third])
