"""The real AsyncApp hears what people do, over both transports, and Slack sends again what is not acknowledged."""

import asyncio
import contextlib
import json
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.fakes.slack import FakeSlack
from tests.fakes_slack.bots import Run, bot, by_http, by_socket

pytestmark = pytest.mark.anyio

SOON, SECOND = timedelta(milliseconds=150), timedelta(seconds=1)
both_transports = pytest.mark.parametrize("run", [by_socket, by_http])


def quick(*, ack_limit: timedelta = SOON) -> FakeSlack:
    return FakeSlack(ack_limit=ack_limit, retry_after=[timedelta(milliseconds=1)] * 3)


@both_transports
async def test_a_bot_hears_a_mention_and_answers_it(run: Run) -> None:
    async with FakeSlack() as slack, bot(slack, run) as (_, heard):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)

        async def answer(event: Any, say: Any) -> None:
            if event["type"] == "app_mention":
                await say("Hi!", thread_ts=event["ts"])

        heard.answer = answer
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await slack.until(lambda: len(general.messages) == 2)
        assert [message.shown for message in general.thread(said)] == [said.text, "Hi!"]
        assert general.messages[1].author is slack.workspace.bot


@both_transports
async def test_a_mention_is_two_events_with_ids_of_their_own(run: Run) -> None:
    async with FakeSlack() as slack, bot(slack, run) as (_, heard):
        ada = slack.workspace.user("Ada")
        await ada.say(slack.workspace.channel("general", ada), f"{slack.workspace.bot.mention} a < b & c")
        await slack.until(lambda: len(heard) == 2)
        assert {event["type"] for event in heard} == {"message", "app_mention"}
        assert heard[0]["ts"] == heard[1]["ts"]
        assert heard[0]["client_msg_id"] == heard[1]["client_msg_id"]
        assert heard[0]["text"] == f"{slack.workspace.bot.mention} a &lt; b &amp; c"
        assert len({delivery.payload["event_id"] for delivery in slack.deliveries}) == 2
        await slack.until(lambda: slack.quiet)
        assert all(attempt.acked_after < timedelta(seconds=3) for attempt in slack.acks)


@both_transports
async def test_an_event_that_is_not_acknowledged_comes_four_times_with_one_id(run: Run) -> None:
    async with quick() as slack, bot(slack, run) as (app, heard):
        ada = slack.workspace.user("Ada")

        @app.middleware
        async def refuse() -> None:
            heard.append({"type": "refused"})
            raise RuntimeError("not now")

        @app.error
        async def keep_quiet() -> None:
            return None

        await ada.say(ada.dm, "hello")
        await slack.until(lambda: slack.deliveries and slack.quiet)
        await slack.until(lambda: len(heard) == 4)
        (delivery,) = slack.deliveries
        assert [attempt.number for attempt in delivery.attempts] == [0, 1, 2, 3]
        assert not delivery.acked


async def test_a_retry_over_http_says_that_it_is_one() -> None:
    async with quick(ack_limit=SECOND) as slack, bot(slack, by_http) as (app, _):
        ada, nums = slack.workspace.user("Ada"), []

        @app.middleware
        async def look(request: Any, next_: Any) -> None:
            nums.append((request.headers.get("x-slack-retry-num"), request.headers.get("x-slack-retry-reason")))
            if len(nums) == 1:
                await asyncio.sleep(1.2)
            await next_()

        await ada.say(ada.dm, "hello")
        await slack.until(lambda: slack.acks)
        assert nums == [(None, None), (["1"], ["http_timeout"])]


async def test_a_retry_over_a_socket_says_that_it_is_one() -> None:
    async with quick(ack_limit=SECOND) as slack, bot(slack) as (app, heard):
        ada, nums = slack.workspace.user("Ada"), []

        @app.middleware
        async def look(request: Any, next_: Any) -> None:
            nums.append(request.headers["x-slack-retry-num"])
            if len(nums) == 1:
                await asyncio.sleep(1.2)
            await next_()

        await ada.say(ada.dm, "hello")
        await slack.until(lambda: len(heard) == 2)
        assert nums == [["0"], ["1"]]
        assert slack.attempts[0].failure == "timeout"


async def test_an_event_that_nothing_listens_to_is_not_acknowledged() -> None:
    async with quick() as slack, bot(slack):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        said = await ada.say(general, "hello")
        await ada.react(said, "eyes")
        await slack.until(lambda: len(slack.deliveries) == 2 and slack.quiet)
        assert [delivery.acked for delivery in slack.deliveries] == [True, False]


async def test_several_sockets_share_the_events() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, one), bot(slack) as (_, two):
        ada = slack.workspace.user("Ada")
        await slack.until(lambda: len(slack.sockets) == 2)
        for number in range(6):
            await ada.say(ada.dm, str(number))
        await slack.until(lambda: len(one) + len(two) == 6)
        assert (len(one), len(two)) == (3, 3)


