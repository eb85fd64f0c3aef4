"""Workspaces take the app away again, and what belongs to one goes with it alone."""

from datetime import timedelta

import pytest

from bot.chat.protocol import DeliveryDelayed, Unreachable
from store import ConversationKey, Installation, NewMessage, Setting, Store, StoreUnavailable, Watermark
from tests.adapters.slack.installing import Installable, installable
from tests.fakes.slack import FakeSlack, Team

pytestmark = pytest.mark.anyio


async def furnish(here: Installable, workspace: str) -> int:
    """Let there be something of a workspace in the store; returns the conversation."""
    key = ConversationKey(platform="slack", workspace=workspace, channel="C1")
    message = NewMessage(
        key=key,
        event_id="",
        message_id="1700.1",
        position=1,
        author_id="U1",
        author_name="Ada",
        text="hello",
        address="there",
        at=here.clock.now(),
    )
    conversation_id = await here.store.accept(message)
    assert conversation_id is not None
    choice = Setting(platform="slack", workspace=workspace, channel="C1", name="trigger", value="listen")
    await here.store.put_setting(choice, author_id="U1", at=here.clock.now())
    mark = Watermark(workspace=workspace, channel="C1", thread="", position=1)
    await here.store.mark("slack", [mark], at=here.clock.now())
    await here.rules.load("slack")
    return conversation_id


async def furnished(store: Store) -> set[str]:
    """Tell of which workspaces there is anything in the store."""
    workspaces = {mark.workspace for mark in await store.watermarks("slack")}
    workspaces |= {setting.workspace for setting in await store.settings("slack")}
    for workspace in ("T1", "T2", *workspaces):
        if await store.conversations_of("slack", workspace, "U1", limit=1):
            workspaces.add(workspace)
    return workspaces | {kept.workspace for kept in await store.installations("slack")}


async def test_uninstalling_erases_all_of_the_workspace_and_nothing_else() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        gone, other = slack.workspace, slack.team("Other")
        for team in (gone, other):
            await here.install(team.user("Ada"))
            await furnish(here, team.id)
        await gone.uninstall()
        await here.told()
        assert {delivery.name for delivery in slack.deliveries} == {"tokens_revoked", "app_uninstalled"}
        assert len(slack.acks) == 2
        assert await furnished(here.store) == {other.id}
        with pytest.raises(Unreachable):
            await here.clients.of(gone.id)
        assert (await here.clients.of(other.id)).token == other.bot_token
        assert here.rules.chosen("slack", gone.id, "C1") == {}
        assert here.rules.chosen("slack", other.id, "C1") == {"trigger": "listen"}


async def test_either_event_alone_or_any_number_of_copies_erases_it() -> None:
    for unsubscribed, copies in ({"tokens_revoked"}, 1), ({"app_uninstalled"}, 1), (set(), 4):
        async with FakeSlack() as slack, installable(slack) as here:
            slack.unsubscribed, slack.copies = unsubscribed, copies
            await here.install(slack.workspace.user("Ada"))
            await furnish(here, slack.workspace.id)
            await slack.workspace.uninstall()
            await here.told()
            assert await furnished(here.store) == set()
            assert all(attempt.acked for attempt in slack.attempts)


async def test_uninstalling_from_a_whole_enterprise_erases_what_is_kept_under_its_name() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        team = slack.team("One", enterprise="E1", org_wide=True)
        single = slack.team("Two", enterprise="E1")
        for installer in (team.user("Ada"), single.user("Bob")):
            await here.install(installer)
        for workspace in ("E1", single.id):
            await furnish(here, workspace)
        await team.uninstall()
        await here.told()
        assert await furnished(here.store) == {single.id}


async def test_a_workspace_of_a_single_token_is_erased_too() -> None:
    async with FakeSlack() as slack, installable(slack, token=slack.bot_token) as here:
        await furnish(here, slack.workspace.id)
        await slack.workspace.uninstall()
        await here.told()
        assert await furnished(here.store) == set()


async def test_whoever_installed_it_again_meanwhile_loses_nothing() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        ada = slack.workspace.user("Ada")
        await here.install(ada)
        await slack.hold_events()
        await slack.workspace.uninstall()
        await here.install(ada)
        await furnish(here, slack.workspace.id)
        await slack.release_events()
        await here.told()
        assert len(slack.acks) == 2
        assert await furnished(here.store) == {slack.workspace.id}
        assert (await here.clients.of(slack.workspace.id)).token == slack.workspace.bot_token


async def test_as_long_as_slack_does_not_say_whether_it_is_installed_nothing_is_erased_and_slack_tells_it_again() -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, installable(slack) as here:
        slack.unsubscribed = {"tokens_revoked"}
        await here.install(slack.workspace.user("Ada"))
        conversation_id = await furnish(here, slack.workspace.id)
        slack.fail("auth.test", status=500, times=2)
        hanging = slack.hang("auth.test")
        await slack.workspace.uninstall()
        await slack.until(lambda: len(slack.asked("auth.test")) == 4)
        assert len(await here.store.recent(conversation_id, 9)) == 1
        hanging.release()
        await here.told()
        assert [attempt.acked for attempt in slack.attempts] == [False, False, True]
        assert await furnished(here.store) == set()


async def test_a_store_that_fails_is_told_again(monkeypatch) -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, installable(slack) as here:
        slack.unsubscribed = {"tokens_revoked"}
        await here.install(slack.workspace.user("Ada"))
        await furnish(here, slack.workspace.id)
        purge, failures = here.store.purge_workspace, [StoreUnavailable("locked")]

        async def failing(platform: str, workspace: str) -> int:
            if failures:
                raise failures.pop()
            return await purge(platform, workspace)

        monkeypatch.setattr(here.store, "purge_workspace", failing)
        await slack.workspace.uninstall()
        await here.told()
        assert [attempt.acked for attempt in slack.attempts] == [False, True]
        assert await furnished(here.store) == set()


async def test_a_users_token_that_is_revoked_takes_only_that_users_installation() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        for person in (ada, bob):
            await here.install(person)
        await furnish(here, slack.workspace.id)
        revoke(slack.workspace, oauth=[ada.id, "U-unknown"])
        await here.told()
        assert {kept.user for kept in await here.store.installations("slack")} == {"", bob.id}
        assert await furnished(here.store) == {slack.workspace.id}


async def test_a_bot_token_that_is_revoked_erases_the_workspace() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        await here.install(slack.workspace.user("Ada"))
        await furnish(here, slack.workspace.id)
        slack.revoked.add(slack.bot_token)
        revoke(slack.workspace, bot=[slack.workspace.bot.id])
        await here.told()
        assert await furnished(here.store) == set()


def revoke(team: Team, **tokens: list[str]) -> None:
    team.slack.dispatch.event(team, {"type": "tokens_revoked", "tokens": tokens})


async def test_a_store_that_does_not_tell_the_token_is_no_uninstalled_workspace(monkeypatch) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        await here.install(slack.workspace.user("Ada"))

        async def locked(platform: str, workspace: str = "") -> tuple[Installation, ...]:
            raise StoreUnavailable("locked")

        monkeypatch.setattr(here.store, "installations", locked)
        here.clients.forget(slack.workspace.id)
        with pytest.raises(DeliveryDelayed):
            await here.clients.of(slack.workspace.id)
