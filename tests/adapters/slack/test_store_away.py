"""While the store is away: people hear of it once, nothing is acknowledged, and all of it is taken in when it is back."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from bot.adapters.slack import put_off
from bot.adapters.slack.inbound import Us
from bot.adapters.slack.watermarks import INTERVAL
from bot.chat.away import PATIENCE, STEP
from bot.chat.policy import Rules
from bot.chat.protocol import DeliveryDelayed
from bot.chat.words import STORE_AWAY
from store import StoreUnavailable
from tests.adapters.slack.listening import HTTP, SOCKET, Ear, a_store, listening
from tests.adapters.slack.test_replicas import ears
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
BOTH = pytest.mark.parametrize("by", [SOCKET, HTTP])


def said(ear: Ear) -> list[tuple[str, str]]:
    """What people were told: channel and text."""
    return [(channel, shown.text) for (_, channel, _), shown in ear.surface.everything()]


async def up(ear: Ear, slack: FakeSlack) -> None:
    slack.ack_limit = SECOND / 4  # what is not acknowledged by a socket is waited for so long, in real time
    await ear.until(lambda: ear.socket is None or slack.sockets)


@BOTH
async def test_what_slack_has_given_up_is_taken_in_when_the_store_is_back_and_its_channel_was_told_once(by: str) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await up(ear, slack)
        ear.away = True
        first = await ada.say(general, f"{slack.workspace.bot.mention} first")
        await ear.heard(slack)
        await ear.clock.advance(PATIENCE + SECOND)
        await ear.until(lambda: said(ear))
        await ada.say(general, f"{slack.workspace.bot.mention} second")
        await ear.heard(slack)
        await ear.clock.advance(2 * MINUTE)
        await ear.until(lambda: ear.socket is None or ear.socket.up)
        assert said(ear) == [(general.id, STORE_AWAY)]
        await ada.edit(first, f"{slack.workspace.bot.mention} first, mended")
        await ear.heard(slack)
        assert not any(delivery.acked for delivery in slack.deliveries if delivery.event.get("subtype") is None)
        ear.away = False

        async def mended() -> bool:
            return [await ear.history(message) for message in ear.taken] == [["first, mended"], ["second"]]

        await ear.until(mended)
        await ear.clock.advance(MINUTE)
        assert len(ear.taken) == 2
        assert said(ear) == [(general.id, STORE_AWAY)]


async def test_a_store_that_is_back_within_seconds_is_not_spoken_of() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        ada = slack.workspace.user("Ada")
        await up(ear, slack)
        ear.away = True
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        ear.away = False
        await ear.until(lambda: ear.texts == ["hello"])
        assert said(ear) == []


async def test_nobody_is_told_for_what_is_not_said_to_us_or_by_somebody_who_may_not_speak() -> None:
    async with (
        FakeSlack(retry_after=[]) as slack,
        a_store() as store,
        listening(slack, store, by=HTTP, rules=Rules(bots=True), admit=()) as ear,
    ):
        ada, guest = slack.workspace.user("Ada"), slack.workspace.user("Gil", guest=True)
        robot = slack.workspace.user("robot", bot=True)
        general = slack.workspace.channel("general", ada, guest, robot)
        await up(ear, slack)
        ear.away = True
        await ada.say(general, "not to you")
        await guest.say(general, f"{slack.workspace.bot.mention} I am a guest")
        await robot.say(general, f"{slack.workspace.bot.mention} I am a bot")
        await ear.heard(slack)
        await ear.clock.advance(MINUTE)
        assert STORE_AWAY not in [text for _, text in said(ear)]


async def test_of_two_replicas_one_tells() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, ears(slack, store) as (one, two):
        await up(one, slack)
        ada = slack.workspace.user("Ada")
        one.away = two.away = True
        await ada.say(ada.dm, "hello")
        await ada.say(ada.dm, "are you there?")
        await one.until(lambda: one.offered and two.offered, step=timedelta())
        await one.clock.advance(PATIENCE + 3 * STEP)
        assert said(one) == [(ada.dm.id, STORE_AWAY)]
        one.away = two.away = False
        await one.until(lambda: sorted(one.texts + two.texts) == ["are you there?", "hello"])
        await one.clock.advance(MINUTE)
        assert len(one.taken + two.taken) == 2


async def test_more_than_fits_into_memory_is_read_from_slack_when_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put_off, "MOST", 2)
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await up(ear, slack)
        await ada.say(ada.dm, "begin")
        await ear.until(lambda: ear.taken)
        ear.away = True
        for number in range(6):
            await ada.say(ada.dm, f"{number}")
        await ear.heard(slack)
        ear.away, back_at = False, ear.clock.monotonic()
        await ear.until(lambda: len(ear.taken) == 7)
        assert ear.clock.monotonic() - back_at < MINUTE, "and not when the next connection is made"
        assert sorted(ear.texts) == ["0", "1", "2", "3", "4", "5", "begin"]


async def test_a_deletion_that_could_not_be_kept_is_made_up_for() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await up(ear, slack)
        said = await ada.say(ada.dm, "forget this")
        await ear.until(lambda: ear.taken)
        retract, away = store.retract, [True]

        async def failing(names: object) -> tuple[int, ...]:
            if away:
                ear.away = True
                raise StoreUnavailable("the store is away")
            return await retract(names)  # type: ignore[arg-type]

        store.retract = failing  # type: ignore[method-assign]
        await ada.delete(said)
        await ear.heard(slack)
        assert await ear.history(ear.taken[0]) == ["forget this"]
        away.clear()
        ear.away = False

        async def erased() -> bool:
            return await ear.history(ear.taken[0]) == []

        await ear.until(erased)


async def test_what_slack_does_not_tell_of_for_long_is_brought_with_growing_pauses_until_it_is_taken() -> None:
    clock, tries, away = FakeClock(), list[timedelta](), [True]
    taken = asyncio.Event()

    async def take(event: object, us: Us, *, event_id: str, delivery: int = 0) -> None:
        if away:
            raise StoreUnavailable("the store is away")
        tries.append(clock.monotonic())
        if not taken.is_set():
            raise DeliveryDelayed("Slack does not tell who said it just now", retry_after=SECOND)

    waiting = put_off.PutOff(take, clock, failed=lambda: None, missed=lambda: None)
    with pytest.raises(StoreUnavailable):
        await waiting.take({}, Us(workspace="T1", user_id="U1", bot_id="B1"), event_id="E1")
    away.clear()
    former, bringing = asyncio.create_task(waiting.bring()), asyncio.create_task(waiting.bring())
    for _ in range(3600):
        await clock.advance(SECOND)
    assert former.done(), "another outage has been made up for since"
    assert len(waiting) == 1
    pauses = [later - sooner for sooner, later in pairwise(sorted(set(tries)))]
    assert pauses == sorted(pauses)
    assert pauses[0] == put_off.ASK_AGAIN
    assert pauses[-1] == put_off.LONGEST_PAUSE
    taken.set()
    for _ in range(int(put_off.LONGEST_PAUSE / SECOND)):
        await clock.advance(SECOND)
    assert bringing.done()
    assert len(waiting) == 0


@pytest.mark.parametrize(("minutes", "read"), [(7, True), (2, False)])
async def test_what_another_replica_has_put_off_and_taken_along_is_read_here_when_the_store_was_away_for_long(
    minutes: int, read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slack signs by real time, of which ours may be off by five minutes: before it at first, and behind it at the end.
    clock = FakeClock(start=datetime.now(UTC) - 4 * MINUTE)
    async with (
        FakeSlack(retry_after=[]) as slack,
        a_store() as store,
        listening(slack, store, by=HTTP, replicated=True, clock=clock) as ear,
    ):
        ada, away, check = slack.workspace.user("Ada"), [False], store.check

        async def checked() -> None:
            if away[0]:
                raise StoreUnavailable("the store is away")
            await check()

        async def passes(time: timedelta) -> None:
            for _ in range(time // INTERVAL):
                await ear.clock.advance(INTERVAL)
                await ear.marks.write()

        monkeypatch.setattr(store, "check", checked)
        await ada.say(ada.dm, "begin", at=ear.clock.now() - timedelta(hours=1))
        await ear.until(lambda: ear.taken)
        await ear.caught_up()
        await passes(MINUTE)
        away[0] = ear.away = True
        # Slack dealt it to the other one, which could not keep it either, and died before the store was back.
        await ada.say(ada.dm, "put off", at=ear.clock.now(), heard=False)
        await passes(timedelta(minutes=minutes))
        away[0] = ear.away = False
        await ada.say(ada.dm, "further on", at=ear.clock.now())
        await ear.until(lambda: "further on" in ear.texts)
        await passes(MINUTE)
        await ear.caught_up()
        assert ("put off" in ear.texts) is read
