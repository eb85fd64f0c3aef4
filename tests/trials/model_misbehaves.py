"""The model's server does everything that servers have been seen to do: each turn ends in time and in one plain sentence,
and `retry` answers once the server is well again."""

import asyncio
import itertools
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bot.llm.router import TOTAL
from tests.e2e.bots import Bot
from tests.fakes.model_server import ModelServer
from tests.fakes.threaded import FakeInThread
from tests.trials.fault import ANTHROPIC, PLAIN, SECURE, SIGNS, Door, Fault
from tests.trials.faults_content import CONTENT
from tests.trials.faults_transport import TRANSPORT
from tests.trials.rigs import bots_in
from tests.trials.rooms import PLATFORMS, Room, Rooms, begin
from tests.trials.trial import Figure, Ground, Trial

FAULTS = (*TRANSPORT, *CONTENT)
PROCESSES = 6
"""Bots in the long form, which mostly wait; as many on each platform."""
SHORT = 6
"""How many of the quick faults the short form tries."""
DEADLINE = TOTAL + timedelta(seconds=30)
"""What the model may take, and what a slow machine may take to show it."""
PATIENCE = TOTAL + timedelta(seconds=120)


class FaultyServer(ModelServer):
    """A model server that can misbehave already at its door."""

    def __init__(self) -> None:
        super().__init__(lambda question: f"You asked: {question}")
        self._door: Door | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def misbehave(self, fault: Fault) -> None:
        """Do so at every call from now on; connections of before are over."""
        await self.behave()
        self.always(fault.does)
        self._door = fault.door
        if not fault.listens and self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def behave(self) -> None:
        """Answer every call from now on."""
        self.always(None)
        self._door = None
        for writer in self._open:
            writer.transport.abort()
        if self._server is not None and not self._server.is_serving():
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if self._door is None:
            super()._accept(reader, writer)
            return
        task = asyncio.get_running_loop().create_task(self._at_the_door(self._door, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _at_the_door(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await door(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()
            self._open.discard(writer)


@dataclass
class Count:
    """What was seen of the faults that were tried."""

    tried: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    not_kept: list[str] = field(default_factory=list)
    not_answered: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Process:
    """A bot on one platform with a model of its own, which meets one fault after the other."""

    def __init__(self, bot: Bot, platform: Rooms, server: FakeInThread, count: Count) -> None:
        self._bot = bot
        self._platform = platform
        self._server = server
        self._count = count
        self._address = ""
        self._asked: list[str] = []

    def meet(self, fault: Fault) -> None:
        """Ask while the server misbehaves, and once more when it is well again."""
        if fault.address != self._address:
            self._start(fault.address)
        room = self._platform.room(fault.name.replace("_", "-"))
        self._asked.append(question := f"what of {fault.name}?")
        self._server.do(self._server.misbehave, fault)
        finished = len(self._finished())
        room.say(question)
        self._until_finished(finished + 1, fault)
        self._judge(fault, room)
        self._server.do(self._server.behave)
        if fault.address == SECURE:  # nobody here has a certificate
            self._start(PLAIN)
        room.retry()
        self._until_finished(finished + 2, fault)
        if f"You asked: {question}" not in room.shown():
            self._count.not_answered.append(f"{fault.name}: {room.shown()}")
        if said := [text for text in room.ever() if any(sign in text for sign in SIGNS)]:
            self._count.leaked.append(f"{fault.name}: {said[0][:200]}")

    def end(self) -> None:
        """Stop the bot, and see whether it kept the questions."""
        if not self._address:
            return
        assert self._bot.stop() == 0
        texts = self._bot.ledger.texts
        self._count.not_kept += [question for question in self._asked if texts.count(question) != 1]
        self._count.complaints += [line for line in self._bot.errors.splitlines() if "Traceback" in line]

    def _start(self, address: str) -> None:
        if self._address:
            assert self._bot.stop() == 0
        self._address = address
        url = {
            PLAIN: self._server.openai_url,
            SECURE: self._server.openai_url.replace("http:", "https:"),
            ANTHROPIC: self._server.url,
        }[address]
        provider = "anthropic" if address == ANTHROPIC else "openai"
        model = {"LLM_PROVIDER": provider, "LLM_BASE_URL": url, "LLM_MODEL": "fake-model", "LLM_API_KEY": "sk-of-the-trial"}
        begin(self._bot, self._platform, **model)

    def _judge(self, fault: Fault, room: Room) -> None:
        self._count.tried.append(fault.name)
        self._count.seconds.append(float(self._finished()[-1].partition('"seconds": ')[2].partition(",")[0]))
        seen = [text.strip() for text in room.shown()]
        right = seen == [fault.shows] if not fault.more else bool(seen) and seen[0].startswith(fault.shows)
        if not right:
            self._count.wrong.append(f"{fault.name} shows {[text[:200] for text in seen]}, not {fault.shows!r}")

    def _finished(self) -> list[str]:
        return [line for line in self._bot.errors.splitlines() if '"turn.finished"' in line]

    def _until_finished(self, count: int, fault: Fault) -> None:
        limit = time.monotonic() + PATIENCE.total_seconds()
        while len(self._finished()) < count:
            assert time.monotonic() < limit, f"the turn of {fault.name} never ended"
            time.sleep(0.05)


def run(ground: Ground) -> Sequence[Figure]:
    """Try all faults, or some of the quick ones."""
    chosen = list(FAULTS)
    if not ground.long:
        quick = [fault for fault in FAULTS if fault.quick and fault.address == PLAIN]
        chosen = ground.rng("faults").sample(quick, SHORT)
    # The slow ones first, and those of one address together, so that bots are seldom started anew.
    chosen.sort(key=lambda fault: (fault.quick, fault.address))
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in chosen:
        waiting.put(fault)
    steps, count = itertools.count(1), Count()
    number = PROCESSES if ground.long else len(PLATFORMS)

    def done() -> None:
        ground.progress(next(steps), len(chosen))

    with ThreadPoolExecutor(number) as pool:
        working = [pool.submit(_work, ground.directory / f"bot{n}", n, waiting, count, done) for n in range(number)]
    for work in working:
        work.result()
    tried = len(count.tried)
    late = [f"{seconds:.0f} s" for seconds in count.seconds if seconds > DEADLINE.total_seconds()]

    def none_of(name: str, seen: Sequence[str]) -> Figure:
        return Figure(name=name, value=len(seen), at_most=0, of=tried, seen=tuple(seen))

    return [
        Figure(name="faults", value=tried, at_least=len(chosen)),
        none_of("turns beyond their deadline", late),
        Figure(name="turn, longest", value=max(count.seconds), unit="s", at_most=DEADLINE.total_seconds()),
        none_of("not told in one plain sentence", count.wrong),
        none_of("tracebacks, pages or JSON shown", count.leaked),
        none_of("questions not kept once", count.not_kept),
        none_of("`retry` not answered", count.not_answered),
        none_of("tracebacks in the log", count.complaints),
    ]


def _work(directory: Path, number: int, waiting: "queue.SimpleQueue[Fault]", count: Count, done: Callable[[], None]) -> None:
    opened = list(PLATFORMS.values())[number % len(PLATFORMS)]
    with opened() as platform, FakeInThread(FaultyServer()) as server, bots_in(directory) as make:
        process = Process(make("bot", platform.env), platform, server, count)
        while True:
            try:
                fault = waiting.get_nowait()
            except queue.Empty:
                break
            process.meet(fault)
            done()
        process.end()


TRIAL = Trial(
    number=7,
    name="model_misbehaves",
    what="The model's server fails in every way that servers have been seen to fail, and is well when people ask again.",
    run=run,
)
