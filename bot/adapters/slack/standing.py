"""What people may count as here and now: what Slack tells of them, and the user groups that operators named, put together.

Rights hang on nothing older than a minute. Speech is borne longer: who was a member within the last hour is one while Slack
does not tell.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.adapters.slack.people import PATIENCE, People
from bot.adapters.slack.profiles import is_abroad
from bot.adapters.slack.user_groups import Membership, UserGroups
from bot.chat.callers import Kind, Standing
from bot.clock import Clock

NamedGroups = Callable[[str], frozenset[str]]
"""The user groups of a workspace that any rule of its operators names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What somebody counts as: `standing` for all that they want to have done, `speaking` for what they say.

    `passing`: something of it is unknown for a reason that may be gone in a moment.
    """

    standing: Standing
    speaking: Standing
    passing: bool = False


A_BOT = Assessment(standing=Standing(kind=Kind.BOT), speaking=Standing(kind=Kind.BOT))


class Standings:
    """Tells what people are. Never raises: what can't be found out is unknown."""

    def __init__(self, people: People, groups: UserGroups, clock: Clock, *, named: NamedGroups) -> None:
        self._people = people
        self._groups = groups
        self._clock = clock
        self._named = named

    async def of(self, workspace: str, user: str, *, team: str = "", patience: timedelta = PATIENCE) -> Assessment:
        """Find out what somebody is, within `patience`. `team` is whose they are as Slack said with what they did."""
        named, until = self._named(workspace), self._clock.monotonic() + patience
        if workspace.startswith("E"):  # in which of its workspaces they are, an enterprise tells with the person
            told = await self._people.told(workspace, user, patience=patience)
            teams = told.profile.teams if told.profile is not None else ()
            left = max(until - self._clock.monotonic(), timedelta())
            if told.fresh and not teams:  # of another organisation: in nobody's groups
                member = Membership()
            else:
                member = await self._groups.of(workspace, teams, user, named, patience=left)
        else:
            told, member = await asyncio.gather(
                self._people.told(workspace, user, patience=patience),
                self._groups.of(workspace, [workspace], user, named, patience=patience),
            )
        if told.profile is not None and told.fresh:
            standing = _with(member, kind=told.profile.kind, owner=told.profile.owner)
            return Assessment(standing=standing, speaking=standing, passing=member.passing)
        kind = Kind.EXTERNAL if is_abroad(team, workspace) else Kind.UNKNOWN
        standing = _with(member, kind=kind, owner=False)
        former = told.profile.kind if told.profile is not None else kind
        speaking = replace(standing, kind=former)
        return Assessment(
            standing=standing, speaking=speaking, passing=member.passing or (told.passing and kind is Kind.UNKNOWN)
        )

    async def standing(self, workspace: str, user: str, *, team: str = "") -> Standing:
        """Find out what somebody counts as who wants something done."""
        return (await self.of(workspace, user, team=team)).standing


def _with(member: Membership, *, kind: Kind, owner: bool) -> Standing:
    return Standing(kind=kind, groups=member.groups, groups_known=member.known, owner=owner)
