"""Running on several platforms at once, and being taken down: by a signal, by a refusal, in the middle of an answer."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bot import app_serve
from bot.adapters.protocol import Inside, Mount, PlatformRefused
from bot.chat.callers import MEMBER
from bot.chat.models import Models
from bot.chat.protocol import Address, IncomingMessage, Place
from bot.config import load_settings
from bot.llm.scripted import ScriptedModel
from bot.web.server import WebError
from store import StoreUnavailable, open_store
from tests.chat.chatting import until
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface

pytestmark = pytest.mark.anyio

DRAIN = timedelta(seconds=5)


class Platform:
    """A platform that takes what it is told to, until it is cancelled or refuses us."""

    mounts: Sequence[Mount] = ()

    def __init__(self, platform: str, clock: FakeClock) -> None:
        self.platform = platform
        self.surface = FakeSurface(clock)
        self.ready = True
        self.shared = False
        self.handed_over = asyncio.Event()
        self.refuse = asyncio.Event()
        self.stopping: asyncio.Event | Exception | None = None
        """What stopping the intake waits for, or how it fails."""
        self.seen: list[str] = []
        self.inside: Inside | None = None

    async def run(self, inside: Inside) -> None:
        self.inside = inside
        try:
            await self.refuse.wait()
            raise PlatformRefused(f"{self.platform} does not take the token")
        finally:
            self.seen.append("disconnected")

    async def hand_over(self) -> None:
        self.seen.append("handing over")
        await self.handed_over.wait()
        self.seen.append("handed over")

    async def stop_intake(self) -> None:
        self.seen.append("intake stopped")
        if isinstance(self.stopping, Exception):
            raise self.stopping
        if self.stopping is not None:
            await self.stopping.wait()

    def describe(self) -> str:
        return self.platform

    @property
    def where(self) -> Address:
        return Address(platform=self.platform, workspace="w", channel="c")

    async def hear(self, text: str, *, by: str = "ada") -> None:
        assert self.inside is not None
        await self.inside.intake.take(
            IncomingMessage(
                place=Place.CHANNEL,
                address=self.where,
                event_id="",
                message_id=text,
                position=None,
                author_id=by,
                author_name=by,
                text=text,
                sent_at=START,
                standing=MEMBER,
                addressed=True,
            )
        )


class Serving:
    """Parley on two platforms, in a task; its time passes by `ended` alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, *steps: object, port: int = 0) -> None:
        self.clock = FakeClock()
        self.one, self.other = Platform("one", self.clock), Platform("other", self.clock)
        self.url = f"sqlite:///{path / 'parley.db'}"
        monkeypatch.setattr(app_serve, "SystemClock", lambda: self.clock)
        monkeypatch.setattr(app_serve, "build_adapters", lambda *args: [self.one, self.other])
        self.model = ScriptedModel(steps, clock=self.clock)  # type: ignore[arg-type]
        settings = load_settings(
            {
                "DATABASE_URL": self.url,
                "LLM_PROVIDER": "echo",
                "HTTP_PORT": str(port),
                "DRAIN_SECONDS": str(int(DRAIN.total_seconds())),
            },
            None,
        )
        self.task = asyncio.create_task(app_serve.serve(settings, Models(self.model), CollectorRegistry()))

    async def up(self) -> None:
        await until(lambda: self.other.inside is not None)

    async def ended(self) -> timedelta:
        """Let time pass until it has ended, and say how much did."""
        began = self.clock.monotonic()
        while not self.task.done():
            assert self.clock.monotonic() - began < timedelta(minutes=2), "it does not end"
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.01)  # the drain's five seconds must be enough for what the disk does
        assert self.model.closed
        return self.clock.monotonic() - began

    async def left_open(self) -> int:
        store = await open_store(self.url)
        try:
            status = await store.status()
            return status.queued + status.running
        finally:
            await store.aclose()


@pytest.fixture(autouse=True)
def ask_to_stop() -> Iterator[Callable[[], None]]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield lambda: os.kill(os.getpid(), signal.SIGTERM)
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_asked_to_stop_it_takes_nothing_in_ends_its_answers_and_disconnects_last(
    monkeypatch, tmp_path, ask_to_stop
) -> None:
    go_on = asyncio.Event()
    serving = Serving(monkeypatch, tmp_path, ["Half", go_on, " and half"])
    await serving.up()
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    ask_to_stop()
    await until(lambda: serving.one.seen == ["intake stopped"] == serving.other.seen)
    ask_to_stop()
    go_on.set()
    await serving.ended()
    assert serving.task.exception() is None
    assert serving.one.surface.texts(serving.one.where) == ["Half and half"]
    assert serving.one.seen == ["intake stopped", "disconnected"] == serving.other.seen
    assert await serving.left_open() == 0


