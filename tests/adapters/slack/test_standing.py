"""What people count as: how old it may be, what it is when Slack does not tell, and how often Slack is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.people import FRESH, KEPT, PATIENCE, People
from bot.adapters.slack.standing import Assessment, Standings
from bot.adapters.slack.user_groups import TEAMS, UserGroups
from bot.adapters.slack.web_api import WebApi
from bot.chat.callers import Kind, Standing
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, Team, User

pytestmark = pytest.mark.anyio


@dataclass
class Asking:
    slack: FakeSlack
    clock: FakeClock
    standings: Standings
    groups: UserGroups
    named: set[str] = field(default_factory=set)
    """The groups that operators named."""

    async def of(self, user: User, *, team: str = "") -> Assessment:
        home = user.team.enterprise if user.team.org_wide else user.team.id
        return await self.standings.of(str(home), user.id, team=team)

    def group(self, team: Team, *members: User, named: bool = True) -> str:
        group = team.group(*members).removeprefix("<!subteam^").removesuffix(">")
        if named:
            self.named.add(group)
        return group


@asynccontextmanager
async def asking(slack: FakeSlack) -> AsyncIterator[Asking]:
    clock = FakeClock()
    clients = SlackClients(clock, base_url=slack.api_url, token=slack.bot_token)
    people, groups = People(clients, clock), UserGroups(WebApi(clients, clock), clock)
    named: set[str] = set()
    standings = Standings(people, groups, clock, named=lambda workspace: frozenset(named))
    try:
        yield Asking(slack, clock, standings, groups, named)
    finally:
        await groups.close()
        await people.close()
        await clients.close()


async def test_what_slack_tells_is_what_somebody_is() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        home = slack.workspace
        assert (await ask.of(home.user("Ada"))).standing.kind is Kind.MEMBER
        assert (await ask.of(home.user("Gil", guest=True))).standing.kind is Kind.GUEST
        assert (await ask.of(home.user("Eve", external=True))).standing.kind is Kind.EXTERNAL
        assert (await ask.of(home.user("robot", bot=True))).standing.kind is Kind.BOT
        owner = (await ask.of(home.user("Olga", owner=True))).standing
        assert (owner.kind, owner.owner) == (Kind.MEMBER, True)
        gone = home.user("Gone", owner=True)
        await home.deactivate(gone)
        assert (await ask.of(gone)).standing == Standing(kind=Kind.UNKNOWN)


async def test_rights_hang_on_nothing_older_than_a_minute() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada", owner=True)
        await asyncio.gather(*(ask.of(ada) for _ in range(20)))
        ada.owner, ada.guest = False, True
        assert (await ask.of(ada)).standing.owner
        assert len(slack.asked("users.info")) == 1
        await ask.clock.advance(FRESH)
        assert (await ask.of(ada)).standing == Standing(kind=Kind.GUEST)
        assert len(slack.asked("users.info")) == 2


@pytest.mark.parametrize("failure", [{"status": 429, "retry_after": 5}, {"status": 500}, {"cut": True}])
async def test_a_lookup_that_fails_leaves_speech_for_an_hour_and_no_rights_at_all(failure: dict[str, object]) -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada", owner=True)
        await ask.of(ada)
        slack.fail("users.info", times=100, **failure)  # type: ignore[arg-type]
        await ask.clock.advance(FRESH)
        found = await ask.of(ada)
        assert (found.speaking.kind, found.speaking.owner) == (Kind.MEMBER, False)
        assert (found.standing.kind, found.standing.owner) == (Kind.UNKNOWN, False)
        assert found.passing
        await ask.clock.advance(KEPT)
        assert (await ask.of(ada)).speaking.kind is Kind.UNKNOWN


async def test_who_asks_us_to_wait_is_not_asked_until_then() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        slack.fail("users.info", status=429, retry_after=30)
        assert (await ask.of(ada)).passing
        assert (await ask.of(bob)).passing
        assert len(slack.asked("users.info")) == 1
        await ask.clock.advance(timedelta(seconds=30))
        assert (await ask.of(bob)).standing.kind is Kind.MEMBER


async def test_whom_slack_never_tells_of_is_no_passing_trouble_and_asked_once_a_minute() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada")
        slack.workspace.scopes -= {"users:read"}
        found = await ask.of(ada)
        assert (found.standing.kind, found.passing) == (Kind.UNKNOWN, False)
        await ask.of(ada)
        assert len(slack.asked("users.info")) == 1
        slack.workspace.scopes |= {"users:read"}
        await ask.clock.advance(FRESH)
        assert (await ask.of(ada)).standing.kind is Kind.MEMBER


async def test_a_slow_answer_is_not_waited_for_and_is_there_the_next_time() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada")
        ask.group(slack.workspace, ada)
        hung = [slack.hang("users.info"), slack.hang("usergroups.list")]
        waiting = asyncio.create_task(ask.of(ada))
        await slack.until(lambda: slack.asked("users.info") and slack.asked("usergroups.list"))
        await ask.clock.advance(PATIENCE)
        found = await waiting
        assert (found.standing.kind, found.standing.groups_known, found.passing) == (Kind.UNKNOWN, False, True)
        for one in hung:
            one.release()
        found = await ask.of(ada)
        assert (found.standing.kind, found.standing.groups, found.passing) == (Kind.MEMBER, ask.named, False)
        assert len(slack.asked("users.info")) == len(slack.asked("usergroups.list")) == 1


async def test_an_event_tells_of_people_of_other_workspaces_when_a_lookup_does_not() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        eve = slack.workspace.user("Eve", external=True)
        slack.fail("users.info", status=500, times=100)
        found = await ask.of(eve, team=eve.team_id)
        assert (found.standing.kind, found.passing) == (Kind.EXTERNAL, False)
        assert (await ask.of(eve, team=slack.workspace.id)).standing.kind is Kind.UNKNOWN


async def test_groups_are_asked_for_only_where_an_operator_named_one() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada, home = slack.workspace.user("Ada"), slack.workspace
        ask.group(home, ada, named=False)
        assert (await ask.of(ada)).standing == Standing(kind=Kind.MEMBER)
        assert slack.asked("usergroups.list") == []
        named = ask.group(home, ada)
        assert (await ask.of(ada)).standing == Standing(kind=Kind.MEMBER, groups=frozenset({named}))
        # One more is known at once, not when the minute is over.
        other = ask.group(home, ada)
        assert (await ask.of(ada)).standing.groups == {named, other}


async def test_groups_are_asked_once_a_minute_however_many_people_act() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        people = [slack.workspace.user(f"P{number}") for number in range(20)]
        group = ask.group(slack.workspace, *people[:10])
        found = await asyncio.gather(*(ask.of(user) for user in people))
        assert [one.standing.groups == {group} for one in found] == [True] * 10 + [False] * 10
        assert len(slack.asked("usergroups.list")) == 1
        slack.workspace.groups[group] = []
        await ask.clock.advance(FRESH)
        assert (await ask.of(people[0])).standing == Standing(kind=Kind.MEMBER)
        assert len(slack.asked("usergroups.list")) == 2


async def test_without_the_scope_groups_are_unknown_and_that_does_not_pass() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada")
        ask.group(slack.workspace, ada)
        slack.workspace.scopes -= {"usergroups:read"}
        found = await ask.of(ada)
        assert (found.standing.kind, found.standing.groups_known, found.passing) == (Kind.MEMBER, False, False)
        await ask.of(ada)
        assert len(slack.asked("usergroups.list")) == 1


async def test_groups_that_slack_does_not_tell_just_now_are_unknown_and_asked_for_again() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada = slack.workspace.user("Ada")
        group = ask.group(slack.workspace, ada)
        slack.fail("usergroups.list", status=500)
        found = await ask.of(ada)
        assert (found.standing.groups, found.standing.groups_known, found.passing) == (frozenset(), False, True)
        assert (await ask.of(ada)).standing.groups == {group}


async def test_a_plan_without_groups_has_none() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        slack.workspace.has_groups = False
        ask.named.add("S1")
        assert (await ask.of(slack.workspace.user("Ada"))).standing == Standing(kind=Kind.MEMBER)


async def test_a_group_of_which_not_all_members_are_listed_may_be_anybodys() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        group = ask.group(slack.workspace, ada, bob)
        slack.workspace.listed_members = 1
        assert (await ask.of(ada)).standing.groups == {group}
        found = (await ask.of(bob)).standing
        assert (found.groups, found.groups_known) == (frozenset(), False)


async def test_in_an_enterprise_groups_are_those_of_the_persons_workspaces() -> None:
    async with FakeSlack() as slack:
        north, south = (slack.team(name, enterprise="E1", org_wide=True) for name in ("North", "South"))
        slack.teams.remove(slack.workspace)
        async with asking(slack) as ask:
            ada, bob = north.user("Ada", owner=True), south.user("Bob")
            group = ask.group(north, ada, bob)
            found = (await ask.of(ada)).standing
            assert (found.kind, found.owner, found.groups) == (Kind.MEMBER, False, {group})
            assert (await ask.of(bob)).standing.groups == frozenset()
            ada.enterprise_owner = True
            await ask.clock.advance(FRESH)
            assert (await ask.of(ada)).standing.owner
            eve = north.user("Eve", external=True)
            assert (await ask.of(eve)).standing == Standing(kind=Kind.EXTERNAL)


async def test_who_is_in_very_many_workspaces_has_groups_that_are_not_known() -> None:
    async with FakeSlack() as slack, asking(slack) as ask:
        teams = [f"T{number}" for number in range(TEAMS + 1)]
        found = await ask.groups.of("E1", teams, "U1", frozenset({"S1"}), patience=PATIENCE)
        assert not found.known
        assert len(slack.asked("usergroups.list")) == TEAMS
