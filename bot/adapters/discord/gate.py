"""From Discord's events to Intake: what is heard live and what is read later go through here, in the order of its channel.

Every method that takes an event only queues work; see `bot.adapters.discord.inbox`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

import discord
import structlog

from bot.adapters.discord.inbound import incoming, is_speech
from bot.adapters.discord.inbox import Inbox, Room
from bot.adapters.discord.members import Members
from bot.adapters.discord.permissions import may_answer
from bot.adapters.discord.places import PLATFORM, Places, category_of, workspace_of
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.where import Where
from bot.chat.intake import Intake, Outcome, Verdict
from bot.chat.protocol import Address, DeliveryDelayed, DeliveryError, IncomingMessage, Place, Surface, Unreachable
from bot.clock import Clock
from store import MessageName, StoreUnavailable

log = structlog.get_logger(__name__)

EDIT_AGE = timedelta(hours=1)
"""Edits are told of at once, or after a resumed session a little later. What comes with an older one is something else that
happened to the message: somebody pinned it, or began a thread at it."""
EDITS_REMEMBERED = 1000
"""Messages whose last edit is known. Discord tells of a link's preview seconds after the edit that brought it."""
OURS = (Verdict.TAKEN, Verdict.KNOWN)
"""What Intake says of messages in places where the bot takes part."""


