"""What the garbage collector still does when it was told to leave the program alone."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
import bot.app_serve
from bot.app_garbage import YOUNG, leave_the_program_alone

class Circle:
    def __init__(self):
        self.self = self

before = weakref.ref(Circle())
leave_the_program_alone()
after = weakref.ref(Circle())
assert before() is None, "what was garbage by then is not kept for ever"
assert len(gc.get_objects()) < 1_000 < gc.get_freeze_count(), "a full round passes over the program"
assert after() is not None
circles = [Circle() for _ in range(YOUNG)]
assert after() is None, "circles that come later are found"
"""


def test_the_collector_passes_over_the_program_and_finds_what_comes_later() -> None:
    """In a process of its own: there is no other way back."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
