"""Answers that stream: in threads of direct messages, within Slack's life and size, and as updates wherever that ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.adapters.slack.surface import LIMITS, SlackSurface
from bot.chat.protocol import Address, DeliveryDelayed, MessageGone, OutcomeUnknown, Unreachable, Write
from tests.adapters.growing import FINISHED, GROWING
from tests.adapters.slack.showing import answers, below, surface_on, text_of
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, Message, User
from tests.fakes.slack.faults import Faults

pytestmark = pytest.mark.anyio

STREAMS = "chat.*Stream"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def question(ada: User) -> Message:
    return await ada.say(ada.dm, "hello")


@pytest.fixture
def stopped() -> list[Address]:
    return []


@pytest.fixture
async def surface(slack: FakeSlack, clock: FakeClock, stopped: list[Address]) -> AsyncIterator[SlackSurface]:
    async with surface_on(slack, clock, on_stopped=stopped.append) as surface:
        yield surface


def asked(slack: FakeSlack) -> list[str]:
    """The calls that write, in their order."""
    return [call.method.removeprefix("chat.") for call in slack.asked("chat.*")]


# Growing


async def test_an_answer_grows_without_edits_and_ends_with_buttons(surface, slack, ada, address):
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    [message] = answers(ada.dm)
    assert (message.ts, message.streaming, message.thread_ts) == (message_id, True, address.thread)
    await surface.edit(address, message_id, "Hello, **A", controls=GROWING)
    await surface.edit(address, message_id, "Hello, **A", controls=GROWING)
    assert text_of(message) == "Hello, **A"
    await surface.edit(address, message_id, "Hello, **Ada**!", controls=FINISHED)
    assert (text_of(message), message.streaming) == ("Hello, **Ada**!", False)
    assert message.buttons == ["parley_retry", "parley_continue", "parley_feedback"]
    assert message.metadata["event_payload"] == {"nonce": "n1"}
    assert asked(slack) == ["startStream", "appendStream", "stopStream"]


async def test_a_code_block_that_is_still_open_goes_on_streaming(surface, slack, ada, address):
    message_id = await surface.post(address, "See:\n```py\n```", nonce="n1", controls=GROWING)
    for text in ("See:\n```py\nx = 1\n```", "See:\n```py\nx = 1\ny = 2\n```", "See:\n```py\nx = 1\ny = 2\n```\nDone"):
        await surface.edit(address, message_id, text, controls=GROWING)
    await surface.edit(address, message_id, "See:\n```py\nx = 1\ny = 2\n```\nDone.", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "See:\n```py\nx = 1\ny = 2\n```\nDone."
    assert set(asked(slack)) == {"startStream", "appendStream", "stopStream"}


async def test_a_ping_that_comes_in_pieces_pings_nobody(surface, slack, ada, address):
    bob = slack.workspace.user("Bob")
    ada.dm.join(bob)
    whole = f"Hey <!channel> and <@{bob.id}> and @everyone!"
    message_id = await surface.post(address, whole[:1], nonce="n1", controls=GROWING)
    for end in range(2, len(whole)):
        await surface.edit(address, message_id, whole[:end], controls=GROWING)
    await surface.edit(address, message_id, whole, controls=FINISHED)
    assert slack.pings == []
    assert text_of(answers(ada.dm)[0]).replace("\u200b", "") == whole
    assert asked(slack)[-1] == "stopStream"


@pytest.mark.parametrize(
    "link", ["https://evil.example/?q=secret", "[here](HTTP://evil.example/?q=secret)", "<https://evil.example>"]
)
async def test_no_link_in_a_stream_unfolds(surface, slack, ada, address, link):
    ts = await surface.post(address, f"See {link} for", nonce="n1", controls=GROWING)
    await surface.edit(address, ts, f"See {link} for more", controls=GROWING)
    await surface.edit(address, ts, f"See {link} for more.", controls=FINISHED)
    assert slack.unfurled == []
    assert [text_of(message) for message in answers(ada.dm)] == [f"See {link} for more."]
    assert asked(slack) == ["startStream", "appendStream", "stopStream"]


async def test_a_text_that_became_another_is_updated(surface, slack, ada, address):
    message_id = await surface.post(address, "one two", nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, "three", controls=GROWING)
    await surface.edit(address, message_id, "three four", controls=GROWING)
    await surface.edit(address, message_id, "three four five", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "three four five"
    assert asked(slack) == ["startStream", "stopStream", "update", "update", "update"]


# Where there are no streams


async def test_in_channels_everyone_sees_the_same(surface, slack, ada):
    general = slack.workspace.channel("general", ada)
    address = below(await ada.say(general, "hello"))
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, "Hello", controls=GROWING)
    await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert asked(slack) == ["postMessage", "update", "update"]


async def test_what_is_complete_is_posted(surface, slack, address):
    await surface.post(address, "Hello!", nonce="n1", controls=FINISHED)
    assert asked(slack) == ["postMessage"]


@pytest.mark.parametrize("error", ["unknown_method", "feature_not_enabled", "method_deprecated"])
async def test_a_workspace_without_streams_is_never_asked_again(surface, slack, ada, address, error):
    slack.fail("chat.startStream", error=error, times=99)
    for nonce in ("n1", "n2"):
        message_id = await surface.post(address, "Hel", nonce=nonce, controls=GROWING)
        await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert [text_of(message) for message in answers(ada.dm)] == ["Hello!", "Hello!"]
    assert asked(slack) == ["startStream", "postMessage", "update", "postMessage", "update"]


@pytest.mark.parametrize(
    "error",
    [
        "channel_type_not_supported",
        "method_not_supported_for_channel_type",
        "missing_recipient_team_id",
        "missing_recipient_user_id",
    ],
)
async def test_a_place_without_streams_is_posted_to(surface, slack, ada, address, error):
    slack.fail("chat.startStream", error=error)
    await surface.post(address, "one", nonce="n1", controls=GROWING)
    await surface.post(address, "two", nonce="n2", controls=GROWING)
    assert [text_of(message) for message in answers(ada.dm)] == ["one", "two"]
    assert asked(slack) == ["startStream", "postMessage", "startStream"]


async def test_a_workspace_has_twenty_streams_a_minute_and_then_posts(surface, slack, clock, address):
    for number in range(25):
        message_id = await surface.post(address, "Hel", nonce=f"n{number}", controls=GROWING)
        await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert (asked(slack).count("startStream"), asked(slack).count("postMessage")) == (20, 5)
    assert slack.refused == []
    await clock.advance(timedelta(minutes=1, milliseconds=1))
    await surface.post(address, "Hel", nonce="n25", controls=GROWING)
    assert asked(slack)[-1] == "startStream"


async def test_when_others_have_used_up_the_streams_of_a_minute_answers_are_posted(surface, slack, ada, clock, address):
    slack.fail("chat.startStream", status=429, times=99)
    for nonce in ("n1", "n2"):
        await surface.post(address, "Hel", nonce=nonce, controls=GROWING)
    assert asked(slack) == ["startStream", "postMessage", "postMessage"]
    assert [text_of(message) for message in answers(ada.dm)] == ["Hel", "Hel"]
    slack.faults = Faults()
    await clock.advance(timedelta(minutes=1))
    await surface.post(address, "Hel", nonce="n3", controls=GROWING)
    assert asked(slack)[-1] == "startStream"


# Life and size


async def test_a_long_answer_leaves_its_stream_before_slack_ends_it(surface, slack, ada, clock, address):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await clock.advance(timedelta(minutes=4))
    await surface.edit(address, message_id, "one two", controls=GROWING)
    [message] = answers(ada.dm)
    assert message.buttons == ["parley_stop"]  # an update shows it
    await clock.advance(timedelta(minutes=4))
    await surface.edit(address, message_id, "one two three", controls=FINISHED)
    assert text_of(message) == "one two three"
    assert asked(slack) == ["startStream", "stopStream", "update", "update"]


@pytest.mark.parametrize("controls", [GROWING, FINISHED])
async def test_a_stream_that_slack_has_ended_is_updated(surface, slack, ada, address, controls):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    slack.fail(STREAMS, error="message_not_in_streaming_state", times=99)
    answers(ada.dm)[0].stream.ended = "expired"
    await surface.edit(address, message_id, "one two", controls=controls)
    await surface.edit(address, message_id, "one two three", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two three"
    assert asked(slack)[-2:] == ["update", "update"]


async def test_the_longest_part_fits_into_a_stream_in_every_script(surface, slack, ada, address):
    longest = "語" * LIMITS.part
    message_id = await surface.post(address, longest[:1000], nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, longest, controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == longest
    assert asked(slack) == ["startStream", "stopStream"]


async def test_a_stream_that_is_full_is_updated(surface, slack, ada, address):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    slack.stream_bytes = 5
    await surface.edit(address, message_id, "one two", controls=GROWING)
    await surface.edit(address, message_id, "one two three", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two three"
    assert asked(slack) == ["startStream", "appendStream", "stopStream", "update", "update"]


# Slack's own stop


async def test_a_stream_that_a_person_stopped_tells_and_keeps_its_text(surface, slack, ada, address, question, stopped):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await ada.stop(question)
    await surface.edit(address, message_id, "one two", controls=GROWING)
    assert stopped == [address]
    await surface.edit(address, message_id, "one two three", controls=GROWING)
    assert (stopped, text_of(answers(ada.dm)[0])) == ([address], "one")
    await surface.edit(address, message_id, "one two\n\n*(stopped)*", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two\n\n*(stopped)*"
    assert asked(slack) == ["startStream", "appendStream", "update"]


async def test_a_stop_right_before_the_end_loses_no_text(surface, ada, address, question):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await ada.stop(question)
    await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two"
    assert answers(ada.dm)[0].buttons[0] == "parley_retry"


# After a restart


@pytest.mark.parametrize("controls", [GROWING, FINISHED])
async def test_a_stream_of_another_process_is_ended_and_updated(surface, slack, ada, clock, address, controls):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    async with surface_on(slack, clock) as restarted:
        await restarted.edit(address, message_id, "one two", controls=controls)
    assert text_of(answers(ada.dm)[0]) == "one two"
    assert not answers(ada.dm)[0].streaming
    assert asked(slack) == ["startStream", "update", "stopStream", "update"]


async def test_a_stream_of_another_process_can_be_found_and_deleted(surface, slack, ada, clock, address):
    message_id = await surface.post(address, "The answer as it was", nonce="n1", controls=GROWING)
    async with surface_on(slack, clock) as restarted:
        assert await restarted.find(address, nonce="n1", text="A different") == message_id
        await restarted.delete(address, message_id)
    assert answers(ada.dm) == []


async def test_the_finished_part_before_is_not_taken_for_the_part_that_is_looked_for(surface, slack, clock, address):
    first = await surface.post(address, "part one", nonce="n1", controls=GROWING)
    await surface.edit(address, first, "part one is complete")
    async with surface_on(slack, clock) as restarted:
        assert await restarted.find(address, nonce="n2", text="part two") is None


async def test_nor_is_one_that_another_process_has_finished(surface, slack, ada, clock, address):
    first = await surface.post(address, "part one", nonce="n1", controls=GROWING)
    async with surface_on(slack, clock) as second:
        await second.edit(address, first, "part one is complete")
    assert answers(ada.dm)[0].metadata["event_payload"] == {"nonce": "0"}  # Slack may go on calling it a stream
    async with surface_on(slack, clock) as third:
        assert await third.find(address, nonce="n2", text="part two") is None


# Trouble


@pytest.mark.parametrize("trouble", [{"cut": True}, {"status": 502}, {"error": "internal_error"}])
async def test_a_start_whose_answer_is_lost_leaves_one_message(surface, slack, ada, address, trouble):
    slack.fail("chat.startStream", after_effect=True, **trouble)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    message_id = await surface.find(address, nonce="n1", text="Hello")
    await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert [text_of(message) for message in answers(ada.dm)] == ["Hello!"]


@pytest.mark.parametrize("trouble", [{"cut": True}, {"status": 502}, {"error": "fatal_error"}])
@pytest.mark.parametrize("after_effect", [True, False])
async def test_text_is_not_added_twice_when_an_answer_is_lost(surface, slack, ada, address, trouble, after_effect):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    slack.fail("chat.appendStream", after_effect=after_effect, **trouble)
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "one two", controls=GROWING)
    await surface.edit(address, message_id, "one two three", controls=GROWING)
    assert text_of(answers(ada.dm)[0]) == "one two three"


@pytest.mark.parametrize("after_effect", [True, False])
async def test_an_end_whose_answer_is_lost_is_repeated(surface, slack, ada, address, after_effect):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    slack.fail("chat.stopStream", after_effect=after_effect, cut=True)
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "one two", controls=FINISHED)
    await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two"
    assert answers(ada.dm)[0].buttons[0] == "parley_retry"


async def test_an_append_that_is_cut_off_by_its_caller_is_not_repeated(surface, slack, ada, address):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    hanging = slack.hang("chat.appendStream", after_effect=True)
    growing = asyncio.create_task(surface.edit(address, message_id, "one two", controls=GROWING))
    await slack.until(lambda: hanging.hits)
    growing.cancel()
    await asyncio.wait({growing})
    hanging.release()
    await surface.edit(address, message_id, "one two three", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two three"


@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
async def test_a_stream_goes_on_after_a_rate_limit(surface, slack, ada, address, method):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    slack.fail(method, status=429, retry_after=7)
    controls = GROWING if method == "chat.appendStream" else FINISHED
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.edit(address, message_id, "one two", controls=controls)
    assert delayed.value.retry_after == timedelta(seconds=7)
    await surface.edit(address, message_id, "one two", controls=controls)
    assert text_of(answers(ada.dm)[0]) == "one two"
    assert "update" not in asked(slack)


async def test_a_stream_that_was_deleted_is_gone(surface, slack, ada, address):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await ada.delete(answers(ada.dm)[0])
    with pytest.raises(MessageGone):
        await surface.edit(address, message_id, "one two", controls=GROWING)
    with pytest.raises(MessageGone):
        await surface.edit(address, message_id, "one two", controls=FINISHED)


async def test_blocks_that_are_refused_at_the_end_cost_the_feedback_buttons_only(surface, slack, ada, address):
    slack.fail("chat.*", error="invalid_blocks", times=9, when=lambda call: "feedback_buttons" in str(call.body))
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one two"
    assert answers(ada.dm)[0].buttons == ["parley_retry", "parley_continue"]
    assert answers(ada.dm)[0].blocks[0]["type"] == "markdown"


async def test_what_was_rich_text_stays_rich_text_with_all_its_text(surface, slack, ada, clock, address):
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await clock.advance(timedelta(minutes=4))
    slack.fail("chat.update", error="block_mismatch", when=lambda call: "markdown" in str(call.body["blocks"]))
    await surface.edit(address, message_id, "one **two**", controls=FINISHED)
    assert text_of(answers(ada.dm)[0]) == "one **two**"
    assert answers(ada.dm)[0].buttons[0] == "parley_retry"


async def test_a_place_that_is_gone_is_not_posted_to_either(surface, slack, address):
    slack.fail("chat.startStream", error="channel_not_found")
    with pytest.raises(Unreachable):
        await surface.post(address, "one", nonce="n1", controls=GROWING)
    assert asked(slack) == ["startStream"]


# Budgets


async def test_a_stream_draws_on_a_budget_of_its_own(surface, clock, address):
    updates = surface.budget(address, Write.EDIT)
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    appends = surface.budget(address, Write.EDIT)
    assert (updates.name, appends.name) == (
        f"slack/{address.workspace}/chat.update",
        f"slack/{address.workspace}/chat.appendStream",
    )
    assert timedelta(minutes=1) / appends.pace <= 100
    assert timedelta(minutes=1) / updates.pace <= 50
    await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert surface.budget(address, Write.EDIT) == updates


async def test_an_old_stream_draws_on_the_budget_of_updates(surface, clock, address):
    updates = surface.budget(address, Write.EDIT)
    await surface.post(address, "one", nonce="n1", controls=GROWING)
    await clock.advance(timedelta(minutes=4))
    assert surface.budget(address, Write.EDIT) == updates