async def test_asked_twice_it_gives_an_answer_no_more_and_no_less_time(monkeypatch, tmp_path, ask_to_stop) -> None:
    serving = Serving(monkeypatch, tmp_path, ["Half", asyncio.Event()])
    await serving.up()
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    ask_to_stop()
    await until(lambda: serving.one.seen == ["intake stopped"])
    ask_to_stop()
    assert DRAIN <= await serving.ended() < 2 * DRAIN
    assert serving.task.exception() is None
    assert await serving.left_open() == 1


async def test_a_platform_that_refuses_us_ends_all_of_it_and_the_others_answers_are_finished(monkeypatch, tmp_path) -> None:
    go_on = asyncio.Event()
    serving = Serving(monkeypatch, tmp_path, ["Half", go_on, " and half"])
    await serving.up()
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    serving.other.refuse.set()
    await until(lambda: serving.one.seen == ["intake stopped"])
    go_on.set()
    await serving.ended()
    assert isinstance(serving.task.exception(), PlatformRefused)
    assert serving.one.surface.texts(serving.one.where) == ["Half and half"]
    assert await serving.left_open() == 0


async def test_an_intake_that_fails_to_stop_hides_no_refusal_and_cuts_no_answer(monkeypatch, tmp_path) -> None:
    go_on = asyncio.Event()
    serving = Serving(monkeypatch, tmp_path, ["Half", go_on, " and half"])
    await serving.up()
    serving.other.stopping = StoreUnavailable("locked")
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    serving.other.refuse.set()
    await until(lambda: serving.one.seen == ["intake stopped"])
    go_on.set()
    await serving.ended()
    assert isinstance(serving.task.exception(), PlatformRefused)
    assert serving.one.seen == ["intake stopped", "disconnected"]
    assert serving.one.surface.texts(serving.one.where) == ["Half and half"]


async def test_an_intake_that_never_stops_is_given_up(monkeypatch, tmp_path, ask_to_stop) -> None:
    serving = Serving(monkeypatch, tmp_path)
    await serving.up()
    serving.one.stopping = asyncio.Event()
    ask_to_stop()
    await serving.ended()
    assert serving.task.exception() is None
    assert serving.other.seen == ["intake stopped", "disconnected"]


async def test_while_other_replicas_take_over_what_is_heard_is_kept_for_them_and_answers_are_ended(
    monkeypatch, tmp_path, ask_to_stop
) -> None:
    go_on = asyncio.Event()
    serving = Serving(monkeypatch, tmp_path, ["Half", go_on, " and half"])
    await serving.up()
    serving.one.shared = True
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    ask_to_stop()
    await until(lambda: serving.one.seen == ["handing over"] and serving.other.seen == ["intake stopped"])
    await serving.one.hear("Meanwhile", by="bob")
    go_on.set()
    serving.one.handed_over.set()
    await serving.ended()
    assert serving.task.exception() is None
    assert serving.one.surface.texts(serving.one.where) == ["Half and half"]
    assert serving.one.seen == ["handing over", "handed over", "intake stopped", "disconnected"]
    assert len(serving.model.prompts) == 1
    assert await serving.left_open() == 1


async def test_a_handing_over_that_never_ends_takes_no_longer_than_the_answers(monkeypatch, tmp_path, ask_to_stop) -> None:
    serving = Serving(monkeypatch, tmp_path, ["Half", asyncio.Event()])
    await serving.up()
    serving.one.shared = True
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    ask_to_stop()
    assert DRAIN <= await serving.ended() < 2 * DRAIN
    assert serving.task.exception() is None
    assert serving.one.seen == ["handing over", "intake stopped", "disconnected"]


async def test_asked_to_stop_while_the_store_fails_it_ends_and_keeps_the_message(monkeypatch, tmp_path, ask_to_stop) -> None:
    go_on = asyncio.Event()
    serving = Serving(monkeypatch, tmp_path, ["Half", go_on, " and half"])
    await serving.up()
    await serving.one.hear("Question")
    await until(lambda: serving.one.surface.texts(serving.one.where) == ["Half"])
    assert serving.one.inside is not None

    async def fail(*args: object, **kwargs: object) -> None:
        raise StoreUnavailable("the disk is full")

    for call in ("claim", "renew", "finish", "settle", "release", "record_part"):
        monkeypatch.setattr(serving.one.inside.store, call, fail)
    ask_to_stop()
    go_on.set()
    assert await serving.ended() < 2 * DRAIN
    assert serving.task.exception() is None
    assert await serving.left_open() == 1


async def test_a_busy_port_is_told_and_connects_nowhere(monkeypatch, tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serving = Serving(monkeypatch, tmp_path, port=taken.getsockname()[1])
        await serving.ended()
    assert isinstance(serving.task.exception(), WebError)
    assert serving.one.inside is None
