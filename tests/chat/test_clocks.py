"""A clock that is set while turns run: each is still carried out once, and none is stuck."""

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from bot.app import Reports, build
from bot.chat.models import Models
from bot.chat.sweeper import Sweeper
from bot.chat.turns import POLL
from bot.config import load_settings
from bot.findings import Finding
from tests.chat.chatting import KITCHEN, PLATFORM, chatting, until
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface

pytestmark = pytest.mark.anyio


async def test_a_clock_that_is_set_forward_makes_no_turn_run_twice_at_once() -> None:
    never = asyncio.Event()
    clock = FakeClock()
    async with chatting(["Half", never], "Whole.", clock=clock, surface=FakeSurface(clock=clock, nonces=False)) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        clock.set_wall_clock(timedelta(days=30))
        await clock.advance(POLL + timedelta(seconds=1))
        await until(lambda: len(chat.model.prompts) == 2)
        assert chat.model.open_streams <= 1
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Whole."]
        assert await chat.history() == [("user", "Question"), ("assistant", "Whole.")]


@pytest.mark.parametrize("by", [timedelta(days=30), timedelta(hours=-1), timedelta(days=-400)])
async def test_a_clock_that_is_set_loses_no_turn_and_no_message(by: timedelta) -> None:
    go_on = asyncio.Event()
    clock = FakeClock()
    async with chatting(["First", go_on], "Again.", "Second.", clock=clock) as chat:
        await chat.say("One")
        await until(lambda: chat.surface.texts(KITCHEN) == ["First"])
        clock.set_wall_clock(by)
        await chat.say("Two")
        go_on.set()
        await chat.quiet()
        history = await chat.history()
        assert [text for role, text in history if role == "user"] == ["One", "Two"]
        assert [role for role, _ in history] in (["user", "assistant"] * 2, ["user", "user", "assistant"])
        assert len(chat.surface.texts(KITCHEN)) == [role for role, _ in history].count("assistant")


async def test_every_message_tells_the_sweep_its_platforms_time(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[datetime] = []
    monkeypatch.setattr(Sweeper, "heard", lambda self, sent_at: heard.append(sent_at))
    clock = FakeClock()
    async with chatting(clock=clock, working=False) as chat:
        settings, models = load_settings({"LLM_PROVIDER": "echo"}, None), Models(chat.model)

        async def nothing() -> list[Finding]:
            return []

        reports = Reports(platforms=list, models=list, examine=nothing)
        surfaces, rng = {PLATFORM: chat.surface}, random.Random(1)
        parley = build(settings, surfaces, chat.store, chat.rules, models, clock, rng, reports)
        await parley.intake.take(chat.message("Question"))
        await parley.intake.take(chat.message("not for the bot", addressed=False))
        assert heard == [START, START]
