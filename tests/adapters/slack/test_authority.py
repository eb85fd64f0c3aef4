"""The whole matrix: every command, button and shortcut by everybody who may turn up, in a channel, a thread and in private.

What is allowed stands in the command table. What is refused is refused at once, to whoever tried alone, noted in the log of
governing, and leaves everything as it was.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.adapters.slack.feedback import ACTION as FEEDBACK
from bot.adapters.slack.home import ACTIONS as HOME_BUTTONS
from bot.adapters.slack.home import EXTEND
from bot.adapters.slack.shortcut import ACTION as SUMMARISE
from bot.adapters.slack.shortcut import CALLBACK
from bot.chat import words
from bot.chat.access import Refusal
from bot.chat.authority import Rank
from bot.chat.commands import TABLE, Command, Group
from bot.chat.protocol import Control
from bot.chat.words_governing import HOSTS_ONLY, REFUSALS
from bot.llm.protocol import Finish, FinishReason, Usage
from store import TurnFacts
from tests.adapters.slack.interactive import whispers
from tests.adapters.slack.stage import CAST, Stage, is_refusal, on_stage
from tests.fakes.slack import Channel

pytestmark = pytest.mark.anyio

everybody = pytest.mark.parametrize("name", CAST)
CUT = ["Once upon a", Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")]


def allowed(row: Command, rank: Rank | None) -> bool:
    return rank is not None and rank >= row.needs


def expected(row: Command, rank: Rank | None, said: str) -> bool:
    """Tell whether a refusal is in the right words: an operators' command is to others one that does not exist."""
    if row.group is Group.OPERATORS and (rank is None or rank < Rank.OPERATOR):
        return said.startswith("There is no such command")
    if row.group is Group.OPERATORS:
        return said == HOSTS_ONLY
    return said == REFUSALS[Refusal.BOT] if rank is None else said in REFUSALS.values()


async def slash(stage: Stage, row: Command, channel: Channel) -> None:
    await stage.actor.slash(f"/{row.group.value}", row.name, channel)


async def typed(stage: Stage, row: Command, channel: Channel) -> None:
    await stage.actor.say(channel, f"!{row.path}", thread=stage.root)


async def tried(stage: Stage, row: Command, channel: Channel, how: object) -> None:
    """Let the actor try a command, and see that what comes of it is what the table says."""
    await stage.later()
    actor, before = stage.actor, len(stage.actor.ephemerals)
    if allowed(row, stage.rank):
        await how(stage, row, channel)  # type: ignore[operator]
        await stage.bot.until(lambda: len(actor.ephemerals) > before)
        assert not any(is_refusal(said) for said in whispers(actor)[before:]), row.path
        await stage.bot.quiet()
        assert row.path not in [entry.action for entry in await stage.refusals()], row.path
        return
    kept, noted, began = stage.dump(), await stage.refusals(), stage.bot.clock.monotonic()
    await how(stage, row, channel)  # type: ignore[operator]
    others = stage.seen()
    await stage.bot.slack.until(lambda: len(actor.ephemerals) > before and stage.bot.slack.quiet)
    (said,) = whispers(actor)[before:]
    assert expected(row, stage.rank, said), (row.path, said)
    assert stage.bot.clock.monotonic() == began  # nothing was waited for
    (entry, *_) = await stage.refusals()
    assert (entry.action, entry.channel) == (row.path, channel.id)
    assert len(await stage.refusals()) == len(noted) + 1
    assert stage.dump() == kept, row.path
    assert stage.seen() == others


@everybody
async def test_every_slash_command_in_a_channel(name: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "An answer.", *["More."] * 20) as stage:
        for row in TABLE.values():
            await tried(stage, row, stage.general, slash)


@everybody
async def test_every_slash_command_in_direct_messages(name: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "An answer.", *["More."] * 20) as stage:
        for row in TABLE.values():
            await tried(stage, row, stage.actor.dm, slash)


@everybody
async def test_every_command_typed_in_a_thread(name: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "An answer.", *["More."] * 20) as stage:
        if stage.rank is None:
            kept = stage.dump()
            for row in TABLE.values():
                await typed(stage, row, stage.general)
            await stage.bot.quiet()
            await stage.bot.afterwards.close()
            assert stage.dump() == kept  # bots are not even heard
            assert stage.actor.ephemerals == []
            return
        for row in TABLE.values():
            if row.path != "chat forget":  # in a thread it would end what the others are tried in
                await tried(stage, row, stage.general, typed)


@pytest.mark.parametrize("name", ["member", "guest"])
async def test_an_operators_bare_word_is_speech_and_noted(name: str, tmp_path: Path) -> None:
    words_of_operators = {row.name for row in TABLE.values() if f"chat {row.name}" not in TABLE}
    async with on_stage(name, tmp_path, "An answer.", *["Speech."] * 20) as stage:
        for word in sorted(words_of_operators):
            await stage.later()
            await stage.actor.say(stage.general, f"!{word}", thread=stage.root)
            await stage.bot.quiet()
        noted = {entry.action for entry in await stage.refusals()}
        assert noted == {f"parley {word}" for word in words_of_operators}
        said = await stage.bot.history(stage.general, thread=stage.root)
        assert sum(text.startswith("!") for text in said) == (len(words_of_operators) if name == "member" else 0)
        assert stage.actor.ephemerals == []


