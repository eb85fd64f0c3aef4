"""What was said while we were away: read once after each gap, and brought through the same gate as what is heard live.

Slack delivers again for some six minutes only. Direct messages, threads in which we take part and channels where somebody
spoke to us are read by their history from their marks on, the places that were used last first, at most 6 hours back and 200
messages of a place. What was said to us before that is told of in one line where it was said. Messages of before our absence
that were edited or deleted meanwhile stay as they were: Slack does not tell of it.
"""

import asyncio
import random
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.adapters.failures import describe
from bot.adapters.slack.api_errors import SlackRefused, TokenDead
from bot.adapters.slack.events import OURS, Gate
from bot.adapters.slack.inbound import PLATFORM, Us
from bot.adapters.slack.stamps import position_at, position_of, ts_of
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.adapters.where import Where
from bot.chat.pacing import Pacers
from bot.chat.protocol import Budget, DeliveryDelayed, DeliveryError, MessageGone, Place, Unreachable
from bot.chat.unanswered import Unanswered
from bot.clock import Clock
from store import StoreClosed, StoreUnavailable
from store.protocol_sharing import Sharing

log = structlog.get_logger(__name__)

OLDEST = timedelta(hours=6)
FORGOTTEN = timedelta(days=7)
"""Who has waited for longer hears nothing of it: it would take long to read, and the line be a surprise."""
MESSAGES = 200
"""Messages of one place that are read. Who wrote more than that does not wait for an answer to each."""
PLACES = 500
"""Histories that are read of one workspace: 12 minutes."""
PACE = timedelta(seconds=1.5)
"""Between two calls of a method: 40 a minute of the 50 that a workspace allows, the others are for answers."""
SLOW_PACE = timedelta(minutes=1)
SLOW_MESSAGES = 15
"""What distributed apps outside of Slack's Marketplace get: so many messages at once, and that once a minute."""
SLOW = timedelta(seconds=20)
"""Who is asked to wait so long, and again though it did, is such an app. Once alone may be what a former process used up."""
UNKNOWN_AUTHORS = 3
"""Messages of one reading that may wait for Slack to tell of their authors; others are judged by what is known."""
NOT_FOR_US = frozenset(
    {"access_denied", "channel_not_found", "is_archived", "message_not_found", "not_in_channel", "thread_not_found"}
)
"""Refusals of a place that was ours, and is not any more."""
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=5)

Json = Any


@dataclass(slots=True)
class _Round:
    """One reading of a workspace, over all its tries."""

    seen: set[tuple[Where, int]] = field(default_factory=set)
    """The places that were read, by the position from which."""
    messages: int = 0
    cut: int = 0
    """Places with more than was read of them."""
    unread: int = 0
    """Places that can't be read."""
    unknown_authors: int = 0
    """Messages whose authors Slack did not tell of when they were brought."""
    long_waits: int = 0

    @property
    def slow(self) -> bool:
        """The app gets few messages, and rarely."""
        return self.long_waits > 1


