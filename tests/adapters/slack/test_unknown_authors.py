"""Messages whose authors Slack does not tell of just now: none is lost, none is let in by a guess."""

from datetime import timedelta

import pytest

from bot.adapters.slack.people import FRESH
from bot.chat.access import Refusal
from bot.chat.words_governing import REFUSALS
from tests.adapters.slack.interactive import interactive, texts, whispers
from tests.adapters.slack.listening import a_store, listening
from tests.fakes.slack import FakeSlack
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio

both_transports = pytest.mark.parametrize("run", [by_socket, by_http])
failures = pytest.mark.parametrize("failure", [{"status": 500}, {"status": 429}, {"error": "internal_error"}])
AT_ONCE, SOON = (timedelta(),) * 3, timedelta(seconds=1.5)


@both_transports
@failures
async def test_a_lookup_that_fails_for_a_moment_costs_no_message(run: Run, failure: dict[str, object]) -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive("Hello.", slack=slack, run=run) as bot:
        ada = slack.workspace.user("Ada")
        slack.fail("users.info", **failure)  # type: ignore[arg-type]
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        assert texts(ada.dm) == ["Hello."]
        (delivery,) = [one for one in slack.deliveries if one.name == "message" and one.event.get("user") == ada.id]
        assert [attempt.acked for attempt in delivery.attempts] == [False, True]
        assert len(bot.model.prompts) == 1


@both_transports
async def test_who_may_not_speak_in_a_channel_is_told_so_alone(run: Run) -> None:
    async with interactive(run=run) as bot:
        gus = bot.slack.workspace.user("Gus", guest=True)
        general = bot.slack.workspace.channel("general", gus, bot.slack.workspace.user("Ada"))
        asked = await gus.say(general, f"{bot.slack.workspace.bot.mention} hello")
        await bot.until(lambda: whispers(gus))
        await bot.quiet()
        assert whispers(gus) == [REFUSALS[Refusal.GUEST]]
        assert texts(general) == []
        await gus.say(general, f"{bot.slack.workspace.bot.mention} hello?", thread=asked)
        await bot.quiet()
        assert len(gus.ephemerals) == 1


@both_transports
async def test_who_stays_unknown_is_told_so_at_the_last_delivery(run: Run) -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive(slack=slack, run=run) as bot:
        ada = slack.workspace.user("Ada")
        slack.fail("users.info", status=500, times=100)
        await ada.say(ada.dm, "hello")
        await bot.until(lambda: texts(ada.dm))
        assert texts(ada.dm) == [REFUSALS[Refusal.UNKNOWN]]
        (delivery,) = [one for one in slack.deliveries if one.event.get("user") == ada.id]
        assert [attempt.acked for attempt in delivery.attempts] == [False, False, False, True]
        assert await bot.history(ada.dm) == []


async def test_who_was_a_member_within_the_hour_is_answered_at_once() -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive("Hello.", "Again.", slack=slack) as bot:
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        await bot.clock.advance(FRESH)
        slack.fail("users.info", status=500, times=100)
        await ada.say(ada.dm, "once more")
        await bot.answered(ada.dm, 2)
        assert texts(ada.dm) == ["Hello.", "Again."]
        assert all(len(one.attempts) == 1 for one in slack.deliveries)


async def test_an_owner_whose_lookup_fails_operates_nothing_however_lately_they_did() -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive(slack=slack) as bot:
        ora = slack.workspace.user("Ora", owner=True)
        await ora.say(ora.dm, "!parley status")
        await bot.until(lambda: ora.ephemerals)
        assert "scripted" in whispers(ora)[0]
        await bot.clock.advance(FRESH)
        slack.fail("users.info", status=500, times=100)
        await ora.say(ora.dm, "!parley status")
        await bot.until(lambda: len(ora.ephemerals) == 2)
        assert "scripted" not in whispers(ora)[1]


async def test_where_everybody_is_let_in_nobody_waits_for_a_lookup() -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive("Hello.", slack=slack) as bot:
        for kind in ("guests", "external"):
            await bot.choose("access", "allow", subject=kind)
        ada = slack.workspace.user("Ada")
        slack.fail("users.info", status=500, times=100)
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        assert all(len(one.attempts) == 1 for one in slack.deliveries)


async def test_a_group_that_may_be_denied_is_waited_for() -> None:
    async with FakeSlack(retry_after=AT_ONCE, ack_limit=SOON) as slack, interactive("Hello.", slack=slack) as bot:
        ada, eve = slack.workspace.user("Ada"), slack.workspace.user("Eve")
        group = slack.workspace.group(eve).removeprefix("<!subteam^").removesuffix(">")
        await bot.choose("access", "deny", subject=f"group:{group}")
        slack.fail("usergroups.list", status=500)
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        await eve.say(eve.dm, "hello")
        await bot.until(lambda: texts(eve.dm))
        assert (texts(ada.dm), texts(eve.dm)) == (["Hello."], [REFUSALS[Refusal.DENIED]])


async def test_what_was_missed_is_read_once_more_when_its_author_is_told() -> None:
    async with FakeSlack(retry_after=()) as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        async with listening(slack, store, admit=()) as ear:
            await ear.until(lambda: slack.sockets)
            await ada.say(ada.dm, "first")
            await ear.until(lambda: ear.texts == ["first"])
            await ear.kept()
        await ada.say(ada.dm, "missed", heard=False)
        slack.fail("users.info", status=500, times=2)
        async with listening(slack, store, admit=()) as ear:
            await ear.caught_up()
            assert ear.texts == ["missed"]


async def test_a_person_who_stays_unknown_does_not_keep_others_from_being_read() -> None:
    async with FakeSlack(retry_after=()) as slack, a_store() as store:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        async with listening(slack, store, admit=()) as ear:
            await ear.until(lambda: slack.sockets)
            for user in (ada, bob):
                await user.say(user.dm, "first")
            await ear.until(lambda: len(ear.texts) == 2)
            await ear.kept()
        for user in (ada, bob):
            await user.say(user.dm, "missed", heard=False)
        slack.fail("users.info", status=500, times=1000, when=lambda asked: asked.body.get("user") == bob.id)
        async with listening(slack, store, admit=()) as ear:
            await ear.caught_up()
            assert [(message.author_id, message.text) for message in ear.taken] == [(ada.id, "missed")]
            await ear.until(lambda: REFUSALS[Refusal.UNKNOWN] in str(ear.surface.__dict__))
