"""Who people are: asked of Slack once for all who want to know, and never waited for longer than an answer bears.

Names are remembered for an hour. What rights hang on is asked anew after a minute; what was told before is then still handed
out, as something old, for whoever may make do with it.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from bot.adapters.slack.api_errors import MOMENT, translated
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.inbound import NOBODY, Names
from bot.adapters.slack.memory import remember
from bot.adapters.slack.profiles import Profile, profile_of
from bot.chat.protocol import DeliveryDelayed, DeliveryError
from bot.clock import Clock, time_limit

KEPT = timedelta(hours=1)
FRESH = timedelta(minutes=1)
"""How long rights may hang on what was told: whoever is made a guest or is removed has them no longer than that."""
UNKNOWN_KEPT = timedelta(minutes=1)
"""How long it is believed that Slack does not tell of somebody."""
PATIENCE = timedelta(seconds=1)
"""Slack wants its acknowledgement within 3 s, and gets it only when the message is stored, with its names."""
AT_ONCE = 200
"""Questions in flight; beyond that, people are "someone" for now."""

Person = tuple[str, str]
"""A workspace and a user's id there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What Slack told of somebody within the last hour, None when nothing. `fresh`: within the last minute. `passing`: it is
    not fresh for a reason that may be gone in a moment, so it is worth asking again."""

    profile: Profile | None = None
    fresh: bool = False
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    asked: timedelta
    profile: Profile | None = None
    told: timedelta = timedelta()
    """When it was told, if there is a profile."""
    refused: bool = False
    """Slack does not tell, and will not in a moment."""


class People:
    """Knows people by their ids. To be closed with `close`."""

    def __init__(self, clients: SlackClients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._known: dict[Person, _Known] = {}
        self._asking: dict[Person, asyncio.Task[None]] = {}
        self._silent: dict[str, timedelta] = {}
        """By workspace: until when Slack asked us to ask no more."""

    async def names(self, workspace: str, users: Collection[str]) -> Names:
        """Return the names of some people: those that are known, or that Slack tells within `PATIENCE`."""
        people = [(workspace, user) for user in users]
        await self._ask([person for person in people if not self._has_name(person)], PATIENCE)
        found = {user: self._known[workspace, user].profile for user in users if (workspace, user) in self._known}
        return Names(of={user: told.name for user, told in found.items() if told and told.name}) if found else NOBODY

    async def name(self, workspace: str, user: str) -> str:
        """Return somebody's name, their id when Slack does not tell."""
        return (await self.names(workspace, [user])).of.get(user) or user

    async def told(self, workspace: str, user: str, *, patience: timedelta = PATIENCE) -> Told:
        """Return what Slack tells of somebody within `patience`, or told before."""
        person = (workspace, user)
        if not self._told_within(person, FRESH) and not self._was_refused(person):
            await self._ask([person], patience)
        known = self._known.get(person)
        fresh = self._told_within(person, FRESH)
        return Told(
            profile=known.profile if known is not None and self._told_within(person, KEPT) else None,
            fresh=fresh,
            passing=not fresh and not self._was_refused(person),
        )

    @property
    def asking(self) -> int:
        """How many questions are in flight."""
        return len(self._asking)

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _has_name(self, person: Person) -> bool:
        known = self._known.get(person)
        if known is None:
            return False
        return self._told_within(person, KEPT) or self._clock.monotonic() < known.asked + UNKNOWN_KEPT

    def _told_within(self, person: Person, age: timedelta) -> bool:
        known = self._known.get(person)
        return known is not None and known.profile is not None and self._clock.monotonic() < known.told + age

    def _was_refused(self, person: Person) -> bool:
        known = self._known.get(person)
        return known is not None and known.refused and self._clock.monotonic() < known.asked + UNKNOWN_KEPT

    async def _ask(self, people: Collection[Person], patience: timedelta) -> None:
        asked = [self._question(person) for person in people]
        waiting = [task for task in asked if task is not None]
        if not waiting:
            return
        try:
            async with time_limit(self._clock, patience):
                await asyncio.wait(waiting)
        except TimeoutError:
            pass  # what comes later is for the next message

    def _question(self, person: Person) -> "asyncio.Task[None] | None":
        task = self._asking.get(person)
        silent = self._clock.monotonic() < self._silent.get(person[0], timedelta())
        if task is None and len(self._asking) < AT_ONCE and not silent:
            task = self._asking[person] = asyncio.create_task(self._find_out(person), name="slack.person")
            task.add_done_callback(lambda _: self._asking.pop(person, None))
        return task

    async def _find_out(self, person: Person) -> None:
        workspace, user = person
        try:
            client = await self._clients.of(workspace)
            with translated(repeatable=True):
                answer = await client.users_info(user=user)
                profile = profile_of(answer.get("user") or {}, workspace)
        except DeliveryError as exc:
            now = self._clock.monotonic()
            passing = isinstance(exc, DeliveryDelayed)
            if isinstance(exc, DeliveryDelayed) and exc.retry_after > MOMENT:
                self._silent[workspace] = now + exc.retry_after
            former = self._known.get(person)
            known = _Known(asked=now, refused=not passing)
            if former is not None:  # an old name is better than none
                known = _Known(asked=now, profile=former.profile, told=former.told, refused=not passing)
        else:
            now = self._clock.monotonic()
            known = _Known(asked=now, profile=profile, told=now)
        remember(self._known, person, known)