async def pressed(stage: Stage, action: str, press: object, *, may: bool, refusal: str = "") -> None:
    """Let the actor press something, and see what comes of it."""
    await stage.bot.clock.advance(timedelta(seconds=1))
    actor, before, kept, began = stage.actor, len(stage.actor.ephemerals), stage.dump(), stage.bot.clock.monotonic()
    await press  # type: ignore[misc]
    if may:
        await stage.bot.until(lambda: stage.dump() != kept)
        assert not any(is_refusal(said) for said in whispers(actor)[before:])
        assert action not in [entry.action for entry in await stage.refusals()]
        return
    await stage.bot.slack.until(lambda: len(actor.ephemerals) > before)
    (said,) = whispers(actor)[before:]
    assert said == refusal if refusal else is_refusal(said), said
    assert stage.bot.clock.monotonic() == began
    assert (await stage.refusals())[0].action == action
    assert stage.dump() == kept


@everybody
async def test_every_button_under_somebody_elses_answer(name: str, tmp_path: Path) -> None:
    never = asyncio.Event()
    steps = ("First.", CUT, ["Half an answer", never], "the bot went on.", "First, again.")
    async with on_stage(name, tmp_path, *steps, questions=3, growing=1) as stage:
        retry, go_on, stop = stage.answers
        buttons = {Control.STOP: stop, Control.CONTINUE: go_on, Control.RETRY: retry}
        assert buttons.keys() == set(Control)
        may = stage.rank is not None and stage.rank >= Rank.OPERATOR
        refusal = words.NOT_YOURS if stage.rank is Rank.PERSON else ""
        for control, answer in buttons.items():
            press = stage.actor.click(answer, f"parley_{control.value}")
            await pressed(stage, control.value, press, may=may, refusal=refusal)
            if may:
                await stage.bot.quiet()
        speaks = stage.rank is not None and stage.rank >= Rank.PERSON
        await pressed(stage, FEEDBACK, stage.actor.feedback(retry, good=True), may=speaks)


@everybody
async def test_the_buttons_under_an_answer_of_ones_own(name: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "First.", "Again.") as stage:
        (answer,) = stage.answers
        # As if they were asked by somebody who lost the right to speak since.
        facts, actor = stage.bot.store.facts, stage.actor

        async def theirs(turn_id: int) -> TurnFacts | None:
            found = await facts(turn_id)
            return replace(found, authors=frozenset({actor.id})) if found is not None else None

        stage.bot.store.facts = theirs  # type: ignore[method-assign]
        may = stage.rank is not None and stage.rank >= Rank.PERSON
        await pressed(stage, "retry", actor.click(answer, "parley_retry"), may=may)


@everybody
async def test_the_shortcut(name: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "First.", "A summary.") as stage:
        may = stage.rank is not None and stage.rank >= Rank.PERSON
        await pressed(stage, SUMMARISE, stage.actor.shortcut(stage.root, CALLBACK), may=may)
        # For whoever may not speak, nothing is even read.
        assert len(stage.bot.slack.asked("conversations.replies")) == may


@everybody
@pytest.mark.parametrize("button", HOME_BUTTONS)
async def test_the_home_is_everybodys_own(name: str, button: str, tmp_path: Path) -> None:
    async with on_stage(name, tmp_path, "An answer.", ttl=timedelta(days=30)) as stage:
        bot, actor = stage.bot, stage.actor
        conversation = await bot.store.get_or_create(bot.key(actor.dm, user=actor), at=bot.clock.now())
        await bot.clock.advance(timedelta(days=1))
        await actor.open_home()
        await bot.until(lambda: actor.home)
        kept, shown = stage.dump(), actor.home.shown
        await actor.click(actor.home, button, value=None)
        await bot.until(lambda: actor.home.shown != shown)
        found = await bot.store.find(conversation.key)
        if not allowed(TABLE[HOME_BUTTONS[button]], stage.rank):
            assert any(refusal in actor.home.shown for refusal in REFUSALS.values())
            assert [entry.action for entry in await stage.refusals()] == [HOME_BUTTONS[button]]
            assert stage.dump() == kept
        elif button == EXTEND:
            assert found is not None
            assert found.active_at > conversation.active_at
        else:
            assert found is None


@pytest.mark.parametrize("hung", ["users.info", "usergroups.list"])
async def test_a_lookup_that_hangs_is_refused_within_three_seconds(hung: str, tmp_path: Path) -> None:
    name = "operator by a group"
    async with on_stage(name, tmp_path, "An answer.") as stage:
        await stage.later()
        fault, began = stage.bot.slack.hang(hung, times=100), stage.bot.clock.monotonic()
        await stage.actor.slash("/parley", "status", stage.general)
        await stage.bot.until(lambda: stage.actor.ephemerals)
        assert stage.bot.clock.monotonic() - began < timedelta(seconds=3)
        assert is_refusal(whispers(stage.actor)[0])
        assert [entry.action for entry in await stage.refusals()] == ["parley status"]
        fault.release()
        await stage.actor.slash("/parley", "status", stage.general)
        await stage.bot.until(lambda: len(stage.actor.ephemerals) == 2)
        assert not is_refusal(whispers(stage.actor)[1])
