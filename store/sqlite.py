"""The store on one SQLite file, or in memory.

Every call is one function on the writing connection (`store.sqlite_writer`), so it is one transaction; the calls of many
conversations share commits. A turn that goes well takes five: accept_and_claim, absorb, record_part, finish, settle. It
can't be fewer, since people, the model and the platform stand between them. One process holds the file, therefore every
lease that is found at opening belongs to a process that is gone, and is void.

Here a call's arguments are checked; those of `Governing` in `store.sqlite_governing`, those of `Keeping` in
`store.sqlite_keeping`, those of `Sharing` in `store.sqlite_sharing`. What a call does stands in
`store.sqlite_conversations`, `store.sqlite_turns`, `store.sqlite_edits`, `store.sqlite_places`, `store.sqlite_people` and
`store.sqlite_workspaces`, and the SQL of them all in `store.sqlite_sql`.
What is erased is written in `store.sqlite_ledger` first and overwritten in the files by `store.sqlite_scrubbing`.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from store import sqlite_conversations as conversations
from store import sqlite_edits as edits
from store import sqlite_expiry as expiry
from store import sqlite_forgetting as forgetting
from store import sqlite_people as people
from store import sqlite_places as places
from store import sqlite_turns as turns
from store import sqlite_workspaces as workspaces
from store.arguments import (
    require_charge,
    require_final,
    require_installation,
    require_message,
    require_outcome,
    require_page,
    require_place,
    require_read,
    require_somebody,
    require_window,
)
from store.errors import refuse_unstorable
from store.governing import Charge
from store.keeping import Expired, Spot
from store.migrate import upgrade
from store.rows import MICROSECOND, Begin, columns_of, columns_of_name, refuse_all, us_of
from store.sqlite_file import FileLock, has_journal, uri_of
from store.sqlite_governing import SqliteGoverning
from store.sqlite_keeping import SqliteKeeping
from store.sqlite_ledger import Ledger, beside
from store.sqlite_opening import lock_of, prepare, to_the_end
from store.sqlite_reseal import Progress, reseal
from store.sqlite_scrubbing import Scrubber
from store.sqlite_sharing import SqliteSharing
from store.sqlite_writer import SqliteWriter
from store.values import (
    SUMMARIES,
    Absorbed,
    Accepted,
    Answer,
    Claim,
    Conversation,
    ConversationKey,
    ConversationSummary,
    Feedback,
    Hold,
    Installation,
    Located,
    Message,
    MessageName,
    NewMessage,
    Renewal,
    Revised,
    Role,
    Stopped,
    StoreStatus,
    TurnFacts,
    TurnState,
    Watermark,
)

if TYPE_CHECKING:
    from store.sealing import Seal

PURGE_ROWS = 1000
"""Rows of a purged workspace that are erased in one transaction."""


class SqliteStore(SqliteGoverning, SqliteKeeping, SqliteSharing):
    """The laws of `store.protocol.Store` on SQLite. Made by `open`."""

    def __init__(
        self, writer: SqliteWriter, lock: FileLock | None, path: Path | None, clock: Callable[[], datetime]
    ) -> None:
        ledger = Ledger(None if path is None else beside(path))
        super().__init__(writer, clock, ledger, Scrubber(writer, path))
        self._lock = lock
        self._path = path

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        keys: Sequence[bytes] = (),
        progress: Progress = lambda done, total: None,
    ) -> "SqliteStore":
        """Open the store at `path`, made or migrated when needed; None keeps it in memory until it is closed.

        `keys` and `progress` as for `store.open.open_store`.

        Raises:
            StoreRefused, StoreUnavailable: and nothing is written to what is not ours, or to what the keys do not open.
        """
        seals = _seals(keys) if keys else ()
        lock, writer, crashed = None, None, False
        if path is not None:
            path = await asyncio.to_thread(path.resolve)  # a link to it is the same store, with the same lock
            lock = lock_of(path)  # in no thread: whoever gives up in between would leave it taken
        try:
            if path is None:
                # The shared cache lets the migration's own connection see the same memory.
                uri = f"file:parley-{uuid.uuid4()}?mode=memory&cache=shared"
                writer = await SqliteWriter.open(uri, place="the store in memory")
                await to_the_end(upgrade, f"sqlite:///{uri}&uri=true")
            else:
                await to_the_end(prepare, path, seals)
                crashed = await asyncio.to_thread(has_journal, path)
                writer = await SqliteWriter.open(f"{uri_of(path)}?mode=rw", place=str(path))
        except BaseException:
            if writer is not None:
                await writer.aclose()
            if lock is not None:
                lock.release()
            raise
        store = cls(writer, lock, path, clock)
        try:
            if seals:
                name, at = str(path or ":memory:"), us_of(clock())
                await reseal(writer, seals, place=name, at=at, scrub=store.scrub, progress=progress)
            await writer.run(conversations.void_leases)
            await store._forget_again()
            if crashed:
                store._scrubber.mark()  # it may have been about to
                store._scrubber.wake()
        except BaseException:
            await store.aclose()
            raise
        return store

    async def get_or_create(self, key: ConversationKey, *, at: datetime) -> Conversation:
        return await self._run(conversations.get_or_create, columns_of(key), us_of(at))

    async def find(self, key: ConversationKey) -> Conversation | None:
        return await self._run(conversations.find, columns_of(key))

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        refuse_unstorable(text)
        return await self._run(conversations.append, conversation_id, role, text, us_of(at))

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        require_window(n)
        return await self._run(conversations.recent, conversation_id, n)

    async def accept(self, message: NewMessage) -> int | None:
        accepted = await self._accept(message, None)
        return None if accepted is None else accepted.conversation_id

    async def accept_and_claim(
        self, message: NewMessage, *, lease: timedelta, window: int, per_workspace: int | None = None
    ) -> Accepted | None:
        return await self._accept(message, Begin(lease // MICROSECOND, window, per_workspace))

    async def _accept(self, message: NewMessage, begin: Begin | None) -> Accepted | None:
        require_message(message)
        if self._ledger.bars(message):
            return None
        try:
            return await self._run_now(turns.accept, message, us_of(message.at), begin)
        except turns.SamePosition:
            return None

    async def claim(
        self,
        *,
        lease: timedelta,
        window: int,
        platforms: Collection[str],
        per_workspace: int | None = None,
        but: Collection[Spot] = (),
    ) -> Claim | None:
        begin = Begin(lease // MICROSECOND, window, per_workspace)
        return await self._run_now(turns.claim, begin, tuple(platforms), frozenset(but))

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        return await self._run_now(turns.renew, hold, lease // MICROSECOND)

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        return await self._run_now(turns.absorb, hold, window)

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        refuse_unstorable(platform_id)
        await self._run_now(turns.record_part, hold, number, platform_id)

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "", charge: Charge | None = None) -> bool:
        require_outcome(answer, error)
        require_charge(charge)

        def finish(db: sqlite3.Connection, now: int) -> bool:
            if turns.is_answered(db, hold):
                self._scrubber.mark()  # its answer is replaced
            return turns.finish(db, now, hold, answer, error, charge)

        try:
            return await self._run_now(finish)
        finally:
            self._scrubber.wake()

    async def settle(self, hold: Hold, state: TurnState) -> None:
        require_final(state)
        await self._run_now(turns.settle, hold, state)

    async def release(self, hold: Hold, *, charge: Charge | None = None) -> None:
        require_charge(charge)
        await self._run_now(turns.release, hold, charge)

    async def stop(self, conversation_id: int) -> Stopped:
        return await self._run_now(turns.stop, conversation_id)

    async def retry(self, conversation_id: int) -> bool:
        return await self._run_now(turns.retry, conversation_id)

    async def busy(self, conversation_id: int) -> bool:
        return await self._run(turns.busy, conversation_id)

    async def keep_attachment(
        self, hold: Hold, message_id: int, number: int, data: bytes | None, *, problem: str = ""
    ) -> None:
        require_read(data, problem)
        await self._run_now(edits.keep_attachment, hold, message_id, number, data, problem)

    async def locate(self, name: MessageName) -> Located | None:
        return await self._run(edits.locate, columns_of_name(name))

    async def facts(self, turn_id: int) -> TurnFacts | None:
        return await self._run(edits.facts, turn_id)

    async def revise(self, name: MessageName, text: str) -> Revised | None:
        refuse_unstorable(text)
        return await self._erase(edits.revise, columns_of_name(name), text)

    async def retract(self, names: Collection[MessageName]) -> tuple[int, ...]:
        gone = await self._erase(forgetting.retract, self._ledger, [columns_of_name(name) for name in names])
        if gone:
            await self._scrubber.empty_journal()
        return gone

    async def close(
        self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime
    ) -> tuple[int, ...]:
        return await self._run_now(places.close, require_place(platform, workspace, channel, thread), us_of(at))

    async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
        return await self._run(places.watermarks, platform)

    async def mark(self, platform: str, marks: Collection[Watermark], *, at: datetime) -> None:
        for mark in marks:
            refuse_all(platform, mark.workspace, mark.channel, mark.thread)
        await self._run(places.mark, platform, tuple(marks), us_of(at))

    async def unmark(self, platform: str, workspace: str, channel: str = "", thread: str = "") -> None:
        await self._run(places.unmark, require_place(platform, workspace, channel, thread))

    async def recall(self, name: str) -> str:
        return await self._run(places.recall, name)

    async def remember(self, name: str, note: str) -> None:
        refuse_all(name, note)
        await self._run(places.remember, name, note)

    async def once(self, name: str, *, at: datetime) -> bool:
        refuse_unstorable(name)
        return await self._run(places.once, name, us_of(at))

    async def put_feedback(self, turn_id: int, user: str, value: Feedback, *, at: datetime) -> bool:
        refuse_unstorable(user)
        return await self._run(people.put_feedback, turn_id, user, value, us_of(at))

    async def conversations_of(
        self, platform: str, workspace: str, author_id: str, *, limit: int
    ) -> tuple[ConversationSummary, ...]:
        require_somebody(author_id)
        require_page(limit, SUMMARIES, "conversations")
        return await self._run(people.conversations_of, platform, workspace, author_id, limit)

    async def put_installation(self, installation: Installation) -> None:
        require_installation(installation)
        await self._run(workspaces.put_installation, installation, us_of(installation.at))

    async def installations(self, platform: str, workspace: str = "") -> tuple[Installation, ...]:
        return await self._run(workspaces.installations, platform, workspace)

    async def remove_installation(self, platform: str, workspace: str, user: str) -> bool:
        gone = await self._erase(workspaces.remove_installation, platform, workspace, user)
        await self._scrubber.empty_journal()
        return gone

    async def purge_workspace(self, platform: str, workspace: str) -> int:
        require_place(platform, workspace)
        last = await self._run(workspaces.clear, platform, workspace)
        gone = 0
        for after in range(0, last, workspaces.CONVERSATIONS):
            gone += await self._run_now(workspaces.give_up, platform, workspace, after)
        await self._clear_accounts(platform, workspace)
        await self._erase_given_up(PURGE_ROWS)
        await self._scrub_at_once()
        return gone

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        await self._run(conversations.end, conversation_id, us_of(at))

    async def delete(self, conversation_id: int) -> int:
        gone = await self._erase(forgetting.delete, self._ledger, conversation_id)
        await self._scrub_at_once()
        return gone

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
        return await self._run(expiry.expire, us_of(before), us_of(at), limit, within, tuple(but), since)

    async def purge(self, *, before: datetime, limit: int) -> int:
        return await self._erase(conversations.purge, us_of(before), limit)

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        return await self._run(conversations.forget_events, us_of(before), limit)

    async def status(self) -> StoreStatus:
        return await self._run(conversations.status, str(self._path or ":memory:"))

    async def server_time(self) -> None:
        await self._writer.run(lambda db: None)

    async def check(self) -> None:
        # BEGIN IMMEDIATE and COMMIT alone prove that the lock can be had; only a page that changes proves the disk.
        await self._writer.run(lambda db: db.execute("UPDATE alembic_version SET version_num = version_num"))

    async def aclose(self) -> None:
        await self._scrubber.stop()
        await self._writer.aclose(self._scrubber.last)
        self._scrubber.release()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def groups(self) -> int:
        """Commits so far, each one hop to the writer's thread: for the bench."""
        return self._writer.groups


def _seals(keys: Sequence[bytes]) -> tuple["Seal", ...]:
    from store.sealing import Seal

    return tuple(Seal(key) for key in keys)
