"""From Slack's events to Intake: what is heard live and what is read later go through here, until it is stored.

What returns was handled for good, and only then is it acknowledged. Slack delivers in any order and more than once; order is
that of the `ts`, and what is known already is known by the store.

Whoever Slack does not tell of for a moment is not turned away for it: their message is not acknowledged either, and Slack
delivers it again, at once, after a minute and after five. Only the last of these is judged by what is known then.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from bot.adapters.slack.file_facts import FileFacts
from bot.adapters.slack.inbound import (
    PLATFORM,
    Us,
    command_line,
    incoming,
    is_speech,
    people_of,
    team_of,
    where_of,
)
from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.memory import remember
from bot.adapters.slack.people import People
from bot.adapters.slack.private_replies import tell
from bot.adapters.slack.standing import A_BOT, Assessment, Standings
from bot.adapters.slack.typed_commands import recognised
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.adapters.where import Where
from bot.chat.callers import Caller
from bot.chat.intake import IGNORED, Intake, Outcome, Verdict
from bot.chat.policy import Rules, address_of
from bot.chat.protocol import Address, CommandReply, DeliveryDelayed, IncomingMessage, Place, Surface
from bot.clock import Clock
from store import MessageName, StoreUnavailable

GONE = frozenset(
    {"channel_archive", "channel_deleted", "channel_left", "group_archive", "group_deleted", "group_left"},
)
"""What tells that we can't write in a channel any more."""
OURS = (Verdict.TAKEN, Verdict.KNOWN)
"""What Intake says of messages in places where the bot takes part."""
DELIVERIES = 3
"""How often Slack delivers an event again that is not acknowledged."""
ASK_AGAIN = timedelta(seconds=2)
"""When to bring a message again whose author Slack does not tell of just now; Slack's own pauses are its own."""

Json = Any
Typed = Callable[[IncomingMessage, str], Awaitable[bool]]
"""Carries out a message to us that is a command, by its line as it was written; False when it is speech.

Raises:
    StoreUnavailable: nothing was done.
"""
Message = tuple[str, str, str]
"""Workspace, channel and `ts`."""

log = structlog.get_logger(__name__)


async def _no_commands(message: IncomingMessage, line: str) -> bool:
    return False


