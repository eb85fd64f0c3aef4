"""Who is in the user groups that operators named: asked of Slack once for all who want to know, and known for a minute.

Slack has no call for one person's groups, so all of a workspace are read at once, and those that nobody named are dropped.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from bot.adapters.slack.api_errors import MOMENT, SlackRefused
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.memory import remember
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import DeliveryDelayed, DeliveryError
from bot.chat.rules import RuleBook
from bot.clock import Clock, time_limit

KEPT = timedelta(minutes=1)
TEAMS = 5
"""Workspaces of one person in an enterprise whose groups are read: Slack answers 20 such questions a minute."""
NONE_THERE = "plan_upgrade_required"
"""What Slack says of a workspace whose plan has no user groups."""

Team = tuple[str, str]
"""An installation's workspace, and the workspace whose groups are meant; in an enterprise these are two."""
Json = Any

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The groups that somebody is in, and maybe others unless it is `known`; `passing`: Slack may tell them in a moment."""

    groups: frozenset[str] = frozenset()
    known: bool = True
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read of one workspace: the members of the groups `asked` for; those in `cut` may have more of them."""

    asked: frozenset[str]
    until: timedelta
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    cut: bool = False
    failed: bool = False
    passing: bool = False


def named_by(rules: RuleBook) -> Callable[[str], frozenset[str]]:
    """Return what tells which groups of a workspace operators named: those that operate it, are allowed or denied."""

    def named(workspace: str) -> frozenset[str]:
        return rules.operating_groups(PLATFORM, workspace) | rules.access(PLATFORM, workspace).groups.keys()

    return named


class UserGroups:
    """Knows user groups by workspace. To be closed with `close`."""

    def __init__(self, api: WebApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._read: dict[Team, _Read] = {}
        self._reading: dict[Team, asyncio.Task[None]] = {}

    async def of(
        self, workspace: str, teams: Collection[str], user: str, named: frozenset[str], *, patience: timedelta
    ) -> Membership:
        """Tell in which of the groups that are `named` somebody is, as far as Slack tells within `patience`."""
        if not named:
            return Membership()
        asked = [(workspace, team) for team in list(teams)[:TEAMS]]
        waiting = [self._question(team, named) for team in asked if not self._is_known(team, named)]
        if waiting:
            try:
                async with time_limit(self._clock, patience):
                    await asyncio.wait(waiting)
            except TimeoutError:
                pass
        found = [self._read[team] if self._is_known(team, named) else None for team in asked]
        read = [one for one in found if one is not None]
        groups = frozenset(group for one in read for group in one.members.get(user, ())) & named
        whole = len(read) == len(asked) == len(teams) and bool(asked) and not any(one.failed or one.cut for one in read)
        return Membership(groups=groups, known=whole, passing=len(read) < len(asked) or any(one.passing for one in read))

    @property
    def asking(self) -> int:
        """How many questions are in flight."""
        return len(self._reading)

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_known(self, team: Team, named: frozenset[str]) -> bool:
        read = self._read.get(team)
        return read is not None and self._clock.monotonic() < read.until and named <= read.asked

    def _question(self, team: Team, named: frozenset[str]) -> "asyncio.Task[None]":
        task = self._reading.get(team)
        if task is None:
            task = self._reading[team] = asyncio.create_task(self._find_out(team, named), name="slack.groups")
            task.add_done_callback(lambda _: self._reading.pop(team, None))
        return task

    async def _find_out(self, team: Team, named: frozenset[str]) -> None:
        workspace, asked_of = team
        # A token of a whole enterprise has to say which workspace it means.
        which = asked_of if asked_of != workspace else None
        try:
            answer = await self._api.ask(workspace, lambda client: client.usergroups_list(include_users=True, team_id=which))
            told = [group for group in answer.get("usergroups") or () if group.get("id") in named]
            read = _Read(
                asked=named, until=self._clock.monotonic() + KEPT, members=_by_member(told), cut=any(map(_is_cut, told))
            )
        except SlackRefused as exc:
            read = (
                self._failure(named, exc)
                if exc.code != NONE_THERE
                else _Read(asked=named, until=self._clock.monotonic() + KEPT)
            )
        except DeliveryError as exc:
            read = self._failure(named, exc)
        remember(self._read, team, read)

    def _failure(self, named: frozenset[str], exc: DeliveryError) -> _Read:
        log.warning("slack.groups_unknown", reason=str(exc))
        passing = isinstance(exc, DeliveryDelayed)
        wait = KEPT
        if isinstance(exc, DeliveryDelayed):
            wait = exc.retry_after if exc.retry_after > MOMENT else timedelta()
        return _Read(asked=named, until=self._clock.monotonic() + wait, failed=True, passing=passing)


def _by_member(groups: Iterable[Json]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for group in groups:
        for user in group.get("users") or ():
            found.setdefault(str(user), set()).add(str(group["id"]))
    return {user: frozenset(theirs) for user, theirs in found.items()}


def _is_cut(group: Json) -> bool:
    """Tell whether Slack counts more members than it lists."""
    count = str(group.get("user_count") or "0")
    return count.isdecimal() and int(count) > len(group.get("users") or ())
