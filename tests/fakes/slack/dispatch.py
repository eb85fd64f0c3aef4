"""Events and interactions on their way to the app: who gets them, what an attempt came to, and when the next one is made."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.fakes.slack.places import Channel
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.teams import Team

Json = Any

EVENTS, INTERACTIVE, SLASH = "events_api", "interactive", "slash_commands"

NEEDS = {
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "reaction_added": "reactions:read",
}
"""The scope without which an event is not sent; others need none here."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One try to deliver something."""

    delivery: "Delivery" = field(repr=False)
    number: int
    """0 for the first."""
    reason: str
    """Why the one before failed."""
    sent_at: timedelta | None = None
    acked_after: timedelta | None = None
    """How long the app took to acknowledge it in time, None if it did not."""
    failure: str | None = None
    answer: Json = None
    """What came with the acknowledgement."""
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the signed request, in HTTP mode."""
    stop: bool = False
    """Whether the app asked for no more retries."""

    @property
    def acked(self) -> bool:
        return self.acked_after is not None


@dataclass(eq=False, slots=True)
class Delivery:
    """Something that the app is to hear of."""

    kind: str
    payload: Json
    attempts: list[Attempt] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The event's type, the command or the interaction's type."""
        return str(self.event.get("type") or self.payload.get("command") or self.payload.get("type"))

    @property
    def event(self) -> Json:
        return self.payload.get("event", {})

    @property
    def acked(self) -> bool:
        return any(attempt.acked for attempt in self.attempts)


class Transport(Protocol):
    """A way to the app."""

    async def carry(self, attempt: Attempt) -> None:
        """Send it and wait for the acknowledgement, no longer than Slack does; write down what came of it."""


class Dispatch:
    """Wraps, sends and sends again."""

    def __init__(self, slack: "FakeSlack", retry_after: tuple[timedelta, ...]) -> None:
        self._slack = slack
        self._retry_after = retry_after
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._held: list[Delivery] | None = None
        self.deliveries: list[Delivery] = []
        self.copies = 1

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def busy(self) -> bool:
        """Whether something has been neither acknowledged nor given up."""
        return any(not delivery.done.is_set() for delivery in self.deliveries)

    # Events

    def event(self, team: "Team", event: Json, *, channel: "Channel | None" = None, subscription: str | None = None) -> None:
        """Send an event to the app as this workspace's installation, if it subscribes to such events and may have them."""
        name = subscription or event["type"]
        gone = team.uninstalled and name not in ("app_uninstalled", "tokens_revoked")
        allowed = NEEDS.get(name) is None or NEEDS[name] in team.scopes
        if self._loop is None or gone or not allowed or name in self._slack.unsubscribed:
            return
        payload = self._wrap(team, event, channel)
        for _ in range(self.copies):
            self._in_loop(self._enter, Delivery(EVENTS, payload))

    def _wrap(self, team: "Team", event: Json, channel: "Channel | None") -> Json:
        slack, now = self._slack, self._slack.clock.now()
        return {
            "token": "verification-token",
            "team_id": team.id,
            "enterprise_id": team.enterprise,
            "context_team_id": team.id,
            "context_enterprise_id": team.enterprise,
            "api_app_id": slack.app_id,
            "event": {"event_ts": slack.stamps.new(now)} | event,
            "type": "event_callback",
            "event_id": slack.new_id("Ev"),
            "event_time": int(now.timestamp()),
            "authorizations": [team.authorization()],
            "is_ext_shared_channel": bool(channel and channel.connected),
            "event_context": f"4-{slack.new_id('CTX')}",
        }

    def again(self, channel: "Channel", ts: str) -> None:
        """Send once more what told of a message, under the same event ids; whether it was acknowledged before or not."""
        told = (delivery for delivery in self.deliveries if delivery.kind == EVENTS)
        of_it = (delivery for delivery in told if delivery.event.get("ts") == ts)
        here = (delivery for delivery in of_it if delivery.event.get("channel") == channel.id)
        for payload in {delivery.payload["event_id"]: delivery.payload for delivery in here}.values():
            self._enter(Delivery(EVENTS, payload))

    def hold(self) -> None:
        """Keep events back until `release`."""
        self._held = []

    def release(self, order: Callable[[list[Delivery]], list[Delivery]] = list) -> None:
        """Send what was kept back, in the order that is asked for."""
        held, self._held = self._held or [], None
        for delivery in order(held):
            self._enter(delivery)

    def _enter(self, delivery: Delivery) -> None:
        if self._held is not None:
            self._held.append(delivery)
            return
        self.deliveries.append(delivery)
        self.spawn(self._carry(delivery))

    async def _carry(self, delivery: Delivery) -> None:
        reason = ""
        try:
            for number, pause in enumerate((timedelta(), *self._retry_after)):
                if pause > timedelta():
                    await self._slack.clock.sleep(pause)
                attempt = await self._try(delivery, number, reason)
                if attempt.acked or attempt.stop:
                    return
                reason = attempt.failure or "timeout"
        finally:
            delivery.done.set()

    # Interactions, which are never sent again

    async def interaction(self, kind: str, payload: Json) -> Attempt:
        delivery = Delivery(kind, payload)
        self.deliveries.append(delivery)
        try:
            return await self._try(delivery, 0, "")
        finally:
            delivery.done.set()

    async def _try(self, delivery: Delivery, number: int, reason: str) -> Attempt:
        attempt = Attempt(delivery, number, reason)
        delivery.attempts.append(attempt)
        await self._slack.transport.carry(attempt)
        return attempt

    # Tasks

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something go on beside; it ends with the fake at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _in_loop(self, act: Callable[..., None], *arguments: Any) -> None:
        if self._loop is not None and threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(act, *arguments)
        else:
            act(*arguments)
