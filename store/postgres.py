"""The store on PostgreSQL, for any number of processes side by side.

The server coordinates them: a conversation's row is the lock of all that is changed of it, leases are measured by the
server's clock, and every write of a holder passes the fence of lease and epoch there. Nothing is held between two calls.

Here a call's arguments are checked, and rows made into values. What a call does stands in `store/postgres_functions`.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from store.arguments import require_charge, require_final, require_message, require_outcome, require_window
from store.errors import StoreDamaged, refuse_unstorable
from store.governing import Charge
from store.keeping import Expired, Spot
from store.postgres_calls import Known, SealedForAnother
from store.postgres_edits import PostgresEdits
from store.postgres_leftovers import PostgresLeftovers
from store.postgres_people import PostgresPeople
from store.postgres_places import PostgresPlaces
from store.postgres_pool import PostgresPool, Row
from store.postgres_rows import Held, claim_of, conversation_of, damaged_claim_of, window_of
from store.postgres_setup import prepare, version
from store.postgres_sharing import PostgresSharing
from store.postgres_workspaces import PostgresWorkspaces
from store.rows import MICROSECOND, REDO, RETRACT, ROLES, STOP, Begin, columns_of, delivery_names, refuse_all, time_of, us_of
from store.seals import PLAIN, what_file, what_text
from store.values import (
    DAMAGED,
    Absorbed,
    Accepted,
    Answer,
    Claim,
    Conversation,
    ConversationKey,
    Ending,
    Hold,
    Message,
    NewMessage,
    Renewal,
    Role,
    Stopped,
    StoreStatus,
    TurnState,
)

if TYPE_CHECKING:
    from store.sealing import Seal

log = logging.getLogger(__name__)

AGAIN = "again"
"""The state of no turn: somebody took the last place of a workspace in the very moment of the claim."""
LONG_BEFORE = -(1 << 63)


class PostgresStore(PostgresWorkspaces, PostgresEdits, PostgresPlaces, PostgresPeople, PostgresSharing, PostgresLeftovers):
    """The laws of `store.protocol.Store` on PostgreSQL. Made by `open`."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        keys: Sequence[bytes] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> "PostgresStore":
        """Open the database at `url`, its tables made or migrated when needed; `keys` and `progress` as for
        `store.open.open_store`. Times are the server's, whatever `clock` says.

        Raises:
            StoreRefused, StoreUnavailable: and nothing is written to what is not ours, or to what the keys do not open.
        """
        seals = _seals(keys) if keys else ()
        while (values := await asyncio.to_thread(prepare, url, seals)) is None:
            from store.postgres_reseal import reseal

            await reseal(url, seals, at=us_of(clock()), progress=progress)
        # Not before: whoever is connected as a Parley is taken to serve people.
        store = cls(await PostgresPool.open(url), version(values.number), values)
        try:
            await store._forget_again()
            await store._free_leftovers()
        except BaseException:
            await store.aclose()
            raise
        return store

    async def get_or_create(self, key: ConversationKey, *, at: datetime) -> Conversation:
        return conversation_of(self._values, await self._one("get_or_create", *columns_of(key), us_of(at)))

    async def find(self, key: ConversationKey) -> Conversation | None:
        row = await self._one("find", *columns_of(key))
        return None if row[0] is None else conversation_of(self._values, row)

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        refuse_unstorable(text)
        said_by = ROLES.index(role)
        kept = self._values.close_text(text, conversation_id, what_text(said_by))
        us = us_of(at)
        id_, position = await self._one("append", conversation_id, said_by, kept, self._values.number, us)
        return Message(
            id=id_,
            conversation_id=conversation_id,
            role=role,
            position=position,
            author_id="",
            author_name="",
            text=text,
            ending=Ending.COMPLETE,
            turn_id=0,
            at=time_of(us),
        )

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        require_window(n)
        return window_of(self._values, *await self._one("recent", conversation_id, n))

    async def accept(self, message: NewMessage) -> int | None:
        accepted = await self._accept(message, None)
        return None if accepted is None else accepted.conversation_id

    async def accept_and_claim(
        self, message: NewMessage, *, lease: timedelta, window: int, per_workspace: int | None = None
    ) -> Accepted | None:
        return await self._accept(message, Begin(lease // MICROSECOND, window, per_workspace))

    async def _accept(self, message: NewMessage, begin: Begin | None) -> Accepted | None:
        require_message(message)
        if self._bars.bars(message):
            return None
        with self._begun():
            try:
                held = await self._take_in(message, begin)
                if held.conversation_id is None:
                    return None
                claim = None if held.turn_id is None else await self._claimed(held)
            except Known:
                return None
        return Accepted(conversation_id=held.conversation_id, claim=claim)

    async def _take_in(self, message: NewMessage, begin: Begin | None) -> Held:
        while self._values.seal is not None:
            numbers = await self._one("numbers", *columns_of(message.key))
            try:
                return Held(*await self._one("accept", *self._accepting(message, begin, numbers)))
            except SealedForAnother:
                pass  # the key has moved on since its number was asked for
        return Held(*await self._one("accept", *self._accepting(message, begin, (None, False, None))))

    def _accepting(self, message: NewMessage, begin: Begin | None, numbers: Row) -> tuple[object, ...]:
        """Write down all that `parley_accept` is told; `numbers` are those that texts are sealed for."""
        conversation_id, _, message_id = numbers
        values = self._values
        files, data = None, None
        if message.attachments:
            rows = []
            for file in message.attachments:
                name = values.close_text(file.name, conversation_id, what_file("name", message_id, file.number))
                url = values.close_text(file.url, conversation_id, what_file("address", message_id, file.number))
                rows.append((file.number, name, file.media_type, file.size, url, file.problem))
            files = json.dumps(rows, ensure_ascii=False)
            data = [
                values.close_data(file.data, conversation_id, what_file("data", message_id, file.number))
                for file in message.attachments
            ]
        return (
            *delivery_names(message.event_id, message.message_id, message.key),
            *columns_of(message.key),
            message.message_id,
            message.position,
            message.author_id,
            message.author_name,
            values.close_text(message.text, conversation_id, what_text(0)),
            message.address,
            us_of(message.at),
            int(message.from_bot),
            files,
            data,
            values.number,
            *numbers,
            *(begin or (None, None, None)),
            self._process,
        )

    async def claim(
        self,
        *,
        lease: timedelta,
        window: int,
        platforms: Collection[str],
        per_workspace: int | None = None,
        but: Collection[Spot] = (),
    ) -> Claim | None:
        asked = (lease // MICROSECOND, window, list(platforms), per_workspace)
        left_out = [f"{spot.platform} {spot.workspace}" for spot in but]
        with self._begun():
            held = None
            while held is None or held.state == AGAIN:
                row = await self._one("claim", *asked, left_out, self._process)
                held = Held(*row)
            return None if held.turn_id is None else await self._claimed(held)

    async def _claimed(self, held: Held) -> Claim:
        asked_to_stop = held.stop == STOP
        try:
            return claim_of(self._values, held, asked_to_stop=asked_to_stop)
        except StoreDamaged as exc:
            # Left as it is, it would be claimed first for ever, and nobody else would be answered.
            log.error("turn %d fails: %s", held.turn_id, exc)
            if not held.error:
                await self.finish(held.hold, None, error=DAMAGED)
            return damaged_claim_of(held, held.error or DAMAGED, asked_to_stop=asked_to_stop)

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        stop, waiting = await self._one("renew", *_fence(hold), lease // MICROSECOND)
        return Renewal(stop=stop > 0, waiting=waiting, retracted=stop >= RETRACT, revised=stop == REDO)

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        address, *read = await self._one("absorb", *_fence(hold), window)
        return None if address is None else Absorbed(window=window_of(self._values, *read), address=address)

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        refuse_unstorable(platform_id)
        await self._one("record_part", *_fence(hold), number, platform_id)

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "", charge: Charge | None = None) -> bool:
        require_outcome(answer, error)
        charged = _charged(charge)
        if answer is None:
            said: tuple[object, ...] = (None, PLAIN, None, None, None, None)
        else:
            text = self._values.close_text(answer.text, hold.conversation_id, what_text(1))
            tokens = (answer.prompt_tokens, answer.completion_tokens)
            said = (text, self._values.number, answer.ending.value, answer.model, *tokens)
        finished, replaced = await self._one("finish", *_fence(hold), *said, error, *charged)
        if replaced:
            self._scrubber.mark()
        return bool(finished)

    async def settle(self, hold: Hold, state: TurnState) -> None:
        require_final(state)
        await self._one("settle", *_fence(hold), state.value)

    async def release(self, hold: Hold, *, charge: Charge | None = None) -> None:
        await self._one("release", *_fence(hold), *_charged(charge))

    async def stop(self, conversation_id: int) -> Stopped:
        running, queued = await self._one("stop", conversation_id)
        return Stopped(running=running, queued=queued)

    async def retry(self, conversation_id: int) -> bool:
        (again,) = await self._one("retry", conversation_id)
        return bool(again)

    async def busy(self, conversation_id: int) -> bool:
        (open_,) = await self._one("busy", conversation_id)
        return bool(open_)

    async def recall(self, name: str) -> str:
        (note,) = await self._one("recall", name)
        return note or ""

    async def remember(self, name: str, note: str) -> None:
        refuse_all(name, note)
        await self._one("remember", name, note)

    async def once(self, name: str, *, at: datetime) -> bool:
        refuse_unstorable(name)
        (first,) = await self._one("once", f"{name}\x1fo", us_of(at))
        return bool(first)

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        await self._one("end", conversation_id, us_of(at))

    async def expire(
        self,
        *,
        before: datetime,
        at: datetime,
        limit: int,
        within: Spot | None = None,
        but: Collection[Spot] = (),
        since: str | None = None,
    ) -> Expired:
        spot = (None, None, None) if within is None else (within.platform, within.workspace, within.channel)
        spared = [[spot.platform for spot in but], [spot.workspace for spot in but], [spot.channel for spot in but]]
        last_id, last = since.split(" ", 1) if since else ("0", "")
        last_active = int(last) if within is None and last else LONG_BEFORE
        behind = (int(last_id), last_active, "" if within is None else last)
        row = await self._one("expire", us_of(before), us_of(at), limit, *spot, *spared, *behind)
        expired, looked_at, more, last_id, last_active, last_channel = row
        following = f"{last_id} {last_active if within is None else last_channel}" if more else None
        return Expired(expired=expired, looked_at=looked_at, next=following)

    async def purge(self, *, before: datetime, limit: int) -> int:
        (gone,) = await self._one("purge", us_of(before), limit)
        if gone:
            self._scrubber.mark()
        return int(gone)

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        (gone,) = await self._one("forget_events", us_of(before), limit)
        return int(gone)

    async def status(self) -> StoreStatus:
        queued, held, oldest, server = await self._one("status")
        return StoreStatus(
            engine=f"PostgreSQL {server.split()[0]}",
            place=self._pool.place,
            queued=queued,
            running=held,
            oldest_queued_at=None if oldest is None else time_of(oldest),
        )

    async def server_time(self) -> datetime:
        (now,) = await self._one("now")
        return time_of(now)

    async def check(self) -> None:
        await self._one("check")

    async def aclose(self) -> None:
        await self._scrubber.stop()
        await self._pool.aclose()


def _fence(hold: Hold) -> tuple[int, int, int]:
    return (hold.turn_id, hold.conversation_id, hold.epoch)


def _charged(charge: Charge | None) -> tuple[object, ...]:
    require_charge(charge)
    if charge is None:
        return (None, None, None, None)
    return (charge.author_id, charge.prompt_tokens, charge.completion_tokens, charge.money)


def _seals(keys: Sequence[bytes]) -> tuple["Seal", ...]:
    from store.sealing import Seal

    return tuple(Seal(key) for key in keys)
