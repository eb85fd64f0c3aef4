"""What a router tells of its calls, so that each can be paid for, and routers that begin with another model."""

import random

import pytest

from bot.llm.protocol import (
    Asked,
    ContentRefused,
    Delta,
    Failed,
    Finish,
    FinishReason,
    LLMRejected,
    LLMUnavailable,
    PromptTooLong,
    StreamBroken,
    Usage,
)
from bot.llm.router import EmptyAnswer, ModelRouter
from bot.llm.scripted import ScriptedModel
from tests.fakes.clock import FakeClock
from tests.llm.asking import HELLO, Room, ask, finish_of, seconds, text_of

pytestmark = pytest.mark.anyio
DOWN = LLMUnavailable("down")
CUT = StreamBroken("cut")


def calls_of(deltas: list[Delta]) -> list[str]:
    """Name each call's model, and how it failed if it did."""
    told: list[str] = []
    for delta in deltas:
        match delta:
            case Asked(model=model):
                told.append(model)
            case Failed(error=error):
                told[-1] += f": {error}"
    return told


async def test_each_call_is_told_before_it_and_each_failure_behind_it() -> None:
    room = Room([[DOWN], [CUT], [DOWN]], [[DOWN], "Hi"])
    asked, _ = await room.ask()
    assert calls_of(asked.deltas) == ["a: down", "a: cut", "a: down", "b: down", "b"]
    assert text_of(asked.deltas) == "Hi"


async def test_the_last_failure_is_told_before_the_error_that_all_end_with() -> None:
    room = Room([[PromptTooLong("long")]], [[DOWN]] * 3)
    asked, _ = await room.ask()
    assert isinstance(asked.task.exception(), PromptTooLong)
    assert calls_of(asked.deltas) == ["a: long", "b: down", "b: down", "b: down"]


async def test_what_breaks_off_behind_the_first_text_is_told_too() -> None:
    room = Room([["Hel", CUT]])
    asked, _ = await room.ask()
    assert asked.deltas[-1] == Failed(error=CUT)


async def test_nothing_is_asked_before_the_delta_behind_is_asked_for() -> None:
    room = Room(["Hi"])
    async with room.router.stream(HELLO) as deltas:
        assert await anext(deltas) == Asked(model="a")
        assert room.calls == [0]


async def test_who_leaves_before_a_probe_makes_room_for_the_next() -> None:
    room = Room([[DOWN]] * 5 + ["Hi"])
    await room.fails_with()
    await room.fails_with()
    await room.clock.advance(seconds(15))
    async with room.router.stream(HELLO) as deltas:
        await anext(deltas)  # what comes next can't be afforded
    assert text_of(await ask(room.router)) == "Hi"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(FinishReason.LENGTH, LLMRejected), (FinishReason.REFUSED, ContentRefused), (FinishReason.STOP, EmptyAnswer)],
)
async def test_an_answer_without_text_fails_with_what_it_cost(reason: FinishReason, kind: type[Exception]) -> None:
    usage = Usage(prompt_tokens=70, completion_tokens=4000)
    room = Room([[Finish(reason=reason, usage=usage, model="a")]] * (2 if kind is EmptyAnswer else 1))
    error, _ = await room.fails_with()
    assert type(error) is kind
    assert error.usage == usage


async def test_a_router_that_begins_with_another_model_asks_the_rest_in_their_order() -> None:
    room = Room([[DOWN]] * 3, [[DOWN]] * 3, ["Hi"])
    first, room.router = room.router, room.router.beginning_with("b")
    assert (room.router.name, first.name) == ("b", "a")
    assert room.router.names == ("b", "a", "c")
    asked, _ = await room.ask()
    assert [call[0] for call in calls_of(asked.deltas)] == ["b"] * 3 + ["a"] * 3 + ["c"]


async def test_what_one_router_learns_of_a_model_the_others_know() -> None:
    room = Room([[DOWN]] * 5, ["1", "2", "3"])
    room.router = room.router.beginning_with("a")
    await room.ask()
    await room.ask()
    assert room.calls[0] == 5
    finish = finish_of(await ask(room.router.beginning_with("b").beginning_with("a")))
    assert finish.model == "b"
    assert room.calls[0] == 5


async def test_only_the_first_router_closes_the_models() -> None:
    models = [ScriptedModel(name=name) for name in "ab"]
    router = ModelRouter(models, FakeClock(), random.Random(7))
    await router.beginning_with("b").aclose()
    assert not any(model.closed for model in models)
    await router.aclose()
    assert all(model.closed for model in models)


async def test_no_router_begins_with_a_model_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        Room([]).router.beginning_with("z")
