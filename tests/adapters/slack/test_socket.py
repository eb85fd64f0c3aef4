"""Socket Mode: held up for ever, with no gap where Slack lets us; refusals are told and end it."""

import asyncio
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import pytest
import structlog

from bot.adapters.protocol import PlatformRefused
from bot.adapters.slack.socket import LONGEST_PAUSE, SILENCE
from tests.adapters.slack.listening import a_store, listening
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)


def named(lines: list[MutableMapping[str, Any]], name: str) -> list[MutableMapping[str, Any]]:
    return [line for line in lines if line["event"] == name]


async def test_a_socket_that_is_cut_is_replaced_and_what_was_said_meanwhile_is_heard_once() -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        await slack.drop_sockets()
        await ada.say(ada.dm, "are you there?")
        await ear.until(lambda: ear.taken)
        assert ear.texts == ["are you there?"]
        await ear.heard(slack)
        assert len(slack.sockets) == 1


async def test_a_planned_move_opens_the_next_socket_before_it_closes_the_old_one() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        (old,) = slack.sockets
        for _ in range(11):
            await ear.clock.advance(SECOND)
        most = 0
        await slack.disconnect("warning")

        def moved() -> bool:
            nonlocal most
            most = max(most, len(slack.sockets))
            return len(slack.sockets) == 1 and slack.sockets[0] is not old

        await ear.until(moved)
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        assert ear.texts == ["hello"]
        assert slack.socket_mode.connections == 2
        assert [attempt.number for attempt in slack.attempts] == [0]


@pytest.mark.parametrize("reason", ["refresh_requested", "warning", "link_disabled"])
async def test_every_disconnect_leads_to_a_new_socket(reason: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        (old,) = slack.sockets
        await slack.disconnect(reason)
        await ear.until(lambda: slack.sockets and old not in slack.sockets)
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        assert ear.texts == ["hello"]


async def test_a_socket_that_falls_silent_is_replaced_within_a_minute_and_what_it_swallowed_is_read() -> None:
    async with (
        FakeSlack(retry_after=[timedelta(hours=1)], ack_limit=timedelta(milliseconds=200)) as slack,
        a_store() as store,
        listening(slack, store, ping_seconds=1000) as ear,
    ):
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        await ada.say(ada.dm, "one")
        await ear.until(lambda: ear.taken)
        (old,) = slack.sockets
        await slack.silence_sockets()
        await ada.say(ada.dm, "two")
        with structlog.testing.capture_logs() as lines:
            began = ear.clock.monotonic()
            await ear.until(lambda: old not in slack.sockets and slack.sockets, step=SECOND)
            took = ear.clock.monotonic() - began
        assert SILENCE <= took <= SILENCE + timedelta(seconds=20)
        assert [line["reason"] for line in named(lines, "slack.reconnecting")] == ["the socket has gone silent"]
        await ear.until(lambda: len(ear.taken) == 2, step=SECOND)
        assert ear.texts == ["one", "two"]


async def test_a_pong_is_enough_to_show_that_a_socket_lives() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, ping_seconds=4) as ear:
        await ear.until(lambda: slack.sockets)
        (socket,) = slack.sockets
        for _ in range(12):  # two minutes, with a pong every forty seconds
            await ear.clock.advance(timedelta(seconds=10))
            # aiohttp itself ends a socket whose pong takes half of the time between pings: a busy machine may need seconds.
            await asyncio.sleep(1)
        assert slack.sockets == [socket]


async def test_while_slack_gives_no_address_the_pauses_grow_and_end_at_a_minute() -> None:
    async with FakeSlack(limits={"apps.connections.open": 1000}) as slack, a_store() as store:
        slack.refuse_sockets(times=9)
        with structlog.testing.capture_logs() as lines:
            async with listening(slack, store) as ear:
                await ear.until(lambda: slack.sockets, step=SECOND)
        waits = [line["seconds"] for line in named(lines, "slack.reconnecting")]
        assert len(waits) == 9
        assert waits[0] < waits[1] < waits[2] < waits[3]
        assert max(waits) <= 1.2 * LONGEST_PAUSE.total_seconds()


@pytest.mark.parametrize("error", ["invalid_auth", "not_allowed_token_type", "missing_scope"])
async def test_an_app_token_that_slack_refuses_ends_it_and_is_named(error: str) -> None:
    async with FakeSlack() as slack, a_store() as store:
        slack.fail("apps.connections.open", error=error)
        async with listening(slack, store) as ear:
            assert ear.running is not None
            with pytest.raises(PlatformRefused, match="SLACK_APP_TOKEN") as caught:
                await ear.running
            assert error in str(caught.value)
            assert slack.app_token not in str(caught.value)


async def test_a_bot_token_in_place_of_the_app_token_is_refused() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, app_token=slack.bot_token) as ear:
        assert ear.running is not None
        with pytest.raises(PlatformRefused, match="xapp-"):
            await ear.running


async def test_another_instance_on_the_same_app_is_told_of() -> None:
    async with FakeSlack() as slack, a_store() as store:
        with structlog.testing.capture_logs() as lines:
            async with listening(slack, store) as first:
                await first.until(lambda: slack.sockets)
                await first.clock.advance(SECOND)
                assert named(lines, "slack.other_instances") == []
                async with listening(slack, store) as second:
                    await second.until(lambda: len(slack.sockets) == 2)
                    await second.until(lambda: named(lines, "slack.other_instances"))
        assert [line["connections"] for line in named(lines, "slack.other_instances")] == [1]


async def test_first_deliveries_are_not_taken_for_repetitions() -> None:
    async with FakeSlack(retry_after=[timedelta()]) as slack, a_store() as store:
        with structlog.testing.capture_logs() as lines:
            async with listening(slack, store) as ear:
                ada = slack.workspace.user("Ada")
                await ear.until(lambda: slack.sockets)
                await ada.say(ada.dm, "hello")
                await ear.heard(slack)
                assert named(lines, "slack.redelivered") == []


async def test_closing_leaves_no_socket_behind_also_one_that_is_dead() -> None:
    async with FakeSlack() as slack, a_store() as store:
        async with listening(slack, store) as ear:
            await ear.until(lambda: slack.sockets and ear.socket is not None and ear.socket.up)
            await slack.silence_sockets()
            assert ear.socket is not None
            await ear.until(asyncio.ensure_future(ear.socket.close()).done)
            assert not ear.socket.up
        await slack.until(lambda: not slack.sockets)
