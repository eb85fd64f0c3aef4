"""What people see of a reply when the platform fails, the turn is somebody else's, or the process dies in the middle."""

import asyncio
from datetime import timedelta

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat.delivery import GRACE, PATIENCE, SETTLING, TRIES, lay_out
from bot.chat.protocol import DeliveryDelayed, Measure, OutcomeUnknown, Unreachable, Write
from bot.chat.splitting import split
from store.errors import LeaseLost
from tests.chat.delivering import HERE, LIMITS, SECOND, WORDS, Stage
from tests.fakes.surface import Fault

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def logs():
    """What was logged; caught, so that it does not bury a failure."""
    with structlog.testing.capture_logs() as logs:
        yield logs


# Failures


async def test_an_id_is_recorded_before_anything_else_is_written():
    stage = Stage()
    stage.surface.before = lambda method: events.append(method) if method != "working" else None
    events: list[str] = []

    async def record(number: int, platform_id: str) -> None:
        await stage.clock.sleep(SECOND)
        events.append(f"recorded {number}")

    stage.record = record  # type: ignore[method-assign]
    await stage.reply_with("a", WORDS[:90])
    assert events == ["post", "recorded 1", "edit", "post", "recorded 2"]


async def test_a_lost_answer_to_a_post_is_looked_for_and_not_posted_again():
    stage = Stage()
    stage.surface.script("post", Fault.ANSWER_LOST)
    await stage.reply_with("hello")
    assert stage.seen == ["hello"]
    assert stage.count("post") == 1
    assert stage.parts == {1: "m1"}
    assert stage.surface.times("find") == [SETTLING]


async def test_a_lost_post_is_posted_again_once_it_is_surely_not_there():
    stage = Stage()
    stage.surface.script("post", Fault.CALL_LOST, Fault.CALL_LOST)
    await stage.reply_with("hello")
    assert stage.seen == ["hello"]
    assert [call.method for call in stage.surface.calls if call.method != "working"] == ["post", "find"] * 2 + [
        "post",
        "edit",
    ]


async def test_nothing_is_posted_while_looking_fails():
    stage = Stage()
    stage.surface.script("post", Fault.ANSWER_LOST)
    stage.surface.script("find", *[Fault.DELAYED, Fault.CALL_LOST] * 3)
    await stage.reply_with("hello")
    assert stage.seen == ["hello"]
    assert stage.count("post") == 1
    assert stage.count("find") == 7


async def test_completing_does_not_shorten_the_wait_before_looking():
    stage = Stage()
    stage.surface.script("post", Fault.ANSWER_LOST)
    await stage.reply_with("hel", "hello", every=SECOND / 2)
    assert stage.surface.times("find") == [SETTLING]
    assert stage.seen == ["hello"]


async def test_a_message_that_an_older_post_made_is_brought_to_the_newest_text():
    """Looking came too early, posting again returned the message with the older text."""
    stage = Stage(nonces=True)
    stage.surface.script("post", Fault.ANSWER_LOST)
    find = stage.surface.find
    stage.surface.find = lambda *args, **kwargs: find(HERE, nonce="not there yet", text="")
    await stage.reply_with("hel", "hello")
    assert stage.seen == ["hello"]


async def test_a_lost_edit_is_made_again():
    stage = Stage()
    stage.surface.script("edit", Fault.CALL_LOST, Fault.ANSWER_LOST, Fault.CALL_LOST)
    await stage.reply_with("a", "ab")
    assert stage.seen == ["ab"]
    assert stage.count("edit") == 4


async def test_a_delay_holds_up_every_reply_on_the_budget():
    stage = Stage()
    stage.surface.script("post", Fault.DELAYED)
    async with stage.reply() as one, stage.reply() as two:
        one.show("one")
        await stage.clock.advance(SECOND)
        two.show("two")
        await stage.clock.advance(10 * SECOND)
    assert stage.surface.times("post") == [timedelta(), stage.surface.retry_after, stage.surface.retry_after + LIMITS.pace]


@pytest.mark.parametrize(("fault", "error"), [(Fault.DELAYED, DeliveryDelayed), (Fault.CALL_LOST, OutcomeUnknown)])
async def test_complete_gives_up_after_a_bounded_time(fault, error):
    stage = Stage()
    stage.surface.script("edit", *[fault] * 100)
    with pytest.raises(error):
        await stage.reply_with("a", "ab")
    assert stage.count("edit") == TRIES
    assert SECOND * 60 <= stage.clock.monotonic() <= PATIENCE


