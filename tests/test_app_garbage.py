"""What the garbage collector still does when it was told to leave the program alone, and what goes back to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, weakref
import bot.app_serve
from bot.app_garbage import FEW, ROUND, YOUNG, collecting
from tests.fakes.clock import FakeClock

class Circle:
    def __init__(self):
        self.self = self

async def main():
    clock, before, under_way = FakeClock(), weakref.ref(Circle()), [FEW + 1]
    async with collecting(clock, lambda: under_way[0]):
        assert before() is None, "what was garbage by then is not kept for ever"
        assert len(gc.get_objects()) < 1_000 < gc.get_freeze_count(), "a full round passes over the program"
        many = weakref.ref(Circle())
        assert many() is not None
        circles = [Circle() for _ in range(YOUNG)]
        assert many() is None, "circles that come later are found when there are many"
        few = weakref.ref(Circle())
        await clock.advance(ROUND)
        assert few() is not None, "nobody waits for that who is being answered beside many others"
        under_way[0] = FEW
        await clock.advance(ROUND)
        assert few() is None, "and in time when there are few"
    assert clock.sleeping == 0

asyncio.run(main())
"""


def test_the_collector_passes_over_the_program_and_finds_what_comes_later() -> None:
    """In a process of its own: there is no other way back."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)


FREED = """
import asyncio
import bot.app_serve
from bot.app_garbage import ROUND, collecting
from tests.fakes.clock import FakeClock

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

async def main():
    clock = FakeClock()
    async with collecting(clock, lambda: 0):
        pages = [bytes(4000) for _ in range(5_000)]
        above_them = bytes(4000)
        most = megabytes()
        del pages
        assert megabytes() > most - 2, "the C library keeps 20 MB for itself"
        await clock.advance(ROUND)
        assert megabytes() < most - 18

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left to themselves")
def test_what_was_freed_goes_back_to_the_system_in_time() -> None:
    subprocess.run([sys.executable, "-c", FREED], check=True, timeout=60)