async def test_an_eleventh_socket_is_sent_away() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, _), contextlib.AsyncExitStack() as stack:
        greetings = []
        for _ in range(10):
            url = (await app.client.apps_connections_open(app_token=slack.app_token))["url"]
            socket = await stack.enter_async_context(app.client.session.ws_connect(url))
            greetings.append(await socket.receive_json())
        assert [greeting.get("num_connections") for greeting in greetings] == [*range(2, 11), None]
        assert greetings[-1]["reason"] == "too_many_websockets"


@pytest.mark.parametrize("how", ["drop", "refresh"])
async def test_a_bot_whose_socket_ends_comes_again_and_misses_nothing(how: str) -> None:
    run = partial(by_socket, ping_interval=1)
    async with FakeSlack() as slack, bot(slack, run) as (_, heard):
        ada = slack.workspace.user("Ada")
        await (slack.drop_sockets() if how == "drop" else slack.disconnect("refresh_requested"))
        await ada.say(ada.dm, "are you there?")
        await slack.until(lambda: heard)
        assert slack.socket_mode.connections == 2


async def test_a_silent_socket_is_found_out_by_the_bot() -> None:
    run, often = partial(by_socket, ping_interval=0.05), [timedelta(milliseconds=1)] * 60
    async with FakeSlack(ack_limit=SOON, retry_after=often) as slack, bot(slack, run) as (_, heard):
        ada = slack.workspace.user("Ada")
        await slack.silence_sockets()
        await ada.say(ada.dm, "are you there?")
        await slack.until(lambda: heard)
        assert slack.attempts[0].failure in ("timeout", "connection_closed")
        assert slack.socket_mode.connections >= 2


async def test_a_bad_signature_is_not_let_in_but_a_replay_is() -> None:
    async with FakeSlack() as slack, bot(slack, by_http) as (_, heard):
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await slack.until(lambda: slack.acks)
        (attempt,) = slack.acks
        assert await slack.replay(attempt) == 200
        await slack.until(lambda: len(heard) == 2)
        assert (await slack.send_signed(attempt.body, X_Slack_Signature="v0=bad"))[0] == 401
        assert (await slack.send_signed(attempt.body, X_Slack_Request_Timestamp="1700000000"))[0] == 401
        assert (await slack.send_signed(attempt.body, X_Slack_Request_Timestamp="soon"))[0] == 500  # Bolt's own slip
        assert len(heard) == 2


async def test_slack_verifies_the_address() -> None:
    async with FakeSlack() as slack, bot(slack, by_http):
        body = json.dumps({"type": "url_verification", "challenge": "abc", "token": "t"}).encode()
        status, text = await slack.send_signed(body)
        assert (status, json.loads(text)) == (200, {"challenge": "abc"})


async def test_events_can_be_held_shuffled_and_sent_often() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")
        slack.copies = 3
        await slack.hold_events()
        first, second = await ada.say(ada.dm, "one"), await ada.say(ada.dm, "two")
        await slack.release_events(lambda held: held[::-1])
        await slack.until(lambda: len(heard) == 6)
        assert [delivery.event["text"] for delivery in slack.deliveries] == ["two"] * 3 + ["one"] * 3
        assert Counter(event["text"] for event in heard) == {"two": 3, "one": 3}  # Bolt takes them in any order
        assert first.ts < second.ts
        assert len({delivery.payload["event_id"] for delivery in slack.deliveries}) == 2


async def test_without_the_scope_or_the_subscription_there_is_no_event() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")
        general, inner = slack.workspace.channel("general", ada), slack.workspace.channel("inner", ada, kind="private")
        slack.workspace.scopes.discard("channels:history")
        slack.unsubscribed.add("message.groups")
        await ada.say(general, "not heard")
        await ada.say(inner, "not heard")
        await ada.say(slack.workspace.channel("far", ada, with_bot=False), "not heard")
        await ada.say(ada.dm, "heard")
        await slack.until(lambda: heard)
        assert [event["text"] for event in heard] == ["heard"]


async def test_what_a_bot_died_over_comes_to_its_successor() -> None:
    async with FakeSlack(retry_after=[timedelta()]) as slack:
        ada = slack.workspace.user("Ada")
        async with bot(slack) as (app, _):
            held = asyncio.Event()

            @app.middleware
            async def never(next_: Any) -> None:
                await held.wait()
                await next_()

            await ada.say(ada.dm, "hello")
            await slack.until(lambda: slack.attempts)
        async with bot(slack) as (_, heard):
            await slack.until(lambda: heard)
            assert [attempt.failure for attempt in slack.attempts] == ["connection_closed", None]
            held.set()


async def test_twenty_copies_of_an_event_that_nobody_hears_end_with_the_fake() -> None:
    async with FakeSlack() as slack:
        ada = slack.workspace.user("Ada")
        slack.copies = 20
        await ada.say(ada.dm, "is anybody there?")
        await slack.until(lambda: len(slack.deliveries) == 20)
        assert not slack.quiet
