"""Which model a channel's turns ask first."""

import random

import pytest
from structlog.testing import capture_logs

from bot.app_governing import terms_of
from bot.app_model import build_model
from bot.chat.models import Models
from bot.chat.rules import Defaults
from bot.config import load_settings
from bot.llm.router import ModelRouter
from bot.llm.scripted import ScriptedModel
from tests.chat.chatting import chatting
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio


def test_a_model_is_asked_for_by_its_name() -> None:
    one, other = ScriptedModel(name="one"), ScriptedModel(name="other")
    models = Models(one, {"one": one, "other": other})
    assert models.names == ("one", "other")
    assert models.named("other") is other
    assert models.named("") is models.default is one


def test_a_model_that_is_gone_is_answered_by_the_default_and_said_once() -> None:
    models = Models(ScriptedModel(name="one"))
    with capture_logs() as logs:
        assert [models.named("gone") for _ in range(3)] == [models.default] * 3
    assert logs == [{"event": "models.unknown", "model": "gone", "instead": "one", "log_level": "warning"}]


async def test_closing_closes_what_all_share() -> None:
    one = ScriptedModel(name="one")
    await Models(one).aclose()
    assert one.closed


async def test_each_configured_model_may_be_asked_first_with_the_others_behind_it() -> None:
    settings = load_settings(
        {"LLM_BASE_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "big", "LLM_FALLBACKS": "small,big"}, env_file=None
    )
    models = build_model(settings, FakeClock(), random.Random(7), None)
    assert models.names == ("big", "small")
    assert (models.default.name, models.named("small").name) == ("big", "small")
    await models.aclose()


async def test_a_channel_s_turns_ask_the_model_that_was_chosen_there_when_they_are_claimed() -> None:
    clock = FakeClock()
    big, small = ScriptedModel(["Big.", "Big again."], name="big"), ScriptedModel(["Small."], name="small")
    router = ModelRouter([big, small], clock, random.Random(7))
    models = Models(router, {name: router.beginning_with(name) for name in router.names})
    defaults = Defaults(models=models.names)
    async with chatting(clock=clock, defaults=defaults, terms=lambda key: terms_of(chat.rules, models)(key)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        await chat.choose("model", "small", channel="kitchen")
        await chat.say("Hello?")
        await chat.quiet()
        await chat.say("Hello?", channel="garden")
        await chat.quiet()
        assert [text for _, text in await chat.history()] == ["Hello?", "Big.", "Hello?", "Small."]
        assert [text for _, text in await chat.history(channel="garden")] == ["Hello?", "Big again."]
