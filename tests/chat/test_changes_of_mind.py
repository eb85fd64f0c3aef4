"""What people see in the end when they edit, delete, stop and ask again at any moment, while processes die at any other.

The model here names every message that it read last and the version of each, so that an answer tells what it came of.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat.protocol import Limits
from bot.chat.terms import Terms
from bot.llm.protocol import Delta, Finish, FinishReason, PromptMessage, PromptRole, Text, Usage
from store import LeaseLost, Message, MessageName, Role, Store, open_store
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, cancelled, chatting
from tests.fakes.clock import FakeClock
from tests.fakes.surface import FakeSurface, Fault

SECOND = timedelta(seconds=1)
DEATHS = 2
"""So many in one story: whoever dies of a message more often takes it to be the reason, and sets it aside."""


class Naming:
    """A model that takes its time, and names what it was asked last: `m1v0 m2v3`."""

    name = "naming"

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return self._stream(list(prompt))

    @asynccontextmanager
    async def _stream(self, prompt: list[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
        asked: list[str] = []
        while prompt and prompt[-1].role is PromptRole.USER:
            asked.insert(0, prompt.pop().text)

        async def deltas() -> AsyncIterator[Delta]:
            await self._clock.sleep(SECOND)
            for text in asked:
                yield Text(text=f"{text} ")
                await self._clock.sleep(2 * SECOND)
            yield Finish(reason=FinishReason.STOP, usage=Usage(), model=self.name)

        yield deltas()

    async def aclose(self) -> None:
        pass


class OneProcess:
    """The store as one process has it: whatever it still tries when it is dead fails."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.dead = False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise LeaseLost("the process is gone")
            return await getattr(self._store, name)(*args, **kwargs)

        return call


class Story:
    """One user in one channel, whose words are numbered; every edit makes a new version."""

    def __init__(self, store: Store, clock: FakeClock, surface: FakeSurface) -> None:
        self.store, self.clock, self.surface = store, clock, surface
        self.versions: dict[int, int] = {}
        self.deleted: set[int] = set()
        self.deaths = 0
        self.chat: Chat
        self.process: OneProcess
        self._stack: AbstractAsyncContextManager[Chat]

    async def begin(self) -> None:
        self.process = OneProcess(self.store)
        terms = Terms(model=Naming(self.clock), persona="Be kind.")
        self._stack = chatting(
            store=self.process,  # type: ignore[arg-type]
            surface=self.surface,
            clock=self.clock,
            terms=lambda key: terms,
            working=False,
        )
        self.chat = await self._stack.__aenter__()
        self.chat.count = len(self.versions)
        self.chat.task = asyncio.create_task(self.chat.turns.run())

    async def end(self) -> None:
        assert self.chat.task is not None
        await cancelled(self.chat.task, self.clock)
        self.chat.task = None
        await self._stack.__aexit__(None, None, None)

    async def say(self) -> None:
        number = self.chat.count + 1
        self.versions[number] = 0
        await self.chat.say(f"m{number}v0")

    async def edit(self, which: int) -> None:
        if number := self._one(which):
            self.versions[number] += 1
            await self.chat.intake.edited(self.chat.message(f"m{number}v{self.versions[number]}", position=number))
            self.chat.count -= 1

    async def delete(self, which: int) -> None:
        if number := self._one(which):
            self.deleted.add(number)
            name = MessageName(platform=PLATFORM, workspace="w", channel="kitchen", id=f"m{number}")
            await self.chat.intake.deleted([name])

    async def crash(self) -> None:
        if self.deaths < DEATHS:
            self.deaths += 1
            self.process.dead = True
            await self.end()
            await self.begin()

    async def stop(self) -> None:
        if conversation := await self.store.find(self.chat.key()):
            await self.chat.turns.stop(conversation.id)

    async def retry(self) -> None:
        if conversation := await self.store.find(self.chat.key()):
            await self.chat.turns.retry(conversation.id)

    async def new(self) -> None:
        if conversation := await self.store.find(self.chat.key()):
            await self.chat.turns.stop(conversation.id)
            await self.store.end(conversation.id, at=self.clock.now())

    async def close(self) -> None:
        await self.chat.intake.gone(PLATFORM, "w", "kitchen", at=self.clock.now())

    async def wait(self, tenths: int) -> None:
        for _ in range(tenths):  # in steps, or time would be over before the store has answered once
            await self.clock.advance(SECOND / 10)
            await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        await self.chat.quiet()
        await self.clock.advance(20 * SECOND)
        await self.chat.quiet()

    async def history(self) -> tuple[Message, ...]:
        conversation = await self.store.find(self.chat.key())
        return await self.store.recent(conversation.id, 1000) if conversation else ()

    def _one(self, which: int) -> int:
        there = [number for number in self.versions if number not in self.deleted]
        return there[-1 - which % len(there)] if there else 0


