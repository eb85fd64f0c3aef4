"""Slack with replicas on one store: events are dealt to all of them, each message is taken once, and none is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from bot.adapters.slack.adapter import Credentials, SlackAdapter
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.replicas import EVERY, Replicas
from bot.chat.rules import Defaults, RuleBook
from bot.chat.run import RENEWAL
from bot.chat.turns import Turns
from bot.llm.scripted import ScriptedModel
from store import Store
from tests.adapters.slack.inside import chat_behind
from tests.adapters.slack.listening import Ear, a_store, listening
from tests.chat.chatting import SETTINGS, cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.recent_surface import RecentSurface
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)


@dataclass
class Replicated:
    """Whole adapters on one store, which is theirs for as long as they run, and one clock for all of them."""

    clock: FakeClock
    adapters: list[SlackAdapter]
    models: list[ScriptedModel]
    serving: list[asyncio.Task[None]]

    async def until(self, holds: Callable[[], object], *, step: timedelta = SECOND / 10) -> None:
        for _ in range(1200):
            if holds():
                return
            for task in self.serving:
                if task.done():
                    task.result()
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
        raise AssertionError(f"never came true: {holds}")

    @property
    def prompts(self) -> list[str]:
        return sorted(prompt[-1].text for model in self.models for prompt in model.prompts)


@asynccontextmanager
async def replicated(
    slack: FakeSlack, *stores: Store, steps: Sequence[object] = (), clock: FakeClock | None = None
) -> AsyncIterator[Replicated]:
    """Run one adapter on each of the stores, which are one: in one process or each in its own.

    A `clock` that agrees with the stores' lets them keep their pace together.
    """
    agrees, clock = clock is not None, clock or FakeClock(start=datetime.now(UTC))
    made = Replicated(clock, [], [], [])
    async with AsyncExitStack() as stack:
        for number, store in enumerate(stores):
            adapter = SlackAdapter(
                Credentials(bot_token=slack.bot_token, app_token=slack.app_token),
                clock=clock,
                rng=random.Random(number),
                api_base_url=slack.api_url,
                replicated=True,
            )
            model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
            sharing = store if agrees else None
            turns = Turns(store, model, {PLATFORM: adapter.surface}, SETTINGS, clock, sharing=sharing)
            inside = chat_behind(store, turns, RuleBook(store, Defaults()), clock)
            working = asyncio.create_task(turns.run())
            stack.push_async_callback(cancelled, working, clock)
            serving = asyncio.create_task(adapter.run(inside))
            stack.push_async_callback(cancelled, serving, clock)
            made.adapters.append(adapter)
            made.models.append(model)
            made.serving.append(serving)
        await made.until(lambda: len(slack.sockets) == len(stores) and all(adapter.ready for adapter in made.adapters))
        yield made


@asynccontextmanager
async def ears(slack: FakeSlack, store: Store, *, count: int = 2) -> AsyncIterator[list[Ear]]:
    """Replicas that listen and never answer."""
    clock = FakeClock(start=datetime.now(UTC))
    surface = RecentSurface(clock, nonces=False)
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                listening(slack, store, clock=clock, surface=surface, replicated=True, rank=number)
            )
            for number in range(count)
        ]
        await made[0].until(lambda: len(slack.sockets) == count)
        yield made


async def test_events_are_dealt_to_all_and_each_message_is_answered_once_without_a_warning() -> None:
    async with FakeSlack() as slack, a_store() as store:
        with structlog.testing.capture_logs() as lines:
            async with replicated(slack, store, store, steps=["Answer."] * 10) as house:
                ada = slack.workspace.user("Ada")
                general = slack.workspace.channel("general", ada)
                mentions = [
                    await ada.say(general, f"{slack.workspace.bot.mention} question {number}") for number in range(6)
                ]
                await house.until(lambda: all(len(general.thread(said)) == 2 for said in mentions))
                await house.until(lambda: all("Answer." in general.thread(said)[1].shown for said in mentions))
                await house.until(lambda: slack.quiet)
                assert house.prompts == [f"question {number}" for number in range(6)]
                assert len(general.messages) == 12
                assert all(socket.received for socket in slack.socket_mode.sockets)
        assert [line for line in lines if line["event"] in ("slack.other_instances", "interaction.failed")] == []


async def test_a_stranger_with_our_token_is_still_told_of() -> None:
    async with FakeSlack() as slack, a_store() as store, a_store() as elsewhere:
        with structlog.testing.capture_logs() as lines:
            async with replicated(slack, store, store), listening(slack, elsewhere) as stranger:
                await stranger.until(lambda: len(slack.sockets) == 3)
                await stranger.until(lambda: [line for line in lines if line["event"] == "slack.other_instances"])
        assert [line["connections"] for line in lines if line["event"] == "slack.other_instances"] == [2]


async def test_replicas_know_of_each_other_and_of_one_that_left() -> None:
    async with a_store() as store:
        clock = FakeClock(start=datetime.now(UTC))
        first, second = Replicas(clock), Replicas(clock)
        await first.announce(store)
        await second.announce(store)
        running = asyncio.create_task(first.run(store))
        await clock.advance(EVERY + SECOND)
        assert [(one.count, one.rank) for one in (first, second)] == [(2, 0), (2, 1)]
        await cancelled(running, clock)
        await second.announce(store)
        assert (second.count, second.rank) == (1, 0)


async def test_a_refusal_is_told_once_though_the_mention_is_two_events_at_two_replicas() -> None:
    async with FakeSlack() as slack, a_store() as store, ears(slack, store) as (one, two):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ada.say(general, f"{slack.workspace.bot.mention} {'x' * 600}")
        await one.heard(slack)
        assert [socket.received for socket in slack.socket_mode.sockets] == [1, 1]
        await one.until(lambda: list(one.surface.everything()))
        await one.clock.advance(SECOND)
        assert one.surface is two.surface
        assert len(list(one.surface.everything())) == 1


async def test_what_one_had_in_hand_is_read_after_all_have_stopped_however_far_the_other_has_read() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        async with ears(slack, store) as (one, two):
            await ada.say(ada.dm, "begin")
            await one.until(lambda: one.taken or two.taken)
            await one.heard(slack)
            failing, other = (two, one) if one.taken else (one, two)
            failing.away = True  # what is dealt to it from now on it has in hand until it dies
            await ada.say(ada.dm, "in hand")
            await one.until(lambda: failing.offered)
            await ada.say(ada.dm, "further on")
            await one.until(lambda: other.texts == ["begin", "further on"])
            await one.heard(slack)
        async with ears(slack, store) as (one, two):
            await one.until(lambda: "in hand" in one.texts + two.texts, step=SECOND)
            await one.caught_up()
            await two.caught_up()
            assert one.texts + two.texts == ["in hand"]


@pytest.mark.parametrize("known", [False, True], ids=["of a workspace never heard of here", "of a workspace heard of here"])
async def test_after_a_gap_those_places_are_read_too_that_only_another_replica_has_heard_of(known: bool) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, replicated=True) as one:
        await one.until(lambda: slack.sockets)
        (socket,) = slack.socket_mode.sockets
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        if known:
            await bob.say(bob.dm, "to this one")
            await one.until(lambda: one.taken)
        async with listening(slack, store, replicated=True) as two:
            await two.until(lambda: len(slack.sockets) == 2)
            socket.retiring = True  # what is said from now on is dealt to the other one
            await ada.say(ada.dm, "to the other one")
            await two.until(lambda: two.taken)
            await two.heard(slack)
        assert "to the other one" not in one.texts
        slack.refuse_sockets(times=10)
        await slack.drop_sockets()
        await ada.say(ada.dm, "while nobody listens", heard=False)
        await one.until(lambda: "while nobody listens" in one.texts, step=SECOND)


async def test_slacks_own_stop_may_arrive_at_another_replica_than_the_one_that_answers() -> None:
    never = asyncio.Event()
    async with (
        FakeSlack() as slack,
        a_store() as store,
        replicated(slack, store, store, steps=[["Half an answer", never]]) as house,
    ):
        ada = slack.workspace.user("Ada")
        root = await ada.ask("a story")
        await house.until(lambda: any("Half" in message.shown for message in ada.dm.messages))
        await house.until(lambda: slack.quiet)
        (answering,) = [number for number, model in enumerate(house.models) if model.prompts]
        busy = max(slack.socket_mode.sockets, key=lambda socket: socket.received)
        busy.retiring = True  # Slack deals the stop to the other one
        assert house.models[1 - answering].prompts == []
        await ada.stop(root)
        began = house.clock.monotonic()
        await house.until(lambda: any("stopped" in message.shown for message in ada.dm.messages))
        assert house.clock.monotonic() - began <= RENEWAL + 5 * SECOND
        assert slack.sessions[ada.dm.id, root.ts].status == "active"
