"""A platform as a trial sees it: places where one person each talks to the bot, and what they see there.

Everything that is said begins with its place ("p7-3 ..." is the third thing said in place 7), so that whoever reads the
store or the model's calls knows where it belongs.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from random import Random
from types import TracebackType
from typing import Protocol, Self

PATIENCE = timedelta(seconds=90)
"""How long something is waited for that must come; only a trial that fails waits that long."""
_PLACE = re.compile(r"\bp(\d+)-\d+")


def place_of(text: str) -> int | None:
    """Tell in which place something was said, or what it answers."""
    found = _PLACE.search(text)
    return int(found[1]) if found else None


class Call(Enum):
    """A kind of call with which the bot writes."""

    FIRST = "post of a first part"
    OVERFLOW = "post of an overflow part"
    EDIT = "edit"
    START = "start of a stream"
    APPEND = "growth of a stream"
    STOP = "end of a stream"


class Way(Enum):
    """How a call, or its reply, is lost."""

    CUT = "reply cut"
    FAILED = "reply replaced by a 502"
    BEFORE = "cut before it took effect"


class Platform(Protocol):
    """A platform that a bot comes to. Used as a context manager."""

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def env(self) -> dict[str, str]:
        """The settings that bring the bot here."""

    async def prepare(self, url: str) -> None:
        """Put into the store what the bot knows of the platform before it comes."""

    def heard(self) -> bool:
        """Somebody hears everything that is said."""

    def quiet(self) -> bool:
        """Nothing is on its way to the bot any more."""

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        """Wait until something holds, and fail if it takes too long."""


class Places(Protocol):
    """Places where one person each talks to the bot."""

    @property
    def places(self) -> int:
        """How many there are; they are numbered from 0."""

    def said(self, place: int) -> list[str]:
        """What the person said, in the platform's order."""

    def shown(self, place: int) -> list[str]:
        """What the bot shows now."""


class Stage(Platform, Places, Protocol):
    """A platform with its people."""

    def say(self, place: int, text: str) -> None:
        """Let the person of a place say something to the bot."""

    def copies(self, number: int) -> None:
        """Deliver every event so often, to one listener after the other."""

    def again(self, place: int, number: int) -> None:
        """Deliver the event of what was said last in a place so often once more."""

    def lose(self, place: int, call: Call, way: Way, *, times: int = 1) -> None:
        """Let the next call of this kind that is made for a place be lost, and the tries that follow it."""

    def losses(self) -> int:
        """In how many cases that came to be."""

    def make_wait(self, place: int, seconds: int, *, edits: bool = False) -> None:
        """Refuse the next post in a place, or the next edit there, and ask the bot to wait for so long."""

    def trouble(self, rng: Random) -> None:
        """Let one of the next calls that write go wrong in some way."""

    def cut(self, rng: Random) -> None:
        """Cut the connections by which the bot hears."""

    def forget(self) -> None:
        """Forget the calls and deliveries that are over: a trial that goes on for long counts none."""

    def overlaps(self) -> bool:
        """More than one of the bot's processes hears what is said in any one place."""

    def waits(self) -> list[float]:
        """For each thing said that an answer followed: the seconds until people saw the first of it."""

    def writes(self) -> list[str]:
        """The calls of the bot that have written something so far."""

    def refused(self) -> int:
        """How many calls met a rate limit."""
