"""A reply on its way to people: the newest text becomes posts and edits at the platform's pace, nothing twice, nothing lost.

Delivery is an outbox (DESIGN §5). A part of a reply has a number; it is posted once, with the nonce of that number, and
its id is recorded before anything else happens with it. All that follows are edits, which may be repeated. Where the
outcome of a post is unknown, the message is looked for before it is posted again.

The last message of a reply bears its controls, if the platform has buttons. A message that stops being the last one loses
them by the edit that completes its text.

What a reply costs: one post for each part; while text comes in at most one write per `Limits.pace`, shared by all replies
on the budget; at the end one edit for each part that does not show its last text and controls yet, one delete for each
message too many. An answer that is complete before its first slot costs one post. Looking (`find`) and signs of work are
no writes.
"""

import asyncio
import itertools
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from bot.chat.fence import fenced
from bot.chat.pacing import Pacers
from bot.chat.protocol import (
    NO_CONTROLS,
    Address,
    Budget,
    Controls,
    DeliveryDelayed,
    DeliveryError,
    Limits,
    MessageGone,
    OutcomeUnknown,
    Surface,
    Write,
)
from bot.chat.splitting import parts_of
from bot.clock import Clock, time_limit

TRIES = 10
"""Failures in a row after which `complete` gives up."""
PATIENCE = timedelta(minutes=5)
"""How long `complete` goes without any success before it gives up."""
SETTLING = timedelta(seconds=2)
"""What a platform may take to show a message whose post was not answered; also the first step of every back-off."""
LONGEST_WAIT = timedelta(seconds=30)
GRACE = timedelta(seconds=5)
"""How long leaving a reply waits for the write that is under way, so that its id is recorded."""
FILE_NAME = "answer.md"
FILE_NOTICE = "\n\n*The whole answer is in the attached file.*"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one message is to show."""

    number: int
    text: str
    file: bool = False
    controls: Controls = NO_CONTROLS


def lay_out(text: str, limits: Limits, *, growing: bool = False, controls: Controls = NO_CONTROLS) -> list[Piece]:
    """Plan the messages that show `text`: none for a blank one, a beginning and a file for more than `limits.parts`.

    The last message that can have buttons bears the `controls`.

    A file can't be edited, so its number is made from its text: another text is another part, the same text is not
    posted again. While the text is `growing` there is no file yet, only the first messages.
    """
    pieces = _lay_out(text, limits, growing=growing)
    if pieces and limits.buttons:
        last = -2 if pieces[-1].file and not limits.file_buttons else -1
        pieces[last] = replace(pieces[last], controls=controls)
    return pieces


def _lay_out(text: str, limits: Limits, *, growing: bool) -> list[Piece]:
    shown_texts = (part.text for part in parts_of(text, limits.part, limits.measure) if not part.text.isspace())
    # One more than there may be tells enough: cutting a text of a million characters to its end takes over a second.
    texts = list(itertools.islice(shown_texts, limits.parts + 1))
    if growing or len(texts) <= limits.parts:
        return [Piece(number=number, text=shown) for number, shown in enumerate(texts[: limits.parts], start=1)]
    beginning = next(parts_of(text.lstrip(), limits.part - limits.measure.of(FILE_NOTICE), limits.measure)).text
    number = limits.parts + 1 + (zlib.crc32(text.encode()) & 0x3FFF_FFFF)
    return [Piece(number=1, text=beginning + FILE_NOTICE), Piece(number=number, text=text, file=True)]


@dataclass(slots=True)
class _Message:
    """What we know of one part's message. Without an `id` it is not posted yet, as far as we know."""

    id: str = ""
    shown: tuple[str, Controls] | None = None
    """Its text and its controls; None when we can't be sure of them."""
    ours: bool = False
    """We wrote it in this run."""
    gone: bool = False
    """Somebody removed it while we were writing."""
    doubtful: bool = False
    """It may be there all the same: look before posting."""
    settled_at: timedelta = timedelta()
    """Looking is no use before."""
    repeated: bool = False
    """Posting may return a message that an earlier post made, with an older text."""

    def lacks(self, piece: Piece) -> bool:
        """People do not see the piece yet. A file is never edited: its number says what is in it."""
        return not self.gone and (not self.id or (not piece.file and self.shown != (piece.text, piece.controls)))