async def told(*steps: tuple[str, int], faults: dict[str, list[Fault]], latency: int) -> Story:
    """Tell a story to its end, and return it with everything at rest; `store` is left open."""
    clock = FakeClock()
    surface = FakeSurface(clock, Limits(part=2000, buttons=True))
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    story = Story(store, clock, surface)
    surface.latency = latency * SECOND
    for method, outcomes in faults.items():
        surface.script(method, *outcomes)
    await story.begin()
    await story.say()
    for what, how in steps:
        await (getattr(story, what)(how) if what in ("edit", "delete", "wait") else getattr(story, what)())
    await story.quiet()
    return story


async def check_all(story: Story) -> None:
    """Nothing of what was deleted is left, nothing that is shown came of it alone, and nobody waits."""
    status = await story.store.status()
    assert (status.queued, status.running) == (0, 0)
    assert await story.store.claim(lease=SECOND, window=1, platforms=(PLATFORM,)) is None
    for shown in story.surface.shown(KITCHEN):
        facts = await story.store.facts(shown.controls.turn_id)
        assert facts is not None
        assert facts.authors, f"{shown.text!r} answers nobody"
        assert facts.state.final
    gone = {f"m{number}v" for number in story.deleted}
    said = [message.text for message in await story.history() if message.role is Role.USER]
    assert not [text for text in said if any(text.startswith(name) for name in gone)]


async def check_answers(story: Story) -> None:
    """Everything that is left is answered, once, in its order; the last question in its newest version."""
    answers: list[tuple[int, str]] = []
    asked: dict[int, list[str]] = defaultdict(list)
    for message in await story.history():
        assert message.turn_id is not None
        if message.role is Role.USER:
            asked[message.turn_id].append(message.text)
        else:
            assert message.turn_id in asked, "an answer stands behind what it answers"
            answers.append((message.turn_id, message.text.strip()))
    left = sorted(set(story.versions) - story.deleted)
    assert sorted(text for texts in asked.values() for text in texts) == sorted(f"m{n}v{story.versions[n]}" for n in left)
    assert sorted(turn for turn, _ in answers) == sorted(asked)
    for turn, text in answers:
        named = re.findall(r"m\d+v", text)
        assert len(named) == len(set(named)), f"{text!r} says something twice"
        assert {re.sub(r"\d+$", "", one) for one in asked[turn]} <= set(named)
    if answers:
        turn, text = max(answers)
        assert set(asked[turn]) <= set(text.split()), f"{text!r} is not about {asked[turn]}"
    in_order = [(shown.controls.turn_id, shown.text.strip()) for shown in story.surface.shown(KITCHEN)]
    assert sorted(in_order) == sorted(answers)


which = st.sampled_from([0, 0, 0, 1, 2])
plain = st.one_of(
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([2, 12, 35, 60])),
    st.tuples(st.just("edit"), which),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("crash"), st.just(0)),
)
rough = st.one_of(plain, st.tuples(st.sampled_from(["stop", "retry", "new", "close"]), st.just(0)))
outcomes = st.lists(st.sampled_from([Fault.NONE, Fault.ANSWER_LOST, Fault.CALL_LOST, Fault.DELAYED]), max_size=4)
latencies = st.sampled_from([0, 1, 4])
trouble = st.fixed_dictionaries(dict.fromkeys(("post", "edit", "delete", "find"), outcomes))


@given(steps=st.lists(plain, min_size=6, max_size=16), faults=trouble, latency=latencies)
@settings(max_examples=10, deadline=None)
def test_what_is_left_is_answered_once_as_it_reads_now(
    steps: list[tuple[str, int]], faults: dict[str, list[Fault]], latency: int
) -> None:
    async def scenario() -> None:
        story = await told(*steps, faults=faults, latency=latency)
        await check_all(story)
        await check_answers(story)
        await story.end()
        await story.store.aclose()

    asyncio.run(scenario())


@given(steps=st.lists(rough, min_size=6, max_size=16), faults=trouble, latency=latencies)
@settings(max_examples=10, deadline=None)
def test_nothing_is_left_of_what_was_deleted_whatever_else_people_do(
    steps: list[tuple[str, int]], faults: dict[str, list[Fault]], latency: int
) -> None:
    async def scenario() -> None:
        story = await told(*steps, faults=faults, latency=latency)
        await check_all(story)
        await story.end()
        await story.store.aclose()

    asyncio.run(scenario())
