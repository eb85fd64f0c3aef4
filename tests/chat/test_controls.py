"""What the buttons under an answer do, for whom, and that pressing one twice does no harm."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat import words
from bot.chat import words_governing as governing
from bot.chat.access import Refusal
from bot.chat.callers import MEMBER, UNKNOWN, Kind, Standing
from bot.chat.controls import CONTINUE
from bot.chat.policy import Rules, Scope
from bot.chat.protocol import Address, Control, ControlCall, Place
from bot.llm.protocol import Finish, FinishReason, Usage
from store import StoreUnavailable
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, cancelled, chatting, until
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio

CUT = ["Once upon a", Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")]


async def press(
    chat: Chat,
    control: Control,
    turn_id: int = 1,
    *,
    user: str = "ada",
    address: Address = KITCHEN,
    standing: Standing = MEMBER,
) -> str:
    chat.count += 1
    call = ControlCall(
        control=control,
        turn_id=turn_id,
        place=Place.CHANNEL,
        address=replace(address, reply_to="the answer"),
        message_id=f"press{chat.count}",
        position=chat.count,
        author_id=user,
        author_name=user.title(),
        standing=standing,
        at=START,
    )
    return await chat.presses.press(call)


async def test_stop_stops_an_answer_and_then_has_nothing_to_stop() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert await press(chat, Control.STOP) == ""
        await chat.quiet()
        assert "stopped" in chat.surface.texts(KITCHEN)[0]
        assert await press(chat, Control.STOP) == words.NOTHING_TO_STOP


async def test_stop_under_a_finished_answer_does_not_stop_the_next_one() -> None:
    never = asyncio.Event()
    async with chatting("One.", ["Half", never]) as chat:
        await chat.say("First")
        await chat.quiet()
        await chat.say("Second")
        await until(lambda: len(chat.model.prompts) == 2)
        assert await press(chat, Control.STOP, 1) == words.NOTHING_TO_STOP
        assert chat.turns.running == 1


async def test_asking_again_replaces_the_answer_in_place() -> None:
    async with chatting("One.", "Two.") as chat:
        await chat.say("Question")
        await chat.quiet()
        assert await press(chat, Control.RETRY) == ""
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Two."]


async def test_asking_again_twice_asks_once() -> None:
    async with chatting(working=False) as chat:
        await chat.say("Question")
        await chat.turns.stop(1)
        assert await press(chat, Control.RETRY) == ""
        assert await press(chat, Control.RETRY) == words.STILL_ON_ITS_WAY
        assert (await chat.store.status()).queued == 1


@pytest.mark.parametrize("control", [Control.RETRY, Control.CONTINUE])
async def test_only_the_newest_answer_is_asked_again_or_continued(control: Control) -> None:
    async with chatting(CUT, "Two.") as chat:
        await chat.say("First")
        await chat.quiet()
        await chat.say("Second")
        await chat.quiet()
        assert await press(chat, control, 1) == words.NOT_THE_NEWEST
        assert (await chat.store.status()).queued == 0


@pytest.mark.parametrize("control", [Control.RETRY, Control.CONTINUE])
async def test_an_ended_conversation_does_not_go_on(control: Control) -> None:
    async with chatting(CUT) as chat:
        outcome = await chat.say("First")
        await chat.quiet()
        assert outcome.conversation_id is not None
        await chat.store.end(outcome.conversation_id, at=START)
        assert await press(chat, control) == words.NOT_THE_NEWEST
        assert (await chat.store.status()).queued == 0


async def test_a_cut_answer_goes_on_in_its_conversation() -> None:
    async with chatting(CUT, "time.") as chat:
        await chat.say("Tell me a story.")
        await chat.quiet()
        assert await press(chat, Control.CONTINUE) == ""
        await chat.quiet()
        assert [text for _, text in await chat.history()] == ["Tell me a story.", "Once upon a", CONTINUE, "time."]
        assert chat.surface.texts(KITCHEN)[1] == "time."


async def test_the_answer_goes_on_where_it_was_cut() -> None:
    async with chatting(CUT) as chat:
        await chat.say("Tell me a story.")
        await chat.quiet()
        assert chat.task is not None
        await cancelled(chat.task, chat.clock)
        await press(chat, Control.CONTINUE)
        claim = await chat.store.claim(lease=timedelta(seconds=30), window=10, platforms=[PLATFORM])
        assert claim is not None
        assert Address.decode(claim.turn.address) == replace(KITCHEN, reply_to="the answer")


async def test_an_answer_is_continued_once_however_often_and_at_once_that_is_asked() -> None:
    async with chatting(CUT, "time.", rules=Rules(scope=Scope.CHANNEL)) as chat:
        await chat.say("Tell me a story.")
        await chat.quiet()
        said = await asyncio.gather(*(press(chat, Control.CONTINUE) for _ in range(5)))
        assert set(said) <= {"", words.NOT_THE_NEWEST}
        await chat.quiet()
        assert await press(chat, Control.CONTINUE) == words.NOT_THE_NEWEST
        messages = await chat.store.recent(1, 100)
        assert [message.text for message in messages].count(CONTINUE) == 1


async def test_an_answer_that_is_not_cut_is_not_continued() -> None:
    async with chatting("All.") as chat:
        await chat.say("Question")
        await chat.quiet()
        assert await press(chat, Control.CONTINUE) == words.NOT_CUT
        assert len(await chat.history()) == 2


@pytest.mark.parametrize("control", Control)
async def test_a_button_is_for_the_asker_and_operators(control: Control) -> None:
    async with chatting(CUT, "More.", operators=[f"{PLATFORM}:w/olga"]) as chat:
        await chat.say("Question")
        await chat.quiet()
        before = await chat.history()
        assert await press(chat, control, user="eve") == words.NOT_YOURS
        assert (await chat.store.status()).queued == 0
        assert await chat.history() == before
        assert await press(chat, control, user="olga") != words.NOT_YOURS
        await chat.quiet()
        eve, olga = await chat.audited()
        assert (eve.author_id, eve.action, eve.target, eve.allowed) == ("eve", control.value, "turn 1", False)
        assert (olga.author_id, olga.action, olga.target, olga.allowed) == ("olga", control.value, "turn 1", True)


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (replace(MEMBER, groups=frozenset({"cooks"})), ""),
        (replace(MEMBER, owner=True), ""),
        (replace(MEMBER, groups=frozenset({"cooks"}), groups_known=False), words.NOT_YOURS),
        (replace(MEMBER, groups=frozenset({"cooks"}), kind=Kind.EXTERNAL), governing.REFUSALS[Refusal.EXTERNAL]),
        (Standing(kind=Kind.GUEST), governing.REFUSALS[Refusal.GUEST]),
        (Standing(kind=Kind.BOT), governing.REFUSALS[Refusal.BOT]),
        (UNKNOWN, governing.REFUSALS[Refusal.UNKNOWN]),
    ],
)
async def test_whose_answer_it_is_not_may_press_only_as_an_operator(standing: Standing, said: str) -> None:
    async with chatting("One.", "Two.") as chat:
        await chat.choose("operator", "on", subject="group:cooks")
        await chat.say("Question")
        await chat.quiet()
        assert await press(chat, Control.RETRY, user="eve", standing=standing) == said
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Two." if said == "" else "One."]
        assert [entry.allowed for entry in await chat.audited() if entry.author_id == "eve"] == [said == ""]


@pytest.mark.parametrize("control", Control)
async def test_an_asker_who_may_not_speak_any_more_presses_in_vain(control: Control) -> None:
    async with chatting(CUT) as chat:
        await chat.say("Question")
        await chat.quiet()
        await chat.choose("access", "deny", subject="user:ada")
        for _ in range(3):
            assert await press(chat, control) == governing.REFUSALS[Refusal.DENIED]
        assert (await chat.store.status()).queued == 0
        assert [entry.allowed for entry in await chat.audited() if entry.author_id == "ada"] == [False]


async def test_what_can_not_be_written_down_an_operator_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(entry: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting("One.", operators=[f"{PLATFORM}:w/olga"]) as chat:
        await chat.say("Question")
        await chat.quiet()
        monkeypatch.setattr(chat.store, "audit", full)
        assert await press(chat, Control.RETRY, user="olga") == words.STORE_FAILED
        assert (await chat.store.status()).queued == 0


@pytest.mark.parametrize("part", ["platform", "workspace", "channel"])
async def test_a_turn_is_reached_from_its_own_place_only(part: str) -> None:
    async with chatting("One.") as chat:
        await chat.say("Question")
        await chat.quiet()
        elsewhere = replace(KITCHEN, **{part: "other"})
        assert await press(chat, Control.RETRY, address=elsewhere) == words.ANSWER_UNKNOWN
        assert (await chat.store.status()).queued == 0


async def test_an_answer_that_was_forgotten_is_not_there() -> None:
    async with chatting() as chat:
        assert await press(chat, Control.RETRY, 77) == words.ANSWER_UNKNOWN


async def test_a_failing_store_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(turn_id: int) -> None:
        raise StoreUnavailable("the disk of /secret/path is full")

    async with chatting() as chat:
        monkeypatch.setattr(chat.store, "facts", full)
        assert await press(chat, Control.STOP) == words.STORE_FAILED


async def test_a_platforms_own_stop_button_stops_the_conversation() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        await chat.presses.stop(conversation.id)
        await chat.quiet()
        assert "stopped" in chat.surface.texts(KITCHEN)[0]
        await chat.presses.stop(conversation.id)  # pressed once more, it does no harm