class Gate:
    """Brings messages, edits, deletions and losses to Intake, and tells authors what it has to say to them.

    Raises (all methods): StoreUnavailable: nothing was taken; it is to be brought once more. Unless it is brought for the
    `last` time, DeliveryDelayed says the same of what hangs on something that Slack does not tell just now.
    """

    def __init__(
        self,
        intake: Intake,
        marks: Watermarks,
        people: People,
        standings: Standings,
        files: FileFacts,
        surface: Surface,
        afterwards: Afterwards,
        clock: Clock,
        *,
        api: WebApi,
        rules: Callable[[str, str], Rules],
        may_speak: Callable[[Caller], str],
        once: Callable[[str], Awaitable[bool]],
        unkept: Callable[[Address, timedelta], None] = lambda address, since: None,
        typed: Typed = _no_commands,
    ) -> None:
        """`rules` are those of a workspace's channel, `may_speak` the `Authority`'s, and `once` tells the first of all who
        ask for a name; `unkept` is told where a message to us could not be stored, and since when that was tried; `typed`
        carries out messages that are commands."""
        self._intake = intake
        self._marks = marks
        self._people = people
        self._standings = standings
        self._files = files
        self._surface = surface
        self._afterwards = afterwards
        self._clock = clock
        self._api = api
        self._rules = rules
        self._may_speak = may_speak
        self._once = once
        self._unkept = unkept
        self._typed = typed
        self._edits: dict[Message, str] = {}
        """When messages were last edited: two edits may arrive in the wrong order."""
        self._ahead: dict[Message, tuple[str, str]] = {}
        """Edits that arrived before their messages did: when, and to which text."""
        self._removed: dict[Message, None] = {}
        """Messages that were deleted: the deletion may arrive before the message does."""

    async def take(self, event: Json, us: Us, *, event_id: str, delivery: int = 0) -> None:
        """Take in an event of any kind; those that say nothing to us are ignored. `delivery`: how often it came before."""
        kind, subtype = event.get("type"), event.get("subtype")
        last = delivery >= DELIVERIES
        match kind:
            case "message" if subtype == "message_changed":
                await self.changed(event, us, last=last)
            case "message" if subtype == "message_deleted":
                await self._remove(us, str(event["channel"]), str(event["deleted_ts"]))
            case "message" | "app_mention":
                await self.said(event, us, event_id=event_id, last=last)
            case "member_left_channel" if event.get("user") == us.user_id:
                await self.gone(us.workspace, str(event["channel"]))
            case _ if kind in GONE:
                await self.gone(us.workspace, str(event["channel"]))

    async def said(self, raw: Json, us: Us, *, event_id: str = "", last: bool = False) -> Outcome:
        """Take in a message, live or read later."""
        message = incoming(raw, us, event_id=event_id)
        if message is None or _name(message) in self._removed:
            return IGNORED
        where, (edited, text) = where_of(raw, us), self._ahead.get(_name(message), ("", ""))
        if _edited_at(raw) < edited:
            raw = {**raw, "text": text}
        with self._marks.handling(where, message.position or 0):
            outcome = await self._said(raw, us, message, last=last)
            if _name(message) in self._removed:  # while it was taken in
                await self._remove(us, where.channel, message.message_id)
        if outcome.verdict in OURS:
            self._follow(where, message)
        return outcome

    async def overdue(self, raw: Json, us: Us) -> IncomingMessage | None:
        """Return a message that came too long ago to be taken in, if its author may wait for an answer; else None."""
        message = incoming(raw, us)
        if message is None or not await self._intake.concerns_us(message):
            return None
        heard = await self._heard(raw, us, last=True)
        if heard is None or recognised(command_line(raw, us)) is not None:
            return None
        return heard[0] if await self._intake.is_unanswered(heard[0]) else None

    async def changed(self, event: Json, us: Us, *, last: bool = False) -> None:
        """Take in a change of a message. A preview that Slack adds is none, and neither is our own answer as it grows."""
        now, before = event["message"], event.get("previous_message") or {}
        channel = str(event["channel"])
        if now.get("subtype") == "tombstone":
            return await self._remove(us, channel, str(now["ts"]))
        raw = {**now, "type": "message", "channel": channel, "channel_type": event.get("channel_type")}
        same = before.get("text") == now.get("text") if before else not now.get("edited")
        if same or not is_speech(raw, us):
            return None
        name = (us.workspace, channel, str(now["ts"]))
        edited = _edited_at(now)
        if edited < self._edits.get(name, "") or name in self._removed:
            return None
        heard = await self._heard(raw, us, last=last)
        if heard is None:
            return None
        message, command = heard
        concerns_us = await self._intake.concerns_us(message)
        if concerns_us and await self._typed(command, command_line(raw, us)):
            return None
        if edited < self._edits.get(name, ""):  # a later one came meanwhile
            return None
        remember(self._edits, name, edited)  # before it is stored: an earlier one may come meanwhile
        outcome = await self._intake.edited(message)
        if outcome is IGNORED and concerns_us:
            remember(self._ahead, name, (edited, str(now.get("text") or "")))
        if outcome.verdict in OURS:
            self._follow(where_of(raw, us), message)
        self._tell(message, outcome)
        return None

    async def gone(self, workspace: str, channel: str) -> None:
        """Take in that a channel is not for us any more."""
        await self._intake.gone(PLATFORM, workspace, channel, at=self._clock.now())
        self._marks.forget(workspace, channel)

    async def _said(self, raw: Json, us: Us, message: IncomingMessage, *, last: bool) -> Outcome:
        # Most of what is said in a channel is none of our business; nobody's name is asked for that.
        began = self._clock.monotonic()
        try:
            concerns_us = await self._intake.concerns_us(message)
        except StoreUnavailable:
            if not self._marks.follows(where_of(raw, us)):
                raise
            concerns_us = True  # we take part in that thread, as far as is known without the store
        if not concerns_us:
            return IGNORED
        heard = await self._heard(raw, us, event_id=message.event_id, last=last)
        if heard is None:
            return IGNORED
        message, command = heard
        try:
            if await self._typed(command, command_line(raw, us)):
                return IGNORED
            outcome = await self._intake.take(message)
        except StoreUnavailable:
            if not message.from_bot:
                self._unkept(message.address, began)
            raise
        self._tell(message, outcome)
        return outcome

    async def _heard(
        self, raw: Json, us: Us, *, event_id: str = "", last: bool
    ) -> tuple[IncomingMessage, IncomingMessage] | None:
        """Return a message with all that is known of its author, as speech and as a command, which rights hang on."""
        names, facts, author = await asyncio.gather(
            self._people.names(us.workspace, people_of(raw)),
            self._files.told(us.workspace, raw),
            self._assessed(raw, us),
        )
        message = incoming(facts, us, names, standing=author.speaking, event_id=event_id)
        if message is None:
            return None
        hangs = recognised(command_line(facts, us)) is not None or self._may_speak(message.caller) != ""
        if author.passing and hangs and not last:
            raise DeliveryDelayed("Slack does not tell who said it just now", retry_after=ASK_AGAIN)
        return message, replace(message, standing=author.standing)

    async def _assessed(self, raw: Json, us: Us) -> Assessment:
        if raw.get("bot_id"):
            return A_BOT
        return await self._standings.of(us.workspace, str(raw["user"]), team=team_of(raw))

    async def _remove(self, us: Us, channel: str, ts: str) -> None:
        remember(self._removed, (us.workspace, channel, ts), None)
        await self._intake.deleted([MessageName(platform=PLATFORM, workspace=us.workspace, channel=channel, id=ts)])

    def _follow(self, where: Where, message: IncomingMessage) -> None:
        position = message.position or 0
        self._marks.follow(where, position)
        thread = address_of(message, self._rules_of(message)).thread
        if thread != where.thread:  # the answer begins one, where nobody has to mention us
            place = Place.DIRECT if where.place is Place.DIRECT else Place.THREAD
            self._marks.follow(replace(where, place=place, thread=thread), position)

    def _tell(self, message: IncomingMessage, outcome: Outcome) -> None:
        """Say a notice once: a mention is two events, perhaps at two replicas, and what is refused is not stored."""
        if not outcome.notice:
            return
        name = "/".join(("slack.notice", *_name(message), f"{zlib.crc32(outcome.notice.encode()):x}"))
        address = address_of(message, self._rules_of(message))

        async def post() -> None:
            with contextlib.suppress(StoreUnavailable):  # said twice is better than not at all
                if not await self._once(name):
                    return
            if outcome.aside and message.place is not Place.DIRECT:
                await tell(self._api, address, message.author_id, CommandReply(text=outcome.notice))
                return
            await self._surface.post(address, outcome.notice, nonce=f"n{message.message_id}")

        self._afterwards.begin("notice", post)

    def _rules_of(self, message: IncomingMessage) -> Rules:
        return self._rules(message.address.workspace, message.address.channel)


def _edited_at(message: Json) -> str:
    return str((message.get("edited") or {}).get("ts") or "")


def _name(message: IncomingMessage) -> Message:
    return (message.address.workspace, message.address.channel, message.message_id)