async def test_complete_does_not_wait_out_a_delay_longer_than_its_patience():
    stage = Stage()
    stage.surface.retry_after = timedelta(hours=1)
    stage.surface.script("post", Fault.DELAYED)
    with pytest.raises(DeliveryDelayed):
        await stage.reply_with("hello")
    assert stage.clock.monotonic() <= SECOND


async def test_where_each_kind_of_write_is_counted_by_itself_a_post_does_not_wait_for_edits():
    stage = Stage()
    stage.surface.counts_apart = True
    stage.pacers.of(stage.surface.budget(HERE, Write.EDIT)).penalize(timedelta(hours=1))
    await stage.reply_with("hello")
    assert stage.surface.texts(HERE) == ["hello"]
    assert stage.clock.monotonic() <= SECOND


async def test_complete_does_not_wait_for_ever_in_a_line_that_somebody_else_has_closed():
    stage = Stage()
    stage.pacers.of(stage.surface.budget(HERE, Write.POST)).penalize(timedelta(hours=1))
    with pytest.raises(DeliveryDelayed):
        await stage.reply_with("hello")
    assert stage.clock.monotonic() <= PATIENCE + SECOND
    assert stage.seen == []


async def test_streaming_outlives_any_number_of_failures():
    stage = Stage()
    stage.surface.script("edit", *[Fault.DELAYED, Fault.CALL_LOST] * 30)
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND)
        reply.show("ab")
        await stage.clock.advance(timedelta(hours=1))
        assert stage.seen == ["ab"]


async def test_unreachable_is_raised_at_once_to_show_and_complete():
    stage = Stage()
    stage.surface.script("post", Fault.UNREACHABLE)
    with pytest.raises(Unreachable):
        await stage.reply_with("hello")
    assert stage.clock.monotonic() <= SECOND
    stage.surface.script("post", Fault.UNREACHABLE)
    async with stage.reply() as reply:
        reply.show("hello")
        await stage.clock.advance(2 * SECOND)
        with pytest.raises(Unreachable):
            reply.show("hello again")
        with pytest.raises(Unreachable):
            await reply.complete("hello again")
    assert stage.seen == []


async def test_nothing_is_written_once_the_turn_is_somebody_elses():
    stage = Stage()
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND / 2)
        stage.ours = False
        reply.show("ab")
        await stage.clock.advance(10 * SECOND)
        with pytest.raises(LeaseLost):
            reply.show("abc")
        with pytest.raises(LeaseLost):
            await reply.complete("abc")
    assert stage.seen == ["a"]
    assert stage.count("post", "edit", "delete") == 1


async def test_a_lease_lost_while_waiting_for_a_slot_stops_the_last_edit():
    stage = Stage()
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND / 2)
        completing = asyncio.create_task(reply.complete("ab"))
        await stage.clock.advance(SECOND / 10)
        stage.ours = False
        await stage.clock.advance(SECOND)
        with pytest.raises(LeaseLost):
            await completing
    assert stage.seen == ["a"]


async def test_an_error_of_record_reaches_the_caller():
    stage = Stage()

    async def record(number: int, platform_id: str) -> None:
        raise LeaseLost("too late")

    stage.record = record  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await stage.reply_with("a", "ab", "abc")
    assert stage.count("post", "edit") == 1


async def test_a_message_removed_meanwhile_stays_removed_and_the_others_go_on():
    stage = Stage()
    async with stage.reply() as reply:
        reply.show(WORDS[:90])
        await stage.clock.advance(5 * SECOND)
        stage.surface.remove(HERE, "m2")
        await stage.until(reply.complete(WORDS[:180]))
    parts = [part.text for part in split(WORDS[:180], 64, Measure.UTF16)]
    assert stage.seen == [parts[0], parts[2]]


async def test_a_message_removed_earlier_is_posted_anew():
    stage = Stage()
    await stage.reply_with("old")
    stage.surface.remove(HERE, "m1")
    await stage.reply_with("new")
    assert stage.seen == ["new"]
    assert stage.parts == {1: "m2"}


# Leaving


async def test_leaving_without_complete_writes_nothing_more():
    stage = Stage()
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND / 2)
        reply.show("ab")
    await stage.clock.advance(60 * SECOND)
    assert stage.seen == ["a"]
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"reply.sender", "reply.sign", "pacer"})


