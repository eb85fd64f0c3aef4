"""A platform in memory: channels with messages, limits that are enforced, and failures on demand.

It passes `tests/contracts/surface_laws.py`. Without `nonces` it is like Slack: posting twice makes two messages, and only
`find` knows what was posted with a nonce. Like the platforms it looks behind the message that is answered: questions are in
the order of the numbers that their names end in.
"""

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from itertools import count
from typing import TypeVar

from bot.chat.delivery import MessageGone
from bot.chat.protocol import (
    NO_CONTROLS,
    Address,
    Budget,
    Controls,
    DeliveryDelayed,
    FileOffer,
    FileUnreadable,
    Limits,
    OutcomeUnknown,
    Unreachable,
    Write,
)
from bot.clock import Clock

_T = TypeVar("_T")


class Fault(Enum):
    """What can happen to a call."""

    NONE = "it works"
    ANSWER_LOST = "it takes effect, and nobody tells"
    CALL_LOST = "it takes no effect, and nobody tells"
    DELAYED = "the platform asks to wait"
    UNREACHABLE = "the place is gone"


@dataclass(slots=True)
class Shown:
    """A message as people see it, with what it showed before."""

    id: str
    nonce: str
    text: str
    answers: str = ""
    file: str = ""
    notifies: bool = True
    controls: Controls = NO_CONTROLS
    history: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the surface, when it arrived and what it was about."""

    at: timedelta
    method: str
    about: str = ""


class FakeSurface:
    """Messages live per channel and thread, in the order of their posting."""

    def __init__(self, clock: Clock, limits: Limits | None = None, *, nonces: bool = True) -> None:
        self.limits = limits or Limits(part=2000)
        self.nonces = nonces
        self.retry_after = timedelta(seconds=3)
        self.latency = timedelta()
        """How long a call takes: one half before it takes effect, the other after."""
        self.counts_apart = False
        """Each kind of write has a budget of its own."""
        self.calls: list[Call] = []
        self.looked_for: list[str] = []
        """The texts that `find` was given."""
        self.files: dict[str, bytes] = {}
        """What people's files hold, by where they can be read; others are not there any more."""
        self.before: Callable[[str], None] = lambda method: None
        """Called with the method's name as each call arrives."""
        self._clock = clock
        self._faults: dict[str, deque[Fault | asyncio.Event]] = defaultdict(deque)
        self._places: dict[tuple[str, str, str], dict[str, Shown]] = defaultdict(dict)
        self._ids = count(1)

    def script(self, method: str, *faults: Fault | asyncio.Event) -> None:
        """Let the next calls of `method` end so, one after another; an event holds a call up until it is set."""
        self._faults[method].extend(faults)

    def shown(self, address: Address) -> list[Shown]:
        """What people see at the address, first posted first."""
        return list(self._place(address).values())

    def everything(self) -> Iterator[tuple[tuple[str, str, str], Shown]]:
        """All that people see anywhere: workspace, channel and thread, and the message."""
        for place, messages in self._places.items():
            for message in messages.values():
                yield place, message

    def texts(self, address: Address) -> list[str]:
        return [message.text for message in self.shown(address)]

    def remove(self, address: Address, message_id: str) -> None:
        """Remove a message as a moderator does."""
        del self._place(address)[message_id]

    def times(self, *methods: str) -> list[timedelta]:
        """When calls of these methods arrived."""
        return [call.at for call in self.calls if call.method in methods]

    def budget(self, address: Address, write: Write) -> Budget:
        name = f"{address.platform}/{address.workspace}/{address.channel}"
        return Budget(name=f"{name}/{write.value}" if self.counts_apart else name, pace=self.limits.pace)

    async def working(self, address: Address) -> None:
        await self._call("working", "", lambda: None)

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        self._check(text)
        message = Shown(id="", nonce=nonce, text=text, answers=address.reply_to, notifies=first, controls=controls)
        return await self._call("post", text, lambda: self._add(address, message))

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        assert name, "a file needs a name"
        message = Shown(
            id="", nonce=nonce, text=text, answers=address.reply_to, file=name, notifies=False, controls=controls
        )
        return await self._call("post_file", name, lambda: self._add(address, message))

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        self._check(text)
        await self._call("edit", text, lambda: self._replace(address, message_id, text, controls))

    async def delete(self, address: Address, message_id: str) -> None:
        await self._call("delete", message_id, lambda: self._place(address).pop(message_id, None))

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        place = self._place(address)
        self.looked_for.append(text)

        def look() -> str | None:
            behind = [m for m in place.values() if not m.answers or _number(m.answers) >= _number(address.reply_to)]
            return next((m.id for m in behind if m.nonce == nonce), None)

        return await self._call("find", nonce, look)

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        return await self._call("read_file", file.name, lambda: self._read(file, limit))

    async def _call(self, method: str, about: str, effect: Callable[[], _T]) -> _T:
        self.calls.append(Call(at=self._clock.monotonic(), method=method, about=about))
        self.before(method)
        fault = self._faults[method].popleft() if self._faults[method] else Fault.NONE
        if isinstance(fault, asyncio.Event):
            await fault.wait()
        await self._travel()
        match fault:
            case Fault.DELAYED:
                raise DeliveryDelayed("429", retry_after=self.retry_after)
            case Fault.UNREACHABLE:
                raise Unreachable("404")
            case Fault.CALL_LOST:
                raise OutcomeUnknown("connection reset")
        result = effect()
        await self._travel()
        if fault is Fault.ANSWER_LOST:
            raise OutcomeUnknown("no answer")
        return result

    async def _travel(self) -> None:
        if self.latency:
            await self._clock.sleep(self.latency / 2)

    def _place(self, address: Address) -> dict[str, Shown]:
        return self._places[address.workspace, address.channel, address.thread]

    def _check(self, text: str) -> None:
        assert text.strip(), "a platform refuses an empty message"
        assert self.limits.measure.of(text) <= self.limits.part, "a platform refuses a message that is too long"

    def _add(self, address: Address, message: Shown) -> str:
        place = self._place(address)
        if self.nonces and (known := next((m.id for m in place.values() if m.nonce == message.nonce), None)):
            return known
        message.id = f"m{next(self._ids)}"
        place[message.id] = message
        return message.id

    def _read(self, file: FileOffer, limit: int) -> bytes:
        if file.url not in self.files:
            raise FileUnreadable("it is no longer there")
        return self.files[file.url][:limit]

    def _replace(self, address: Address, message_id: str, text: str, controls: Controls) -> None:
        if (message := self._place(address).get(message_id)) is None:
            raise MessageGone("unknown message")
        assert not message.file, "a file can't be edited"
        message.history.append(message.text)
        message.text = text
        message.controls = controls


def _number(name: str) -> int:
    """Tell the place of a question in the order; 0 for one that has none."""
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else 0