class Gate:
    """Brings messages, edits and deletions to Intake, and tells authors what it has to say to them."""

    def __init__(
        self,
        intake: Intake,
        inbox: Inbox,
        marks: Watermarks,
        places: Places,
        members: Members,
        surface: Surface,
        clock: Clock,
        *,
        us: int,
        content: bool,
        unkept: Callable[[Address, timedelta], None] = lambda address, since: None,
    ) -> None:
        """`us` is our own user's id; `content`: we may read what is not said to us. `unkept` is told where a message to us
        could not be stored, and since when that was tried; it waits in the inbox until it can."""
        self._intake = intake
        self._inbox = inbox
        self._marks = marks
        self._us = us
        self._places = places
        self._members = members
        self._surface = surface
        self._clock = clock
        self._content = content
        self._unkept = unkept
        self._edits: OrderedDict[int, datetime] = OrderedDict()

    def heard(self, message: discord.Message) -> bool:
        """Take in a message of the gateway; False when there is no room for it."""
        return self._said(message) is not None

    async def reread(self, message: discord.Message) -> None:
        """Take in a message that was read later, and return when it was handled.

        Raises:
            DeliveryDelayed: there is no room for it now, or Discord does not tell who its author is.
        """
        if is_speech(message, self._us):
            # Asked for first, and remembered: a question without an answer holds up what is read, not what is said now.
            await self._members.standing(message)
        handled = self._said(message, again=True)
        if handled is None:
            raise DeliveryDelayed("too much waits to be handled", retry_after=self._surface.limits.status)
        await asyncio.shield(handled)

    async def overdue(self, message: discord.Message) -> IncomingMessage | None:
        """Return a message that came too long ago to be taken in, if its author may wait for an answer; else None.

        Raises:
            DeliveryDelayed: Discord does not tell who its author is.
            StoreUnavailable.
        """
        where, said = await self._read(message)
        if where is None or said is None or not _may_answer(message, where.place):
            return None
        return said if await self._intake.is_unanswered(said) else None

    def changed(self, message: discord.Message) -> None:
        """Take in an edit. A preview that Discord adds is none, nor is a pin, and neither is our own answer as it grows."""
        if message.edited_at is None or self._edits.get(message.id) == message.edited_at or not is_speech(message, self._us):
            return
        if self._clock.now() - message.edited_at > EDIT_AGE:
            return
        self._edits[message.id] = message.edited_at
        if len(self._edits) > EDITS_REMEMBERED:
            self._edits.popitem(last=False)
        self._queue(message.channel.id, lambda: self._take_edit(message), Room.EDIT)

    def removed(self, workspace: str, channel: int, messages: Collection[int]) -> None:
        """Take in deletions."""
        # Which channel a thread belongs to may not be known any more; the messages' ids are, and they are Discord's own.
        names = [MessageName(platform=PLATFORM, workspace=workspace, channel="", id=str(message)) for message in messages]
        self._queue(channel, lambda: self._intake.deleted(names), Room.REMOVAL)

    def opened(self, thread: discord.Thread) -> None:
        """Follow a thread of our own, where nobody has to mention us, from its first message on."""
        self._places.learn(thread.id, thread.parent_id)
        if thread.owner_id == self._us:
            where = Where(
                place=Place.THREAD, workspace=str(thread.guild.id), channel=str(thread.parent_id), thread=str(thread.id)
            )
            self._marks.follow(where, thread.id)

    def learn(self, thread: int, parent: int) -> None:
        """Remember the channel around a thread, which need not be asked for then."""
        self._places.learn(thread, parent)

    def gone(self, workspace: str, channel: int = 0, thread: int = 0) -> None:
        """Take in that a guild, a channel or a thread is not there any more."""
        number = thread or channel or int(workspace)
        self._queue(number, lambda: self._take_loss(workspace, _name(channel), _name(thread)), Room.REMOVAL)

    def _said(self, message: discord.Message, *, again: bool = False) -> asyncio.Future[None] | None:
        workspace, channel, position = workspace_of(message.channel), message.channel.id, message.id
        handled = self._inbox.put(channel, lambda: self._take(message, again=again))
        if handled is None:
            if not workspace:  # whoever writes for the first time now would not be found later
                self._marks.follow(Where(place=Place.DIRECT, workspace="", channel=str(channel)), position - 1)
        else:
            self._marks.arrived(workspace, position)
            handled.add_done_callback(
                lambda done: None if done.cancelled() else self._marks.handled(workspace, channel, position)
            )
        return handled

    def _queue(self, channel: int, work: Callable[[], Awaitable[None]], room: Room) -> None:
        if self._inbox.put(channel, work, room=room) is None and not self._inbox.closing:
            log.error("discord.lost", kind=room.name.lower(), channel=str(channel), reason="too much waits to be handled")

    async def _take(self, message: discord.Message, *, again: bool) -> None:
        where, said = await self._read(message)
        if where is None or said is None:
            return
        if not _may_answer(message, where.place):
            # Nothing is asked of a model for it, and no refusals add up, of which Discord bears so many.
            if said.addressed:
                log.info("discord.may_not_answer", channel=where.channel, remedy="`parley doctor` says what to grant")
            return
        began = self._clock.monotonic()
        try:
            outcome = await self._intake.take(said)
        except StoreUnavailable:
            # Intake asks the store about what concerns us, and about threads, of which only the marks tell meanwhile.
            ours = said.addressed or where.place is not Place.THREAD or self._marks.follows(where)
            if ours and not said.from_bot:
                self._unkept(said.address, began)
            raise
        if outcome.verdict in OURS and where.place is not Place.CHANNEL:  # a channel has the mark of its guild
            self._marks.follow(where, message.id)
        await self._tell(said, outcome, again=again)

    async def _take_edit(self, message: discord.Message) -> None:
        _, said = await self._read(message)
        if said is not None:
            await self._tell(said, await self._intake.edited(said))

    async def _take_loss(self, workspace: str, channel: str, thread: str) -> None:
        await self._intake.gone(PLATFORM, workspace, channel, thread, at=self._clock.now())
        self._marks.forget(workspace, channel, thread)

    async def _read(self, message: discord.Message) -> tuple[Where | None, IncomingMessage | None]:
        if not is_speech(message, self._us):
            return None, None
        try:
            where = await self._places.of(message.channel)
        except Unreachable:  # it went while the message waited
            return None, None
        own_role = message.guild.self_role if message.guild is not None else None
        return where, incoming(
            message,
            where,
            us=self._us,
            own_roles={own_role.id} if own_role is not None else set(),
            standing=await self._members.standing(message),
            category=category_of(where, message.guild),
            content=self._content,
        )

    async def _tell(self, said: IncomingMessage, outcome: Outcome, *, again: bool = False) -> None:
        """Say a notice in place of an answer; like one it notifies its author once. `again`: it may have been said."""
        if not outcome.notice:
            return
        nonce = f"n{said.message_id}"
        try:
            if again and await self._surface.find(said.address, nonce=nonce, text=outcome.notice) is not None:
                return
            await self._surface.post(said.address, outcome.notice, nonce=nonce)
        except DeliveryError as exc:
            log.info("discord.notice_not_posted", reason=str(exc))


def _may_answer(message: discord.Message, place: Place) -> bool:
    """Tell whether the bot may write there, or at least in a thread that begins there, as far as the library knows."""
    if message.guild is None or not isinstance(message.channel, discord.abc.GuildChannel | discord.Thread):
        return True
    try:
        ours = message.channel.permissions_for(message.guild.me)
    except (discord.ClientException, AttributeError):  # a thread without its channel, a server without us
        return True
    return may_answer(ours, place) or (ours.create_public_threads and may_answer(ours, Place.THREAD))


def _name(number: int) -> str:
    return str(number) if number else ""