class Gaps:
    """Reads what was missed, one task for each workspace."""

    def __init__(
        self,
        gate: Gate,
        marks: Watermarks,
        api: WebApi,
        clock: Clock,
        rng: random.Random,
        *,
        unanswered: Unanswered,
        sharing: Sharing | None = None,
    ) -> None:
        """`sharing` is the store of several replicas, which keep one pace."""
        self._gate = gate
        self._pacers = Pacers(clock, sharing)
        self._replicated = sharing is not None
        self._marks = marks
        self._unanswered = unanswered
        self._api = api
        self._clock = clock
        self._rng = rng
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._learning: asyncio.Task[None] | None = None
        self._closed = False

    def began(self) -> None:
        """Read what was missed up to now; where a reading is under way, it begins anew. To be called when we hear again."""
        for workspace in self._marks.workspaces():
            self._marks.hold(workspace)
        if not self._replicated:
            self._begin_all()
        elif self._learning is None and not self._closed:
            self._learning = asyncio.create_task(self._learn(), name="slack.gap")

    async def _learn(self) -> None:
        """Begin once we know which places other replicas have followed: they may be no more."""
        pause = FIRST_RETRY
        while True:
            try:
                await self._marks.restore()
            except StoreUnavailable:
                await self._clock.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY)
            except StoreClosed:
                return
            else:
                break
        self._learning = None
        self._begin_all()

    def _begin_all(self) -> None:
        for workspace in self._marks.workspaces():
            self._marks.hold(workspace)
            self._begin(workspace)

    async def close(self) -> None:
        """Stop reading; the marks of what was not read stay held."""
        self._closed = True
        tasks = [*self._tasks.values(), *([self._learning] if self._learning is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, workspace: str) -> None:
        if self._closed:
            return
        former = self._tasks.get(workspace)
        if former is not None:
            former.cancel()
        task = self._tasks[workspace] = asyncio.create_task(self._until_read(workspace), name=f"slack.gap {workspace}")
        task.add_done_callback(lambda done: self._tasks.pop(workspace) if self._tasks.get(workspace) is done else None)

    async def _until_read(self, workspace: str) -> None:
        pause, reading = FIRST_RETRY, _Round()
        while True:
            try:
                await self._read(workspace, reading)
            except (DeliveryError, StoreUnavailable) as exc:
                if isinstance(exc, Unreachable):
                    log.warning("slack.gap_unread", workspace=workspace, reason=str(exc))
                    return
                wait = max(pause, exc.retry_after) if isinstance(exc, DeliveryDelayed) else pause
                log.warning("slack.gap_delayed", workspace=workspace, reason=str(exc), seconds=wait.total_seconds())
            except StoreClosed:
                return
            except Exception as exc:  # noqa: BLE001 - what one place does must not leave the others unread for good
                wait = LONGEST_RETRY
                log.error("slack.gap_failed", workspace=workspace, error=type(exc).__name__)
            else:
                self._marks.release(workspace)
                log.info(
                    "slack.gap_read",
                    workspace=workspace,
                    places=len(reading.seen),
                    messages=reading.messages,
                    places_cut=reading.cut,
                    places_unreadable=reading.unread,
                )
                return
            await self._clock.sleep(wait * self._rng.uniform(1.0, 1.2))
            pause = min(pause * 2, LONGEST_RETRY)

    async def _read(self, workspace: str, reading: _Round) -> None:
        me = await self._api.clients.me(workspace)
        us = Us(workspace=workspace, user_id=me.user_id, bot_id=me.bot_id)
        for where, mark in self._marks.places(workspace)[:PLACES]:
            if (where, mark) not in reading.seen:
                await self._read_place(where, mark, us, reading)
                reading.seen.add((where, mark))

    async def _read_place(self, where: Where, mark: int, us: Us, reading: _Round) -> None:
        try:
            await self._tell_of_older(where, mark, us, reading)
            found = await self._found(where, mark, reading)
        except TokenDead:
            raise
        except (Unreachable, MessageGone, SlackRefused) as exc:
            # A place that will never be read must not keep the others from it.
            reading.unread += 1
            cause = exc.__cause__
            code = cause.response.get("error") if isinstance(cause, SlackApiError) else None
            log.info("slack.gap_place_unread", workspace=where.workspace, reason=str(exc))
            if code is None:
                raise
            if code in NOT_FOR_US:
                await self._marks.drop(where)
            return
        for raw in found:
            outcome = await self._bring(raw, where, us, reading)
            begun = str(raw.get("latest_reply") or "")
            # A thread that began while we were away: its replies are in no history but its own.
            if begun and not where.thread and (outcome or where.place is Place.DIRECT) and position_of(begun) > mark:
                kind = Place.DIRECT if where.place is Place.DIRECT else Place.THREAD
                thread = replace(where, place=kind, thread=str(raw["ts"]))
                if (thread, mark) not in reading.seen:
                    for reply in await self._found(thread, mark, reading):
                        await self._bring(reply, where, us, reading)
                    reading.seen.add((thread, mark))

    async def _tell_of_older(self, where: Where, mark: int, us: Us, reading: _Round) -> None:
        """Say once how much said there to us gets no answer; it is not looked for again."""
        behind, oldest = max(mark, self._back(FORGOTTEN)), self._back(OLDEST)
        if mark >= oldest:
            return
        page = await self._page(where, behind, "", reading, before=oldest)
        read = {position: raw for position, raw in _positions(page.get("messages")) if behind < position < oldest}
        told = [await self._gate.overdue(_placed(read[position], where), us) for position in sorted(read)]
        overdue = [said for said in told if said is not None]
        more = bool((page.get("response_metadata") or {}).get("next_cursor"))
        await self._unanswered.tell(overdue, older_than=OLDEST, more=more)
        if read:
            with self._marks.handling(where, max(read)):
                pass

    async def _bring(self, raw: Json, where: Where, us: Us, reading: _Round) -> bool:
        """Bring a message in; tell whether it is part of a conversation of ours."""
        reading.messages += 1
        last = reading.unknown_authors >= UNKNOWN_AUTHORS
        try:
            outcome = await self._gate.said(_placed(raw, where), us, last=last)
        except DeliveryDelayed:
            reading.unknown_authors += 1
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as exc:  # not as Slack writes it; others wait
            log.error("slack.gap_message_unread", workspace=where.workspace, error=describe(exc))
            return False
        return outcome.verdict in OURS

    async def _found(self, where: Where, mark: int, reading: _Round) -> list[Json]:
        """Return what was said behind a mark, oldest first: the newest of a channel, the oldest of a thread."""
        behind = max(mark, self._back(OLDEST))
        found: dict[int, Json] = {}
        cursor = ""
        while True:
            answer = await self._page(where, behind, cursor, reading)
            found |= {position: raw for position, raw in _positions(answer.get("messages")) if position > behind}
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            # One page of each place for now where one takes a minute: everybody's last words before somebody's first.
            if not cursor or len(found) >= MESSAGES or reading.slow:
                break
        reading.cut += bool(cursor) or len(found) > MESSAGES
        kept = sorted(found)[:MESSAGES] if where.thread else sorted(found)[-MESSAGES:]
        return [found[position] for position in kept]

    async def _page(self, where: Where, behind: int, cursor: str, reading: _Round, *, before: int = 0) -> Json:
        method = "conversations.replies" if where.thread else "conversations.history"
        asked: Json = {"channel": where.channel, "oldest": ts_of(behind), "limit": MESSAGES}
        if cursor:
            asked["cursor"] = cursor
        if before:
            asked["latest"] = ts_of(before)
        while True:
            if reading.slow:
                asked["limit"] = SLOW_MESSAGES
            await self._pace(where.workspace, method, reading)
            try:
                return await self._api.ask(where.workspace, partial(_ask, where.thread, asked))
            except DeliveryDelayed as exc:
                cause = exc.__cause__
                if not isinstance(cause, SlackApiError):
                    raise
                reading.long_waits += exc.retry_after >= SLOW
                log.info("slack.gap_waits", workspace=where.workspace, seconds=exc.retry_after.total_seconds())
                await self._clock.sleep(exc.retry_after)

    def _back(self, age: timedelta) -> int:
        """Return the position that a message of this age has."""
        return position_at(self._clock.now() - age)

    async def _pace(self, workspace: str, method: str, reading: _Round) -> None:
        name = f"{PLATFORM}/{workspace}/{method}"
        slow = Budget(name=f"{name}/slow", pace=SLOW_PACE)
        await self._pacers.of(slow if reading.slow else Budget(name=name, pace=PACE)).acquire()


def _ask(thread: str, asked: Json, client: AsyncWebClient) -> Awaitable[AsyncSlackResponse]:
    return client.conversations_replies(ts=thread, **asked) if thread else client.conversations_history(**asked)


def _placed(raw: Json, where: Where) -> Json:
    """Add to a message that was read what an event tells of its channel."""
    return {**raw, "channel": where.channel, "channel_type": "im" if where.place is Place.DIRECT else "channel"}


def _positions(messages: Iterable[Json] | None) -> Iterable[tuple[int, Json]]:
    for raw in messages or ():
        try:
            yield position_of(str(raw["ts"])), raw
        except (KeyError, ValueError):
            continue