async def test_leaving_waits_for_a_post_under_way_and_records_it():
    stage = Stage()
    stage.surface.latency = 4 * SECOND

    async def run() -> None:
        async with stage.reply() as reply:
            reply.show("a")
            await stage.clock.sleep(SECOND)

    await stage.until(run())
    assert stage.parts == {1: "m1"}


async def test_leaving_does_not_wait_for_ever():
    stage = Stage()
    stage.surface.script("post", asyncio.Event())

    async def run() -> None:
        async with stage.reply() as reply:
            reply.show("a")
            await stage.clock.sleep(SECOND)

    await stage.until(run())
    assert stage.clock.monotonic() <= SECOND + GRACE + SECOND


async def test_complete_waits_for_the_write_under_way_and_is_the_last_to_write():
    stage = Stage()
    gate = asyncio.Event()
    stage.surface.script("edit", gate)
    async with stage.reply() as reply:
        reply.show("a")
        await stage.clock.advance(SECOND)
        reply.show("ab")
        await stage.clock.advance(SECOND)
        completing = asyncio.create_task(reply.complete("abc"))
        await stage.clock.advance(SECOND)
        assert stage.count("edit") == 1
        gate.set()
        await stage.until(asyncio.wait_for(completing, None))
    assert stage.surface.shown(HERE)[0].history == ["a", "ab"]
    assert stage.seen == ["abc"]


# After a crash


async def test_a_recovered_reply_completes_the_message_that_stands_there():
    stage = Stage()
    stage.parts = {1: await stage.surface.post(HERE, "half an", nonce="turn-1-1")}
    await stage.reply_with("half an answer", reconcile=True)
    assert stage.seen == ["half an answer"]
    assert stage.count("post") == 1


async def test_a_recovered_reply_makes_the_first_edit_always():
    stage = Stage()
    stage.parts = {1: await stage.surface.post(HERE, "answer", nonce="turn-1-1")}
    await stage.reply_with("answer", reconcile=True)
    assert stage.count("edit") == 1


async def test_a_recovered_reply_finds_what_was_posted_and_not_recorded():
    stage = Stage()
    await stage.surface.post(HERE, "half", nonce="turn-1-1")
    await stage.reply_with("half an answer", reconcile=True)
    assert stage.seen == ["half an answer"]
    assert stage.parts == {1: "m1"}


async def test_a_recovered_reply_that_is_shorter_deletes_what_was_posted_and_not_recorded():
    stage = Stage()
    stage.parts = {1: await stage.surface.post(HERE, "one", nonce="turn-1-1")}
    await stage.surface.post(HERE, "two", nonce="turn-1-2")
    await stage.reply_with("short", reconcile=True)
    assert stage.seen == ["short"]


@pytest.mark.parametrize("text", ["answer", ""])
async def test_a_recovered_reply_looks_also_where_the_recorded_message_is_gone(text):
    """The run before found it gone, posted anew, and died before it recorded that."""
    stage = Stage()
    stage.parts = {1: await stage.surface.post(HERE, "removed", nonce="turn-1-1")}
    stage.surface.remove(HERE, "m1")
    await stage.surface.post(HERE, "anew", nonce="turn-1-1")
    await stage.reply_with(text, reconcile=True)
    assert stage.seen == [text] * bool(text)


faults = st.lists(st.sampled_from(Fault).filter(lambda fault: fault is not Fault.UNREACHABLE), max_size=6)


@given(
    script=st.fixed_dictionaries(dict.fromkeys(("post", "post_file", "edit", "delete", "find", "working"), faults)),
    lengths=st.lists(st.integers(0, 260), min_size=1, max_size=8),
    crashes=st.lists(st.floats(0, 15), max_size=4),
    latency=st.sampled_from([0.0, 0.3, 2.0]),
    nonces=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_whatever_fails_and_however_often_it_crashes_people_see_the_answer_once(script, lengths, crashes, latency, nonces):
    async def scenario() -> None:
        stage = Stage(nonces=nonces)
        stage.surface.latency = timedelta(seconds=latency)
        for method, outcomes in script.items():
            stage.surface.script(method, *outcomes)
        await stage.reply_in_lives(lengths, crashes)
        shown = stage.surface.shown(HERE)
        expected = lay_out(WORDS[: lengths[-1]], stage.surface.limits)
        assert [(message.text, bool(message.file)) for message in shown] == [(piece.text, piece.file) for piece in expected]
        assert {
            piece.number: message.id for piece, message in zip(expected, shown, strict=True)
        }.items() <= stage.parts.items()
        assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"reply.sender", "reply.sign", "pacer"})

    asyncio.run(scenario())
