"""Faults that a test scripts: calls that are refused, late, lost, or done without an answer."""

import asyncio
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.slack.api import Request

Json = Any


@dataclass(eq=False, slots=True)
class Fault:
    """What happens to the next `times` calls of a method; `*` in `method` stands for anything."""

    method: str
    error: str | None = None
    """The error in a 200 answer."""
    status: int | None = None
    """An HTTP status of a server in trouble; 429 is a rate limit with `retry_after`."""
    cut: bool = False
    """Whether the connection breaks."""
    after_effect: bool = False
    """Whether the call takes effect first, and only its answer is lost."""
    times: int = 1
    retry_after: int = 1
    gate: asyncio.Event | None = None
    when: "Callable[[Request], Any] | None" = None
    hits: int = 0

    def release(self) -> None:
        """Let what hangs go on; it then takes effect and is answered."""
        if self.gate is not None:
            self.gate.set()

    def concerns(self, request: "Request") -> bool:
        here = self.hits < self.times and fnmatch.fnmatchcase(request.method, self.method)
        return here and (self.when is None or bool(self.when(request)))

    @property
    def answers(self) -> bool:
        """Whether it takes the place of the real answer."""
        return self.error is not None or self.status is not None or self.cut


@dataclass(slots=True)
class Faults:
    """The script."""

    scripted: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        self.scripted.append(fault)
        return fault

    def take(self, request: "Request") -> Fault | None:
        for fault in self.scripted:
            if fault.concerns(request):
                fault.hits += 1
                return fault
        return None

    def release_all(self) -> None:
        for fault in self.scripted:
            fault.release()
