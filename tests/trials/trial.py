"""What a trial is: it runs Parley as people and operators do, does harm to it, and counts what came of it.

A trial comes in two lengths: short in `make test`, long in `make trials`. Its seed decides every choice it makes, so that a
run that failed is run again by the seed it printed. What it counts are figures, most of them with a gate that they must not
pass.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something that a trial counted or measured.

    `at_most` and `at_least` are its gates, None when it is only told. `of` is how many independent tries a count of failures
    is out of: when none failed, the 95 % bound of the rate is 3/`of`, and a count that must be 0 has it. `seen` says what
    was seen of each failure.
    """

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    of: int | None = None
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.at_most == 0 and self.at_least is None and self.of is None:
            raise ValueError(f"{self.name!r} must be 0: say `of` how many tries, so that its bound can stand beside it")

    @property
    def bound(self) -> float | None:
        """The 95 % bound of the rate of failures, when none of `of` tries failed (the rule of three)."""
        return min(1.0, 3 / self.of) if self.of and self.value == 0 else None

    @property
    def held(self) -> bool:
        """It stays within its gates."""
        above = self.at_most is not None and self.value > self.at_most
        below = self.at_least is not None and self.value < self.at_least
        return not (above or below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a trial works with: an empty directory of its own, the seed of its choices, its length, and whom it tells how far
    it is (steps done, steps in all)."""

    directory: Path
    seed: int
    long: bool
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)

    def rng(self, *names: object) -> random.Random:
        """Return a source of choices of its own for one part of the trial."""
        return random.Random("/".join(str(name) for name in (self.seed, *names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial by its number in the table, its name, which is its module's, a sentence on what is done, and how it is run."""

    number: int
    name: str
    what: str
    run: Callable[[Ground], Sequence[Figure]]
    """Raises AssertionError, with a message that says what was seen, when going on makes no sense."""
