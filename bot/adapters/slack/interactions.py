"""Interactions: who made one and where, and the work that follows its acknowledgement.

Slack waits 3 seconds for an acknowledgement and delivers no interaction again. The app acknowledges when a listener returns
(`process_before_response`), so a listener of an interaction only hands its work to `Interactions`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.failures import describe
from bot.adapters.slack.inbound import PLATFORM, Names
from bot.chat.callers import Caller, Standing
from bot.chat.protocol import Address, DeliveryError, Place
from bot.clock import Clock, time_limit
from store import Store, StoreError

PATIENCE = timedelta(seconds=10)
"""How long the work of interactions may still take when the adapter closes."""

Body = Mapping[str, Any]
Lookup = Callable[[str, Collection[str]], Awaitable[Names]]
"""Tells what users of a workspace are called, by their ids; never raises, and leaves out whom Slack does not tell."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who made an interaction, and the place where it was made; `team` is theirs, "" where Slack does not say."""

    place: Place
    address: Address
    author_id: str
    team: str = ""

    def caller(self, standing: Standing) -> Caller:
        """Tell who acts, for whoever judges it."""
        return Caller(
            platform=PLATFORM,
            workspace=self.address.workspace,
            channel=self.address.channel,
            user_id=self.author_id,
            standing=standing,
            direct=self.place is Place.DIRECT,
        )


def actor_of(body: Body, context: AsyncBoltContext) -> Actor:
    """Tell who made an interaction, and where: in the thread of the message that it was made on, if there is one."""
    channel = body["channel_id"] if "channel_id" in body else body["channel"]["id"]
    message = body.get("message") or {}
    shown = body.get("container") or {}
    ts = str(shown.get("message_ts") or message.get("ts") or "")
    thread = str(shown.get("thread_ts") or message.get("thread_ts") or "")
    if thread == ts:  # the root stands in the channel, also when a thread begins at it
        thread = ""
    return Actor(
        place=place_of(channel, thread),
        address=Address(
            platform=PLATFORM, workspace=workspace_of(context), channel=channel, thread=thread, reply_to=ts, notify=False
        ),
        author_id=str(context.user_id),
        team=team_of_actor(body),
    )


def team_of_actor(body: Body) -> str:
    """Name the team of who made an interaction; of a slash command Slack does not say it."""
    return str((body.get("user") or {}).get("team_id") or "")


def workspace_of(context: AsyncBoltContext) -> str:
    """Name the installation: a workspace's, or the enterprise's where we are installed for all of its workspaces."""
    return str((context.enterprise_id if context.is_enterprise_install else context.team_id) or "")


def place_of(channel: str, thread: str) -> Place:
    """Tell the kind of place; Slack begins the ids of direct messages with D."""
    if channel.startswith("D"):
        return Place.DIRECT
    return Place.THREAD if thread else Place.CHANNEL


class Afterwards:
    """Work that goes on after the acknowledgement of what began it, known here until it is done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, kind: str, work: Callable[[], Awaitable[None]]) -> None:
        """Let `work` go on beside what comes next."""
        task = asyncio.create_task(self._carry_out(kind, work), name=f"slack.{kind}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what was begun, but no longer than `PATIENCE`."""
        try:
            async with time_limit(self._clock, PATIENCE):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            log.warning("interactions.cut_short", count=len(self._tasks))
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _carry_out(self, kind: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DeliveryError as exc:
            log.warning("interaction.not_finished", kind=kind, reason=str(exc))
        except Exception as exc:  # noqa: BLE001 - nobody waits for this task
            log.error("interaction.failed", kind=kind, error=describe(exc))


class Interactions:
    """Carries interactions out after their acknowledgement, each of them once.

    Slack sends none twice, but whoever got hold of a signed request can, for five minutes.
    """

    def __init__(self, store: Store, clock: Clock, afterwards: Afterwards) -> None:
        self._store = store
        self._clock = clock
        self._afterwards = afterwards

    def begin(self, kind: str, body: Body, work: Callable[[], Awaitable[None]]) -> None:
        """Let the work of an interaction go on beside what comes next, unless it was begun before."""
        self._afterwards.begin(kind, lambda: self._carry_out(kind, body, work))

    async def _carry_out(self, kind: str, body: Body, work: Callable[[], Awaitable[None]]) -> None:
        try:
            first = await self._store.once(f"slack.interaction/{body['trigger_id']}", at=self._clock.now())
        except StoreError:
            first = True  # the work needs the store as well, and says that it fails
        if first:
            await work()
        else:
            log.warning("interaction.replayed", kind=kind)
