"""What people are called: asked of Slack once, remembered for an hour, and never waited for longer than an answer bears."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.inbound import NOBODY, Names, readable_name
from bot.adapters.slack.memory import remember
from bot.chat.protocol import DeliveryError
from bot.clock import Clock, time_limit

KEPT = timedelta(hours=1)
UNKNOWN_KEPT = timedelta(minutes=1)
"""How long it is believed that Slack does not tell a name."""
PATIENCE = timedelta(seconds=1)
"""Slack wants its acknowledgement within 3 s, and gets it only when the message is stored, with its names."""
AT_ONCE = 200
"""Questions in flight; beyond that, people are "someone" for now."""

Person = tuple[str, str]
"""A workspace and a user's id there."""


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    until: timedelta


class People:
    """Knows the names of people by their ids. To be closed with `close`."""

    def __init__(self, clients: SlackClients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._known: dict[Person, _Known] = {}
        self._asking: dict[Person, asyncio.Task[None]] = {}

    async def names(self, workspace: str, users: Collection[str]) -> Names:
        """Return the names of some people: those that are known, or that Slack tells within `PATIENCE`."""
        people = [(workspace, user) for user in users]
        asked = [self._ask(person) for person in people if not self._is_known(person)]
        waiting = [task for task in asked if task is not None]
        if waiting:
            try:
                async with time_limit(self._clock, PATIENCE):
                    await asyncio.wait(waiting)
            except TimeoutError:
                pass  # what comes later is for the next message
        found = {user: self._known[workspace, user].name for user in users if (workspace, user) in self._known}
        return Names(of={user: name for user, name in found.items() if name}) if found else NOBODY

    async def name(self, workspace: str, user: str) -> str:
        """Return somebody's name, their id when Slack does not tell."""
        return (await self.names(workspace, [user])).of.get(user) or user

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_known(self, person: Person) -> bool:
        known = self._known.get(person)
        return known is not None and self._clock.monotonic() < known.until

    def _ask(self, person: Person) -> "asyncio.Task[None] | None":
        task = self._asking.get(person)
        if task is None and len(self._asking) < AT_ONCE:
            task = self._asking[person] = asyncio.create_task(self._find_out(person), name="slack.name")
            task.add_done_callback(lambda _: self._asking.pop(person, None))
        return task

    async def _find_out(self, person: Person) -> None:
        workspace, user = person
        try:
            client = await self._clients.of(workspace)
            with translated(repeatable=True):
                answer = await client.users_info(user=user)
                found = answer.get("user") or {}
        except DeliveryError:
            # An old name is better than none.
            former = self._known.get(person)
            name, kept = former.name if former is not None else "", UNKNOWN_KEPT
        else:
            profile = found.get("profile") or {}
            given = profile.get("display_name") or profile.get("real_name") or found.get("real_name") or found.get("name")
            name, kept = readable_name(str(given)) if given else "", KEPT
        remember(self._known, person, _Known(name, self._clock.monotonic() + kept))