class Reply:
    """One reply, from the first text to the last edit; an async context manager.

    `parts` are the ids of what an earlier run posted, by part number. `reconcile`: an earlier run may have posted more
    than it recorded, so every part without an id is looked for before it is posted: behind the message `behind`, the first
    one that is answered, since an earlier run may not have known of the last one, which the `address` names. `record` keeps
    a part's id. `guard` is called right before each write and raises when the turn is no longer ours; then nothing more is
    written. `controls` are offered while the answer grows.

    Inside, a task writes what `show` was given last; until the first post the surface shows a sign of work. Leaving ends
    both, waits for a write under way and writes nothing more. A message that somebody removes meanwhile is not posted
    again; one that was removed earlier is.
    """

    def __init__(
        self,
        surface: Surface,
        address: Address,
        *,
        nonce: Callable[[int], str],
        parts: Mapping[int, str],
        reconcile: bool,
        pacers: Pacers,
        clock: Clock,
        record: Callable[[int, str], Awaitable[None]],
        guard: Callable[[], None],
        controls: Controls = NO_CONTROLS,
        behind: str = "",
    ) -> None:
        self._surface = surface
        self._address = address
        self._nonce = nonce
        self._reconcile = reconcile
        self._pacers = pacers
        self._clock = clock
        self._record = record
        self._guard = guard
        self._controls = controls
        self._behind = behind
        self._messages = {number: _Message(id=platform_id) for number, platform_id in parts.items() if platform_id}
        if reconcile:  # parts are posted in order, each recorded before the next: only the first without an id may be there
            self._message(next(number for number in itertools.count(1) if number not in self._messages))
        self._text = ""
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send(), name="reply.sender")
        self._sign = asyncio.create_task(self._show_work(), name="reply.sign")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(TimeoutError):
                async with time_limit(self._clock, GRACE):
                    await self._stop_sending()
        finally:
            self._sender.cancel()
            self._sign.cancel()
            await asyncio.wait({self._sender, self._sign})
        for task in (self._sender, self._sign):
            if not task.cancelled() and (failure := task.exception()):
                log.debug("delivery.ended", task=task.get_name(), error=type(failure).__name__)
        del self._sender, self._sign, task  # what ended them holds their frames, and these hold us

    def show(self, text: str) -> None:
        """Let people see `text`, the whole of the reply so far, when its time comes; never waits.

        Raises what ended the writing for good: Unreachable, or what `guard` or `record` raised.
        """
        self._raise_failure()
        self._text = text
        self._news.set()

    def readdress(self, address: Address) -> None:
        """Send the reply to another place, as long as nothing was shown: the newest message that it answers decides.

        Both places draw on one budget: they differ in the message that is replied to.
        """
        self._address = address

    async def complete(self, text: str, controls: Controls = NO_CONTROLS) -> None:
        """Return when people see exactly `text` with `controls`; its writes go first in line. May be called again, with
        another text.

        Raises:
            Unreachable: at once.
            DeliveryDelayed, OutcomeUnknown: after `TRIES` failures in a row, or `PATIENCE`.
            Whatever `guard` or `record` raised.
        """
        await self._stop_sending()
        self._raise_failure()
        pieces = lay_out(text, self._surface.limits, controls=controls)
        await self._persist(lambda: self._write_next(lambda: pieces, final=True), final=True)
        await self._persist(lambda: self._delete_next({piece.number for piece in pieces}), final=True)

    async def _show_work(self) -> None:
        while not any(message.id for message in self._messages.values()):
            try:
                await self._surface.working(self._address)
            except DeliveryError as exc:
                log.debug("delivery.no_sign", error=type(exc).__name__)
            await self._clock.sleep(self._surface.limits.status)

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._persist(lambda: self._write_next(self._growing, final=False), final=False)

    def _growing(self) -> list[Piece]:
        return lay_out(self._text, self._surface.limits, growing=True, controls=self._controls)

    async def _stop_sending(self) -> None:
        async with self._writing:  # never in the middle of a write
            self._sender.cancel()
        await asyncio.wait({self._sender})

    def _raise_failure(self) -> None:
        if self._sender.done() and not self._sender.cancelled():
            self._sender.result()

    async def _persist(self, step: Callable[[], Awaitable[bool]], *, final: bool) -> None:
        """Repeat `step` until nothing is left to do, also when it fails, but the `final` ones not for ever."""
        failures, failing_since = 0, timedelta()
        while True:
            try:
                if not await step():
                    return
                failures = 0
            except (DeliveryDelayed, OutcomeUnknown) as exc:
                now = self._clock.monotonic()
                failing_since = failing_since if failures else now
                failures += 1
                wait = _back_off(exc, failures)
                if final and (failures >= TRIES or now + wait - failing_since >= PATIENCE):
                    raise
                log.info("delivery.retry", error=type(exc).__name__, failures=failures, wait=wait.total_seconds())
                await self._clock.sleep(wait)

    async def _write_next(self, plan: Callable[[], list[Piece]], *, final: bool) -> bool:
        """Write the first piece that people do not see yet; False when they see them all."""
        if (piece := self._lacking(plan())) is None:
            return False
        if self._message(piece.number).doubtful:
            await self._look_for(piece.number, piece.text)
            return True
        first = not any(message.id for message in self._messages.values())
        write = self._kind_of(piece)
        async with self._turn(write, urgent=final or first, final=final):
            piece = self._lacking(plan())  # the newest text: it went on while we waited
            if piece and self._kind_of(piece) is write and not self._message(piece.number).doubtful:
                await self._write(piece)
        return True

    async def _delete_next(self, kept: set[int]) -> bool:
        """Delete a message that shows nothing of the text; False when there is none left."""
        for number, message in self._messages.items():
            if number in kept or message.gone or not (message.id or message.doubtful):
                continue
            if message.doubtful:
                await self._look_for(number, "")
                return True
            async with self._turn(Write.DELETE, urgent=True, final=True):
                await self._surface.delete(self._address, message.id)
                self._forget(number)
            return True
        return False

    async def _write(self, piece: Piece) -> None:
        message = self._message(piece.number)
        if not message.id:
            await self._post(piece, message)
        else:
            await self._edit(piece, message)
        message.ours = True

    async def _post(self, piece: Piece, message: _Message) -> None:
        nonce, fresh = self._nonce(piece.number), not message.repeated
        message.doubtful = message.repeated = True  # until the answer is here, also when we are cancelled
        try:
            if piece.file:
                platform_id = await self._surface.post_file(
                    self._address, FILE_NAME, piece.text, nonce=nonce, controls=piece.controls
                )
            else:
                platform_id = await self._surface.post(
                    self._address, piece.text, nonce=nonce, first=piece.number == 1, controls=piece.controls
                )
        except OutcomeUnknown:
            message.settled_at = self._clock.monotonic() + SETTLING
            raise
        except DeliveryError:
            message.doubtful, message.repeated = False, not fresh
            raise
        message.doubtful = False
        message.shown = (piece.text, piece.controls) if fresh else None
        await self._keep(piece.number, platform_id)

    async def _edit(self, piece: Piece, message: _Message) -> None:
        message.shown = None  # until the answer is here
        try:
            await self._surface.edit(self._address, message.id, piece.text, controls=piece.controls)
        except MessageGone:
            log.info("delivery.gone", part=piece.number, again=not message.ours)
            if message.ours:
                message.gone = True
            else:
                self._forget(piece.number)
            return
        message.shown = (piece.text, piece.controls)

    async def _look_for(self, number: int, text: str) -> None:
        """Find out whether a part is there that would show `text` now, and keep its id if it is."""
        message = self._message(number)
        await self._clock.sleep(message.settled_at - self._clock.monotonic())
        async with self._writing:
            address = replace(self._address, reply_to=self._behind or self._address.reply_to)
            platform_id = await self._surface.find(address, nonce=self._nonce(number), text=text)
            message.doubtful = False
            log.info("delivery.reconciled", part=number, found=platform_id is not None)
            if platform_id is not None:
                await self._keep(number, platform_id)

    async def _keep(self, number: int, platform_id: str) -> None:
        self._message(number).id = platform_id
        self._sign.cancel()
        await self._record(number, platform_id)

    @asynccontextmanager
    async def _turn(self, write: Write, *, urgent: bool, final: bool) -> AsyncIterator[None]:
        """Wait until we may write, make sure that we still may, and let nobody stop us in the middle."""
        budget = self._surface.budget(self._address, write)
        await self._slot(budget, urgent=urgent, final=final)
        async with self._writing:
            self._guard()
            try:
                with fenced(self._guard):
                    yield
            except DeliveryDelayed as exc:
                self._pacers.of(budget).penalize(exc.retry_after)
                raise

    async def _slot(self, budget: Budget, *, urgent: bool, final: bool) -> None:
        if not final:
            await self._pacers.of(budget).acquire(urgent=urgent)
            return
        try:  # `complete` does not wait for ever on a budget that the platform has closed
            async with time_limit(self._clock, PATIENCE):
                await self._pacers.of(budget).acquire(urgent=urgent)
        except TimeoutError as exc:
            raise DeliveryDelayed("the platform allows no writes here", retry_after=PATIENCE) from exc

    def _forget(self, number: int) -> None:
        """The message we knew is gone. An earlier run may have found that too, and posted another without recording it."""
        self._messages[number] = _Message(doubtful=self._reconcile, repeated=True)

    def _kind_of(self, piece: Piece) -> Write:
        return Write.EDIT if self._message(piece.number).id else Write.POST

    def _lacking(self, pieces: list[Piece]) -> Piece | None:
        return next((piece for piece in pieces if self._message(piece.number).lacks(piece)), None)

    def _message(self, number: int) -> _Message:
        return self._messages.setdefault(number, _Message(doubtful=self._reconcile, repeated=self._reconcile))


def _back_off(error: DeliveryError, failures: int) -> timedelta:
    """How long to wait after so many failures in a row: what the platform says, or a time that doubles."""
    doubling = min(SETTLING * (1 << min(failures - 1, 10)), LONGEST_WAIT)
    if isinstance(error, DeliveryDelayed):
        return error.retry_after if failures == 1 else max(error.retry_after, doubling)
    return doubling
