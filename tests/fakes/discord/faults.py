"""Faults that a test scripts: answers that are errors, late, lost or never come."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

Json = Any


@dataclass(eq=False, slots=True)
class Fault:
    """What happens to the next `times` requests of a kind."""

    method: str
    pattern: str
    status: int | None
    """The answer's status; None cuts the connection, 0 lets the request through (after the delay)."""
    times: int
    after: bool
    """Whether the request takes effect first, and only its answer is lost."""
    via: bool
    body: Json
    delay: timedelta | None
    gate: asyncio.Event | None
    hits: int = 0

    def release(self) -> None:
        """Let what hangs go on."""
        if self.gate is not None:
            self.gate.set()

    def matches(self, method: str, path: str) -> bool:
        wanted = re.escape(self.pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]+")
        return self.hits < self.times and method == self.method and re.fullmatch(wanted, path) is not None

    async def wait(self) -> None:
        if self.delay is not None:
            await asyncio.sleep(self.delay.total_seconds())
        if self.gate is not None:
            await self.gate.wait()

    def answer(self) -> tuple[Json, dict[str, str]]:
        headers = {"Via": "1.1 google"} if self.via else {}
        if self.body is not None:
            return self.body, headers
        if self.status == 429:
            return {"message": "You are being rate limited.", "retry_after": 0.05, "global": False}, headers
        return {"message": f"{self.status}: a scripted fault", "code": 0}, headers


@dataclass(slots=True)
class Faults:
    """The script. `*` in a pattern stands for one part of a path, `**` for any number."""

    scripted: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        self.scripted.append(fault)
        return fault

    def take(self, method: str, path: str) -> Fault | None:
        for fault in self.scripted:
            if fault.matches(method, path):
                fault.hits += 1
                return fault
        return None

    def release_all(self) -> None:
        for fault in self.scripted:
            fault.release()
