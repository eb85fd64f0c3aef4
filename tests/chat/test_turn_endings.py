"""What stands under an answer when its turn has ended, and how a turn ends that nobody can see."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from bot.chat.protocol import NO_CONTROLS, Address, Control, Limits
from bot.llm.protocol import Finish, FinishReason, LLMUnavailable, StreamBroken, Usage
from store import ConversationKey, NewMessage, TurnState
from tests.chat.chatting import KITCHEN, PLATFORM, SETTINGS, chatting, until
from tests.chat.dying import cut_short, next_process
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface, Fault

pytestmark = pytest.mark.anyio

CUT = Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")


def with_buttons(clock: FakeClock) -> FakeSurface:
    return FakeSurface(clock, Limits(part=2000, buttons=True))


@pytest.mark.parametrize(
    ("step", "offered"),
    [
        ("All of it.", (Control.RETRY,)),
        (["The beginning", CUT], (Control.RETRY, Control.CONTINUE)),
        (["So far", StreamBroken("cut")], (Control.RETRY,)),
        ([LLMUnavailable("down")], (Control.RETRY,)),
    ],
)
async def test_an_ended_answer_can_be_asked_again_and_a_cut_one_continued(
    step: object, offered: tuple[Control, ...]
) -> None:
    clock = FakeClock()
    async with chatting(step, clock=clock, surface=with_buttons(clock)) as chat:
        outcome = await chat.say("Question")
        await chat.quiet()
        (message,) = chat.surface.shown(KITCHEN)
        assert message.controls.offered == offered
        facts = await chat.store.facts(message.controls.turn_id)
        assert facts is not None
        assert facts.conversation.id == outcome.conversation_id


async def test_a_growing_answer_can_be_stopped_and_a_stopped_one_asked_again() -> None:
    clock = FakeClock()
    async with chatting(["Half", asyncio.Event()], clock=clock, surface=with_buttons(clock)) as chat:
        outcome = await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert chat.surface.shown(KITCHEN)[0].controls.offered == (Control.STOP,)
        assert outcome.conversation_id is not None
        await chat.turns.stop(outcome.conversation_id)
        await chat.quiet()
        assert chat.surface.shown(KITCHEN)[0].controls.offered == (Control.RETRY,)


async def test_a_stop_that_the_dead_process_did_not_get_to_is_done_by_the_next_one() -> None:
    async with cut_short("Question") as dead:
        conversation = await dead.store.find(dead.key())
        assert conversation is not None
        await dead.store.stop(conversation.id)
        async with next_process(dead) as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["Stopped."]
            assert chat.model.prompts == []


async def test_a_platform_without_buttons_gets_none() -> None:
    async with chatting("All of it.") as chat:
        await chat.say("Question")
        await chat.quiet()
        assert chat.surface.shown(KITCHEN)[0].controls == NO_CONTROLS


async def test_a_place_that_goes_while_the_model_speaks_ends_the_turn_at_the_next_word_and_is_said_once() -> None:
    go_on = asyncio.Event()
    async with chatting(["Half", go_on, " and half", asyncio.Event()]) as chat:
        chat.surface.script("post", Fault.UNREACHABLE)
        with structlog.testing.capture_logs() as logs:
            await chat.say("Anybody there?")
            await until(lambda: bool(chat.surface.times("post")))
            await chat.clock.advance(timedelta(milliseconds=100))
            go_on.set()
            await chat.quiet()
        assert chat.model.left_early == 1
        assert [(log["event"], log["log_level"]) for log in logs if log["log_level"] not in ("info", "debug")] == [
            ("turn.undeliverable", "warning")
        ]
        assert [log["state"] for log in logs if log["event"] == "turn.finished"] == [TurnState.UNDELIVERABLE]
        assert await chat.history() == [("user", "Anybody there?")]


@pytest.mark.parametrize("address", ["", "{", "[]", '{"platform":"fake","street":"Main"}', "[" * 100_000])
@pytest.mark.parametrize("begun", ["at once", "by whoever claims it"])
async def test_a_turn_whose_stored_address_can_t_be_read_ends_alone_and_the_others_go_on(address: str, begun: str) -> None:
    damaged = NewMessage(
        key=ConversationKey(platform=PLATFORM, workspace="w", channel="attic", user="ada"),
        event_id="damaged",
        message_id="damaged",
        position=1,
        author_id="ada",
        author_name="Ada",
        text="Where am I?",
        address=address,
        at=START,
    )
    at_once = begun == "at once"
    alone = replace(SETTINGS, concurrent=1)  # a slot that is not given back is missed
    async with chatting(*["Fine."] * 3, settings=alone, working=at_once) as chat:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            if at_once:
                await chat.say("Before")
                await chat.quiet()
                await chat.turns.accept(damaged)
            else:
                await chat.store.accept(damaged)
                chat.task = asyncio.create_task(chat.turns.run())
            await chat.quiet()
            await chat.say("Hello", channel="garden")
            await chat.quiet()
        assert chat.surface.texts(Address(platform=PLATFORM, workspace="w", channel="garden")) == ["Fine."]
        assert await chat.history(channel="attic") == [("user", "Where am I?")]
        (told,) = [log for log in logs if log["log_level"] not in ("info", "debug")]
        assert told["event"] == "turn.undeliverable"
        facts = await chat.store.facts(told["turn"])
        assert facts is not None
        assert facts.state is TurnState.UNDELIVERABLE
