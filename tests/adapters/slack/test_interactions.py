"""Who made an interaction and where, and the work behind its acknowledgement: once, tracked, and drained."""

import asyncio
from typing import Any

import pytest
from slack_bolt.context.async_context import AsyncBoltContext
from structlog.testing import capture_logs

from bot.adapters.slack.interactions import PATIENCE, Afterwards, Interactions, actor_of, workspace_of
from bot.chat.protocol import DeliveryError, Place
from store import open_store
from tests.chat.chatting import until
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

ADA = AsyncBoltContext({"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": False, "user_id": "U1"})


def pressed_on(channel: str, ts: str, thread_ts: str | None = None) -> dict[str, Any]:
    container = {"type": "message", "message_ts": ts, "channel_id": channel} | (
        {"thread_ts": thread_ts} if thread_ts else {}
    )
    return {"channel": {"id": channel}, "container": container}


@pytest.mark.parametrize(
    ("body", "place", "thread", "reply_to"),
    [
        ({"channel_id": "C1"}, Place.CHANNEL, "", ""),
        ({"channel_id": "D1"}, Place.DIRECT, "", ""),
        (pressed_on("C1", "2.000000", "1.000000"), Place.THREAD, "1.000000", "2.000000"),
        (pressed_on("C1", "1.000000", "1.000000"), Place.CHANNEL, "", "1.000000"),
        (pressed_on("D1", "2.000000", "1.000000"), Place.DIRECT, "1.000000", "2.000000"),
        (pressed_on("D1", "1.000000", "1.000000"), Place.DIRECT, "", "1.000000"),
        ({"channel": {"id": "C1"}, "message": {"ts": "2.0", "thread_ts": "1.0"}}, Place.THREAD, "1.0", "2.0"),
    ],
    ids=["command", "direct command", "in a thread", "on a root", "in a direct thread", "on a direct root", "shortcut"],
)
def test_an_interaction_is_made_where_its_message_stands(
    body: dict[str, Any], place: Place, thread: str, reply_to: str
) -> None:
    actor = actor_of(body, ADA)
    assert (actor.place, actor.author_id) == (place, "U1")
    assert (actor.address.workspace, actor.address.thread, actor.address.reply_to) == ("T1", thread, reply_to)


def test_an_installation_for_a_whole_enterprise_is_one_workspace() -> None:
    everywhere = AsyncBoltContext({"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": True, "user_id": "U1"})
    assert (workspace_of(ADA), workspace_of(everywhere)) == ("T1", "E1")


async def test_closing_waits_for_what_was_begun() -> None:
    afterwards, go_on, done = Afterwards(FakeClock()), asyncio.Event(), list[str]()

    async def work() -> None:
        await go_on.wait()
        done.append("answered")

    afterwards.begin("command", work)
    closing = asyncio.create_task(afterwards.close())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing
    assert done == ["answered"]


async def test_closing_does_not_wait_for_ever() -> None:
    clock = FakeClock()
    afterwards, ended = Afterwards(clock), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cut short")

    afterwards.begin("command", work)
    closing = asyncio.create_task(afterwards.close())
    await until(lambda: clock.sleeping == 1)
    await clock.advance(PATIENCE)
    await closing
    assert ended == ["cut short"]


async def test_work_that_fails_is_a_line_in_the_log_and_hurts_nobody_else() -> None:
    afterwards, done = Afterwards(FakeClock()), list[str]()

    async def refused() -> None:
        raise DeliveryError("Slack refuses it")

    async def broken() -> None:
        raise RuntimeError

    async def fine() -> None:
        done.append("fine")

    with capture_logs() as logs:
        for work in (refused, broken, fine):
            afterwards.begin("home", work)
        await afterwards.close()
    assert done == ["fine"]
    assert {line["event"]: line["log_level"] for line in logs} == {
        "interaction.not_finished": "warning",
        "interaction.failed": "error",
    }


async def test_an_interaction_is_carried_out_once_also_by_two_processes() -> None:
    clock, done = FakeClock(), list[str]()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    both = [Afterwards(clock), Afterwards(clock)]

    async def work() -> None:
        done.append("done")

    try:
        for afterwards in both:
            Interactions(store, clock, afterwards).begin("press", {"trigger_id": "1.2.abc"}, work)
        for afterwards in both:
            await afterwards.close()
    finally:
        await store.aclose()
    assert done == ["done"]


async def test_a_store_that_fails_does_not_keep_people_from_being_told() -> None:
    clock, done = FakeClock(), list[str]()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    await store.aclose()
    afterwards = Afterwards(clock)

    async def work() -> None:
        done.append("told")

    Interactions(store, clock, afterwards).begin("press", {"trigger_id": "1.2.abc"}, work)
    await afterwards.close()
    assert done == ["told"]
