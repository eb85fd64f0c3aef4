"""What people see of a reply, and what it costs: the laws of `bot.chat.delivery` on a platform that is well."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import delivery
from bot.chat.delivery import FILE_NOTICE, lay_out
from bot.chat.protocol import Address, FileOffer, Limits, Measure
from bot.chat.splitting import join, parts_of, split
from tests.chat.delivering import HERE, LIMITS, SECOND, WORDS, Stage
from tests.contracts.surface_laws import SurfaceLaws
from tests.fakes.clock import FakeClock
from tests.fakes.surface import FakeSurface, Fault

pytestmark = pytest.mark.anyio


class TestFakeSurface(SurfaceLaws):
    @pytest.fixture
    def surface(self):
        return FakeSurface(FakeClock())

    async def see(self, surface, address):
        return surface.texts(address)

    async def see_files(self, surface, address):
        return [message.text for message in surface.shown(address) if message.file]

    async def send_file(self, surface, address, data):
        surface.files["cdn/notes.txt"] = data
        return "1", FileOffer(name="notes.txt", media_type="text/plain", size=len(data), url="cdn/notes.txt")

    def lost_file(self, surface):
        return FileOffer(name="lost.txt", media_type="text/plain", size=4, url="cdn/lost.txt")


class TestFakeSurfaceWithoutNonces(TestFakeSurface):
    knows_nonces = False

    @pytest.fixture
    def surface(self):
        return FakeSurface(FakeClock(), nonces=False)


# What people see, and what it costs


async def test_a_short_answer_costs_one_post():
    stage = Stage()
    await stage.reply_with("hello")
    assert stage.seen == ["hello"]
    assert stage.parts == {1: "m1"}
    assert stage.count("post", "edit", "delete", "find") == 1


async def test_showing_the_final_text_already_costs_nothing_more():
    stage = Stage()
    await stage.reply_with("hello", "hello")
    assert stage.count("post", "edit") == 1


async def test_text_is_shown_as_soon_as_there_is_some_and_then_at_the_pace():
    stage = Stage(Limits(part=2000))
    await stage.reply_with(*(WORDS[:length] for length in range(1, 200)), every=SECOND / 10)
    times = stage.surface.times("post", "edit")
    assert times[0] == timedelta()
    assert all(after - before >= LIMITS.pace for before, after in pairwise(times))
    assert len(times) == 18  # 19.8 s of text at one write each 1.2 s, and the last edit
    assert stage.seen == [WORDS[:199]]


async def test_show_never_waits_and_the_newest_text_wins():
    stage = Stage()
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND / 10)
        for length in range(2, 30):
            reply.show("a" * length)
        await stage.clock.advance(2 * SECOND)
        assert stage.seen == ["a" * 29]
        assert stage.count("edit") == 1


async def test_a_long_answer_goes_on_in_further_messages_while_it_comes():
    stage = Stage()
    text = WORDS[:180]
    async with stage.reply() as reply:
        for length in range(0, 181, 5):
            reply.show(text[:length])
            await stage.clock.advance(LIMITS.pace)
        assert "".join(stage.seen) == text
        assert len(stage.seen) == 3
        await stage.until(reply.complete(text))
    assert stage.seen == [part.text for part in split(text, 64, Measure.UTF16)]
    assert sorted(stage.parts) == [1, 2, 3]


async def test_finished_messages_are_not_edited_again():
    stage = Stage()
    await stage.reply_with(*(WORDS[:length] for length in range(5, 181, 5)), every=3 * SECOND)
    assert len(stage.seen) == 3
    second = [call.method for call in stage.surface.calls if call.method != "working"].index("post", 1)
    later = [call.about for call in stage.surface.calls if call.method != "working"][second:]
    assert not any(text.startswith(WORDS[:8]) for text in later)


async def test_code_fences_are_whole_in_every_message():
    stage = Stage(Limits(part=60))
    await stage.reply_with("Look:\n```py\n" + "x = 1\n" * 20 + "```\ndone")
    assert len(stage.seen) > 1
    assert all(text.count("```") % 2 == 0 for text in stage.seen)


async def test_an_answer_of_more_than_the_parts_becomes_a_beginning_and_a_file():
    stage = Stage(Limits(part=100, parts=3))
    async with stage.reply() as reply:
        for length in range(0, len(WORDS), 50):
            reply.show(WORDS[:length])
            await stage.clock.advance(2 * SECOND)
        assert len(stage.seen) == 3
        assert WORDS.startswith("".join(stage.seen))
        await stage.until(reply.complete(WORDS))
    beginning, file = stage.surface.shown(HERE)
    assert beginning.text.endswith(FILE_NOTICE)
    assert WORDS.startswith(beginning.text.removesuffix(FILE_NOTICE))
    assert file.file == "answer.md"
    assert file.text == WORDS


@pytest.mark.parametrize("growing", [True, False])
def test_of_a_text_that_is_far_too_long_no_more_is_cut_than_tells_so(growing, monkeypatch):
    taken = []

    def counted(*arguments):
        for part in parts_of(*arguments):
            taken.append(part)
            yield part

    monkeypatch.setattr(delivery, "parts_of", counted)
    lay_out("word " * 100_000, LIMITS, growing=growing)
    assert len(taken) <= LIMITS.parts + 2, "the parts, one more, and the beginning beside a file"


async def test_the_same_file_is_not_posted_twice_and_another_text_is_another_file():
    stage = Stage(Limits(part=100, parts=3))
    await stage.reply_with(WORDS)
    await stage.reply_with(WORDS, reconcile=True)
    assert stage.count("post_file") == 1
    await stage.reply_with(WORDS.upper())
    assert [message.text for message in stage.surface.shown(HERE) if message.file] == [WORDS.upper()]
    await stage.reply_with("short")
    assert stage.seen == ["short"]


@pytest.mark.parametrize("text", ["", " \n "])
async def test_empty_text_is_never_posted(text):
    stage = Stage()
    await stage.reply_with(text, text)
    assert stage.seen == []
    await stage.reply_with("old")
    await stage.reply_with(text)
    assert stage.seen == []


async def test_a_shorter_answer_deletes_the_messages_too_many():
    stage = Stage()
    await stage.reply_with(WORDS[:180])
    assert len(stage.seen) == 3
    await stage.reply_with("short")
    assert stage.seen == ["short"]
    await stage.reply_with(WORDS[:180])
    assert "".join(stage.seen) == WORDS[:180]


async def test_complete_may_be_called_again():
    stage = Stage()
    async with stage.reply() as reply:
        await stage.until(reply.complete("one"))
        await stage.until(reply.complete(WORDS[:180]))
        await stage.until(reply.complete("two"))
    assert stage.seen == ["two"]


@given(st.text(max_size=400), st.integers(64, 100), st.integers(1, 6))
@settings(max_examples=500, deadline=None)
def test_the_layout_loses_nothing(text, part, parts):
    limits = Limits(part=part, parts=parts)
    pieces = lay_out(text, limits)
    whole = [split_part for split_part in split(text, part, limits.measure) if not split_part.text.isspace()]
    if len(whole) <= parts:
        assert [piece.text for piece in pieces] == [split_part.text for split_part in whole]
        assert join(whole).split() == text.split()
    else:
        assert pieces[1].file
        assert pieces[1].text == text
    assert all(piece.text.strip() for piece in pieces)
    assert all(limits.measure.of(piece.text) <= part for piece in pieces if not piece.file)


# Who goes first


async def test_the_last_edit_goes_before_the_streams_of_the_channel():
    stage = Stage(Limits(part=2000))
    replies = [stage.reply() for _ in range(5)]
    for number, reply in enumerate(replies):
        await reply.__aenter__()
        reply.show(f"{number}")
    await stage.clock.advance(10 * SECOND)
    for number, reply in enumerate(replies):
        reply.show(f"{number} goes on")
    await stage.clock.advance(timedelta())
    before = stage.clock.monotonic()
    await stage.until(replies[4].complete("4 is done"))
    assert stage.clock.monotonic() - before <= 2 * stage.surface.limits.pace
    for reply in replies:
        await reply.__aexit__(None, None, None)


async def test_streams_of_one_channel_share_its_pace_and_other_channels_do_not_wait():
    stage = Stage(Limits(part=2000))
    elsewhere = Address(platform="fake", workspace="w", channel="d")
    async with stage.reply() as one, stage.reply() as two, stage.reply(address=elsewhere) as other:
        for length in range(1, 100):
            for reply in (one, two, other):
                reply.show("x" * length)
            await stage.clock.advance(SECOND / 10)
    writes = stage.surface.times("post", "edit")
    assert len(stage.surface.shown(HERE)) == 2
    assert len(writes) == 18  # 9 of 9.9 s in each of two channels


# Signs of work


async def test_work_is_shown_at_once_and_again_until_the_first_post():
    stage = Stage()
    async with stage.reply() as reply:
        await stage.clock.advance(20 * SECOND)
        assert stage.surface.times("working") == [timedelta(), LIMITS.status, 2 * LIMITS.status]
        reply.show("hello")
        await stage.clock.advance(60 * SECOND)
        assert stage.count("working") == 3
        assert stage.surface.times("post") == [20 * SECOND]


async def test_no_work_is_shown_for_a_reply_that_stands_there_already():
    stage = Stage()
    stage.parts = {1: await stage.surface.post(HERE, "half", nonce="turn-1-1")}
    async with stage.reply(reconcile=True):
        await stage.clock.advance(20 * SECOND)
    assert stage.count("working") == 0


async def test_a_sign_under_way_is_given_up_when_the_reply_is_there():
    stage = Stage()
    gate = asyncio.Event()
    stage.surface.script("working", gate)
    async with stage.reply() as reply:
        await stage.clock.advance(SECOND)
        assert stage.count("working") == 1
        reply.show("hello")
        await stage.clock.advance(SECOND)
        assert "reply.sign" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("fault", [Fault.DELAYED, Fault.UNREACHABLE, Fault.CALL_LOST, asyncio.Event()])
async def test_a_sign_that_fails_or_hangs_neither_fails_nor_delays_the_reply(fault):
    stage = Stage()
    stage.surface.script("working", fault)
    await stage.reply_with("hello")
    assert stage.surface.times("post") == [timedelta()]
