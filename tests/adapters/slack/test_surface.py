"""The Slack surface against a Slack on the wire: what people see, what they do not, and what trouble makes of it."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.blocks import Dialect
from bot.adapters.slack.writing import Writing
from bot.chat.protocol import (
    Address,
    DeliveryDelayed,
    DeliveryError,
    MessageGone,
    OutcomeUnknown,
    Unreachable,
    Write,
)
from tests.adapters.growing import FINISHED, GROWING
from tests.adapters.slack.showing import answers, below, surface_on, text_of
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack
from tests.uncollected import uncollected

pytestmark = pytest.mark.anyio

SECRET = "a text that nobody else may read"


# Where an answer stands


async def test_an_answer_stands_in_the_thread_or_beside_the_question(surface, general, question, address):
    await surface.post(address, "in it", nonce="n1")
    await surface.post(below(question, thread=False), "beside", nonce="n2")
    assert [(text_of(message), message.thread_ts) for message in answers(general)] == [
        ("in it", question.ts),
        ("beside", None),
    ]


async def test_a_message_says_nothing_to_other_apps_but_its_nonce(surface, general, address):
    await surface.post(address, "Hello!", nonce="n1")
    assert answers(general)[0].metadata == {"event_type": "parley_part", "event_payload": {"nonce": "n1"}}


# Pings and links


async def test_nothing_that_a_model_writes_pings_anybody_or_unfolds(surface, slack, ada, general, address):
    bob = slack.workspace.user("Bob")
    general.join(bob)
    group = slack.workspace.group(bob)
    text = f"<!channel> <!here> {bob.mention} {group} @channel https://example.com `{bob.mention}` [<!everyone>](https://a.example)"
    message_id = await surface.post(address, text, nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, f"{text}!", controls=FINISHED)
    await surface.post_file(address, "@channel <!here>.md", text, nonce="n2")
    await surface.post(below(await ada.say(ada.dm, "hi")), text, nonce="n3", controls=GROWING)
    assert len(answers(general)) == 2
    assert slack.pings == []
    assert slack.unfurled == []
    for call in slack.asked("chat.postMessage"):
        assert (call.body["unfurl_links"], call.body["unfurl_media"], call.body["parse"]) == (False, False, "none")
        assert "link_names" not in call.body


# Buttons


async def test_buttons_stand_under_the_answer_and_go(surface, general, address):
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    [message] = answers(general)
    assert message.buttons == ["parley_stop"]
    await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert message.buttons == ["parley_retry", "parley_continue", "parley_feedback"]
    await surface.edit(address, message_id, "Hello!")
    assert message.buttons == []


async def test_a_press_tells_the_turn(slack, surface, ada, general, address):
    await surface.post(address, "Hello!", nonce="n1", controls=FINISHED)
    values = {element["action_id"]: element.get("value") for element in answers(general)[0].blocks[1]["elements"]}
    assert values == {"parley_retry": "7:n1", "parley_continue": "7:n1"}


# What a workspace takes


async def test_a_workspace_without_markdown_blocks_gets_mrkdwn(slack, surface, general, address):
    refused = slack.fail(
        "chat.*", error="invalid_blocks", times=99, when=lambda call: "'markdown'" in str(call.body.get("blocks"))
    )
    message_id = await surface.post(address, "**bold** & <b>", nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, "**bolder**", controls=FINISHED)
    await surface.post(address, "# A title", nonce="n2")
    assert [message.blocks[0]["text"]["text"] for message in answers(general)] == ["*bolder*", "*A title*"]
    assert answers(general)[0].buttons[0] == "parley_retry"
    assert refused.hits == 2  # once with and once without the newest buttons


async def test_one_message_that_slack_does_not_like_is_no_verdict_for_ever(slack, general, address):
    clock = FakeClock()
    async with surface_on(slack, clock) as surface:
        slack.fail("chat.postMessage", error="invalid_blocks", times=2)
        for number in range(2):
            await surface.post(address, "**bold**", nonce=f"n{number}", controls=FINISHED)
        await clock.advance(timedelta(hours=1))
        await surface.post(address, "**bold**", nonce="n3", controls=FINISHED)
    kinds = [[block["type"] for block in message.blocks] for message in answers(general)]
    assert kinds == [["section", "actions"]] * 2 + [["markdown", "actions", "context_actions"]]


def test_what_slack_points_at_is_left_out_first():
    assert Dialect().without("/blocks/0/text") == Dialect(markdown=False)
    assert Dialect().without("/blocks/2") == Dialect(feedback=False)
    assert Dialect(markdown=False).without("/blocks/0") == Dialect(markdown=False, feedback=False)
    assert Dialect(markdown=False, feedback=False).without("") is None


async def test_blocks_that_are_refused_in_every_form_are_an_error_with_a_name(slack, surface, address):
    slack.fail("chat.postMessage", error="invalid_blocks", times=99)
    with pytest.raises(SlackRefused, match="invalid_blocks"):
        await surface.post(address, "Hello!", nonce="n1")


# Once, and only once


@pytest.mark.parametrize("trouble", [{"cut": True}, {"status": 502}, {"error": "fatal_error"}, {"error": "internal_error"}])
async def test_a_post_whose_answer_is_lost_leaves_one_message_that_is_found(slack, surface, general, address, trouble):
    slack.fail("chat.postMessage", after_effect=True, **trouble)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1")
    [message] = answers(general)
    assert len(slack.asked("chat.postMessage")) == 1
    assert await surface.find(address, nonce="n1", text="a later text") == message.ts


async def test_a_post_that_did_not_arrive_is_not_found(slack, surface, address):
    slack.fail("chat.postMessage", cut=True)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1")
    assert await surface.find(address, nonce="n1", text="Hello!") is None


async def test_a_call_that_was_cut_is_out_of_memory_at_once(slack, surface, address):
    slack.fail("chat.postMessage", cut=True, times=2)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1")
    with uncollected() as left:
        with pytest.raises(OutcomeUnknown):
            await surface.post(address, "Hello!", nonce="n2")
        assert left(aiohttp.JsonPayload, Writing) == []


@pytest.mark.parametrize("trouble", [{"cut": True}, {"status": 500}, {"error": "fatal_error"}])
async def test_an_edit_whose_answer_is_lost_may_be_repeated(slack, surface, general, address, trouble):
    message_id = await surface.post(address, "one", nonce="n1")
    slack.fail("chat.update", after_effect=True, **trouble)
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "two")
    await surface.edit(address, message_id, "two")
    assert [text_of(message) for message in answers(general)] == ["two"]


async def test_no_call_takes_longer_than_its_limit(slack, address):
    clock = FakeClock()
    async with surface_on(slack, clock) as surface:
        hanging = slack.hang("chat.postMessage")
        posting = asyncio.create_task(surface.post(address, "Hello!", nonce="n1"))
        await slack.until(lambda: hanging.hits)
        await clock.advance(timedelta(seconds=14))
        assert not posting.done()
        await clock.advance(timedelta(seconds=1))
        with pytest.raises(OutcomeUnknown):
            await posting


async def test_a_slack_that_is_away_surely_took_nothing(address):
    async with FakeSlack() as away:
        pass
    async with surface_on(away) as surface:
        with pytest.raises(DeliveryDelayed):
            await surface.post(address, "Hello!", nonce="n1")


# Trouble


@pytest.mark.parametrize(
    "error",
    [
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "restricted_action",
        "restricted_action_thread_only_channel",
        "account_inactive",
        "token_revoked",
        "invalid_auth",
        "user_not_found",
        "cannot_dm_bot",
        "messages_tab_disabled",
        "missing_scope",
        "thread_not_found",
    ],
)
async def test_a_place_that_is_gone_is_out_of_reach(slack, surface, address, error):
    slack.fail("chat.postMessage", error=error)
    with pytest.raises(Unreachable, match=error):
        await surface.post(address, "Hello!", nonce="n1")


async def test_an_uninstalled_app_is_out_of_reach(slack, surface, address):
    await slack.workspace.uninstall()
    with pytest.raises(Unreachable):
        await surface.post(address, "Hello!", nonce="n1")


@pytest.mark.parametrize("trouble", [{"status": 429, "retry_after": 7}, {"error": "ratelimited"}])
async def test_slack_may_ask_to_wait(slack, surface, address, trouble):
    slack.fail("chat.postMessage", **trouble)
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.post(address, "Hello!", nonce="n1")
    assert delayed.value.retry_after == timedelta(seconds=trouble.get("retry_after", 1))


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message"])
async def test_an_edit_of_what_is_not_there_says_so(slack, surface, address, error):
    message_id = await surface.post(address, "one", nonce="n1")
    slack.fail("chat.update", error=error)
    with pytest.raises(MessageGone):
        await surface.edit(address, message_id, "two")


async def test_a_workspace_that_lets_nobody_edit_is_told_the_remedy(slack, surface, address):
    message_id = await surface.post(address, "one", nonce="n1")
    slack.edit_window = timedelta()
    with pytest.raises(DeliveryError, match="allow messages to be edited"):
        await surface.edit(address, message_id, "two")


@pytest.mark.parametrize("error", ["msg_too_long", "msg_blocks_too_long", "something_new"])
async def test_other_refusals_are_named_and_tell_no_text_and_no_token(slack, surface, address, error):
    slack.fail("chat.postMessage", error=error)
    with pytest.raises(DeliveryError, match=error) as refused:
        await surface.post(address, SECRET, nonce="n1")
    assert SECRET not in str(refused.value)
    assert slack.bot_token not in str(refused.value)


async def test_a_message_with_replies_can_be_deleted_and_deleting_again_is_no_error(surface, ada, general, question):
    address = below(question, thread=False)
    message_id = await surface.post(address, "Hello!", nonce="n1")
    await ada.say(general, "thanks", thread=message_id)
    for _ in range(2):
        await surface.delete(address, message_id)


# Budgets


async def test_posts_count_by_channel_and_updates_by_workspace(surface, slack):
    here = Address(platform="slack", workspace="T1", channel="C1", thread="1.1")
    there = Address(platform="slack", workspace="T1", channel="C2")
    elsewhere = Address(platform="slack", workspace="T2", channel="C1")
    assert surface.budget(here, Write.POST) != surface.budget(there, Write.POST)
    assert surface.budget(here, Write.EDIT) == surface.budget(there, Write.EDIT)
    assert surface.budget(here, Write.EDIT) != surface.budget(elsewhere, Write.EDIT)
    assert surface.budget(here, Write.DELETE) == surface.budget(there, Write.DELETE)
    assert timedelta(minutes=1) / surface.budget(here, Write.EDIT).pace <= 50
    assert len({surface.budget(here, write).name for write in Write}) == 3
