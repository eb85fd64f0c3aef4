"""Which message of a reply bears its controls, which one notifies, and what both cost."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat.delivery import lay_out
from bot.chat.protocol import NO_CONTROLS, Control, Controls, Limits
from tests.chat.delivering import HERE, LIMITS, SECOND, WORDS, Stage
from tests.fakes.surface import Fault

pytestmark = pytest.mark.anyio

BUTTONS = replace(LIMITS, buttons=True)
STOP = Controls(turn_id=1, offered=(Control.STOP,))
RETRY = Controls(turn_id=1, offered=(Control.RETRY,))


class Buttons(Stage):
    """A stage whose replies offer STOP while they grow."""

    growing = STOP

    def __init__(self, limits: Limits = BUTTONS, *, nonces: bool = False) -> None:
        super().__init__(limits, nonces=nonces)

    @property
    def controls(self) -> list[Controls]:
        return [message.controls for message in self.surface.shown(HERE)]


async def test_the_last_message_of_a_growing_answer_can_be_stopped_and_the_finished_one_asked_again():
    stage = Buttons()
    async with stage.reply() as reply:
        for length, expected in ((40, [STOP]), (100, [NO_CONTROLS, STOP]), (180, [NO_CONTROLS, NO_CONTROLS, STOP])):
            reply.show(WORDS[:length])
            await stage.clock.advance(5 * SECOND)
            assert stage.controls == expected
            assert "".join(stage.seen) == WORDS[:length]
        await stage.until(reply.complete(WORDS[:180], RETRY))
    assert stage.controls == [NO_CONTROLS, NO_CONTROLS, RETRY]


async def test_while_it_grows_at_most_one_message_bears_controls():
    stage = Buttons()
    most = 0

    def look(method: str) -> None:
        nonlocal most
        most = max(most, sum(controls != NO_CONTROLS for controls in stage.controls))

    stage.surface.before = look
    async with stage.reply() as reply:
        for length in range(5, 181, 5):
            reply.show(WORDS[:length])
            await stage.clock.advance(SECOND)
        await stage.until(reply.complete(WORDS[:180], RETRY))
    assert most == 1


async def test_an_answer_that_is_complete_at_once_costs_one_post():
    stage = Buttons()
    async with stage.reply() as reply:
        await stage.until(reply.complete("hello", RETRY))
    assert stage.controls == [RETRY]
    assert stage.count("post", "edit") == 1


async def test_other_controls_under_the_same_text_cost_one_edit():
    stage = Buttons()
    async with stage.reply() as reply:
        reply.show("hello")
        await stage.clock.advance(SECOND)
        await stage.until(reply.complete("hello", RETRY))
    assert stage.controls == [RETRY]
    assert stage.count("post", "edit") == 2


async def test_without_buttons_controls_are_not_shown_and_cost_nothing():
    stage = Buttons(LIMITS)
    async with stage.reply() as reply:
        reply.show("hello")
        await stage.clock.advance(SECOND)
        await stage.until(reply.complete("hello", RETRY))
    assert stage.controls == [NO_CONTROLS]
    assert stage.count("post", "edit") == 1


async def test_a_file_bears_the_controls_and_the_beginning_before_it_none():
    stage = Buttons(Limits(part=100, parts=3, buttons=True))
    async with stage.reply() as reply:
        reply.show(WORDS)
        await stage.clock.advance(20 * SECOND)
        assert stage.controls == [NO_CONTROLS, NO_CONTROLS, STOP]
        await stage.until(reply.complete(WORDS, RETRY))
    assert stage.controls == [NO_CONTROLS, RETRY]
    assert [bool(message.file) for message in stage.surface.shown(HERE)] == [False, True]


async def test_where_files_have_no_buttons_the_beginning_before_it_bears_the_controls():
    stage = Buttons(Limits(part=100, parts=3, buttons=True, file_buttons=False))
    async with stage.reply() as reply:
        await stage.until(reply.complete(WORDS, RETRY))
    assert stage.controls == [RETRY, NO_CONTROLS]
    assert [bool(message.file) for message in stage.surface.shown(HERE)] == [False, True]


async def test_an_answer_that_is_taken_back_leaves_nothing():
    stage = Buttons()
    async with stage.reply() as reply:
        await stage.until(reply.complete(WORDS[:180], RETRY))
        await stage.until(reply.complete(""))
    assert stage.seen == []


async def test_only_the_first_message_notifies():
    stage = Buttons(Limits(part=100, parts=3, buttons=True))
    async with stage.reply() as reply:
        await stage.until(reply.complete(WORDS[:250], RETRY))
    assert [message.notifies for message in stage.surface.shown(HERE)] == [True, False, False]


async def test_a_message_is_looked_for_by_what_it_would_show_now():
    stage = Buttons()
    stage.surface.script("post", Fault.ANSWER_LOST)
    async with stage.reply() as reply:
        reply.show("hel")
        await stage.clock.advance(SECOND)
        reply.show("hello")
        await stage.until(reply.complete("hello", RETRY))
    assert stage.seen == ["hello"]
    assert stage.surface.looked_for == ["hello"]


@given(st.text(max_size=400), st.integers(1, 6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_last_piece_alone_bears_the_controls(text, parts, growing):
    plain = lay_out(text, Limits(part=64, parts=parts), growing=growing, controls=RETRY)
    offered = lay_out(text, Limits(part=64, parts=parts, buttons=True), growing=growing, controls=RETRY)
    assert [replace(piece, controls=NO_CONTROLS) for piece in offered] == plain
    assert [piece.controls for piece in offered] == [NO_CONTROLS] * (len(offered) - 1) + [RETRY] * bool(offered)


faults = st.lists(st.sampled_from(Fault).filter(lambda fault: fault is not Fault.UNREACHABLE), max_size=6)


@given(
    script=st.fixed_dictionaries(dict.fromkeys(("post", "edit", "delete", "find"), faults)),
    lengths=st.lists(st.integers(0, 180), min_size=1, max_size=6),
    crashes=st.lists(st.floats(0, 15), max_size=3),
    nonces=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_whatever_fails_the_last_message_alone_bears_the_last_controls(script, lengths, crashes, nonces):
    async def scenario() -> None:
        stage = Buttons(nonces=nonces)
        for method, outcomes in script.items():
            stage.surface.script(method, *outcomes)
        await stage.reply_in_lives(lengths, crashes, RETRY)
        expected = lay_out(WORDS[: lengths[-1]], BUTTONS, controls=RETRY)
        assert [(message.text, message.controls) for message in stage.surface.shown(HERE)] == [
            (piece.text, piece.controls) for piece in expected
        ]

    asyncio.run(scenario())
