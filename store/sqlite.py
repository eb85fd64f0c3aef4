"""The store on one SQLite file, or in memory.

Every call is one function on the writing connection (`store.sqlite_writer`), so it is one transaction; the calls of many
conversations share commits. A turn that goes well takes five: accept_and_claim, absorb, record_part, finish, settle. It
can't be fewer, since people, the model and the platform stand between them. One process holds the file, therefore every
lease that is found at opening belongs to a process that is gone, and is void.

Here a call's arguments are checked. What it does stands in `store.sqlite_conversations`, `store.sqlite_turns`,
`store.sqlite_edits`, `store.sqlite_places`, `store.sqlite_people` and `store.sqlite_workspaces`, and the SQL of them all in
`store.sqlite_sql`.
"""

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from store import sqlite_conversations as conversations
from store import sqlite_edits as edits
from store import sqlite_people as people
from store import sqlite_places as places
from store import sqlite_turns as turns
from store import sqlite_workspaces as workspaces
from store.errors import StoreError, refuse_unstorable
from store.migrate import upgrade
from store.sqlite_file import FileLock, look, prepare, uri_of
from store.sqlite_rows import MICROSECOND, columns_of, columns_of_name, us_of
from store.sqlite_writer import SqliteWriter
from store.values import (
    SUMMARIES,
    Absorbed,
    Accepted,
    Answer,
    ChannelSetting,
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

PURGE_ROWS = 1000
"""Rows of a purged workspace that are erased in one transaction."""

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore:
    """The laws of `store.protocol.Store` on SQLite. Made by `open`."""

    def __init__(
        self, writer: SqliteWriter, lock: FileLock | None, path: Path | None, clock: Callable[[], datetime]
    ) -> None:
        self._writer = writer
        self._lock = lock
        self._path = path
        self._clock = clock

    @classmethod
    async def open(cls, path: Path | None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> "SqliteStore":
        """Open the store at `path`, made or migrated when needed; None keeps it in memory until it is closed.

        Raises:
            StoreRefused, StoreUnavailable: and nothing is written to what is not ours.
        """
        lock = None
        if path is not None:
            path = await asyncio.to_thread(path.resolve)  # a link to it is the same store, with the same lock
            lock = await asyncio.to_thread(_lock, path)
        try:
            if path is None:
                # The shared cache lets the migration's own connection see the same memory.
                uri = f"file:parley-{uuid.uuid4()}?mode=memory&cache=shared"
                writer = await SqliteWriter.open(uri, place="the store in memory")
                await asyncio.to_thread(upgrade, f"sqlite:///{uri}&uri=true")
            else:
                await asyncio.to_thread(prepare, path)
                writer = await SqliteWriter.open(f"{uri_of(path)}?mode=rw", place=str(path))
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        store = cls(writer, lock, path, clock)
        try:
            await writer.run(conversations.void_leases)
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
        if n < 1:
            raise ValueError("at least one message has to be asked for")
        return await self._run(conversations.recent, conversation_id, n)

    async def accept(self, message: NewMessage) -> int | None:
        accepted = await self._accept(message, None)
        return None if accepted is None else accepted.conversation_id

    async def accept_and_claim(self, message: NewMessage, *, lease: timedelta, window: int) -> Accepted | None:
        return await self._accept(message, (lease // MICROSECOND, window))

    async def _accept(self, message: NewMessage, begin: tuple[int, int] | None) -> Accepted | None:
        _refuse(
            message.text,
            message.author_name,
            message.author_id,
            message.address,
            message.message_id,
            message.event_id,
        )
        for file in message.attachments:
            _refuse(file.name, file.media_type, file.url, file.problem)
        try:
            return await self._run_now(turns.accept, message, us_of(message.at), begin)
        except turns.SamePosition:
            return None

    async def claim(self, *, lease: timedelta, window: int, platforms: Collection[str]) -> Claim | None:
        return await self._run_now(turns.claim, lease // MICROSECOND, window, tuple(platforms))

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        return await self._run_now(turns.renew, hold, lease // MICROSECOND)

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        return await self._run_now(turns.absorb, hold, window)

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        refuse_unstorable(platform_id)
        await self._run_now(turns.record_part, hold, number, platform_id)

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "") -> bool:
        if (answer is None) == (not error):
            raise ValueError("a turn is finished with an answer or with an error, not both")
        _refuse(*(error,) if answer is None else (answer.text, answer.model))
        return await self._run_now(turns.finish, hold, answer, error)

    async def settle(self, hold: Hold, state: TurnState) -> None:
        if not state.final:
            raise ValueError(f"a turn can't be settled as {state.value}")
        await self._run_now(turns.settle, hold, state)

    async def release(self, hold: Hold) -> None:
        await self._run_now(turns.release, hold)

    async def stop(self, conversation_id: int) -> Stopped:
        return await self._run_now(turns.stop, conversation_id)

    async def retry(self, conversation_id: int) -> bool:
        return await self._run_now(turns.retry, conversation_id)

    async def busy(self, conversation_id: int) -> bool:
        return await self._run(turns.busy, conversation_id)

    async def keep_attachment(
        self, hold: Hold, message_id: int, number: int, data: bytes | None, *, problem: str = ""
    ) -> None:
        if (data is None) == (not problem):
            raise ValueError("an attachment is kept with its data or with a problem, not both")
        refuse_unstorable(problem)
        await self._run_now(edits.keep_attachment, hold, message_id, number, data, problem)

    async def locate(self, name: MessageName) -> Located | None:
        return await self._run(edits.locate, columns_of_name(name))

    async def facts(self, turn_id: int) -> TurnFacts | None:
        return await self._run(edits.facts, turn_id)

    async def revise(self, name: MessageName, text: str) -> Revised | None:
        refuse_unstorable(text)
        return await self._run_now(edits.revise, columns_of_name(name), text)

    async def retract(self, names: Collection[MessageName]) -> tuple[int, ...]:
        gone = await self._run_now(edits.retract, [columns_of_name(name) for name in names])
        if gone:
            await self._empty_journal()
        return gone

    async def close(
        self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime
    ) -> tuple[int, ...]:
        return await self._run_now(places.close, _place(platform, workspace, channel, thread), us_of(at))

    async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
        return await self._run(places.watermarks, platform)

    async def mark(self, platform: str, marks: Collection[Watermark], *, at: datetime) -> None:
        for mark in marks:
            _refuse(platform, mark.workspace, mark.channel, mark.thread)
        await self._run(places.mark, platform, tuple(marks), us_of(at))

    async def unmark(self, platform: str, workspace: str, channel: str = "", thread: str = "") -> None:
        await self._run(places.unmark, _place(platform, workspace, channel, thread))

    async def settings(self, platform: str) -> tuple[ChannelSetting, ...]:
        return await self._run(places.settings, platform)

    async def put_setting(self, setting: ChannelSetting, *, at: datetime) -> None:
        _refuse(setting.platform, setting.workspace, setting.channel, setting.name, setting.value)
        await self._run(places.put_setting, setting, us_of(at))

    async def recall(self, name: str) -> str:
        return await self._run(places.recall, name)

    async def remember(self, name: str, note: str) -> None:
        _refuse(name, note)
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
        if not author_id:
            raise ValueError("somebody has to be named")
        if not 1 <= limit <= SUMMARIES:
            raise ValueError(f"from one to {SUMMARIES} conversations can be asked for")
        return await self._run(people.conversations_of, platform, workspace, author_id, limit)

    async def put_installation(self, installation: Installation) -> None:
        _refuse(installation.platform, installation.workspace, installation.user)
        if not installation.workspace:
            raise ValueError("an installation needs a workspace")
        await self._run(workspaces.put_installation, installation, us_of(installation.at))

    async def installations(self, platform: str, workspace: str = "") -> tuple[Installation, ...]:
        return await self._run(workspaces.installations, platform, workspace)

    async def remove_installation(self, platform: str, workspace: str, user: str) -> bool:
        gone = await self._run(workspaces.remove_installation, platform, workspace, user)
        await self._empty_journal()
        return gone

    async def purge_workspace(self, platform: str, workspace: str) -> int:
        _place(platform, workspace, "", "")
        last = await self._run(workspaces.clear, platform, workspace)
        gone = 0
        for after in range(0, last, workspaces.CONVERSATIONS):
            gone += await self._run_now(workspaces.give_up, platform, workspace, after)
        while await self._run_now(conversations.purge, workspaces.LONG_AGO + 1, PURGE_ROWS):
            pass
        await self._empty_journal()
        return gone

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        await self._run(conversations.end, conversation_id, us_of(at))

    async def delete(self, conversation_id: int) -> int:
        gone = await self._run(conversations.delete, conversation_id)
        await self._empty_journal()
        return gone

    async def expire(self, *, before: datetime, at: datetime, limit: int) -> int:
        return await self._run(conversations.expire, us_of(before), us_of(at), limit)

    async def purge(self, *, before: datetime, limit: int) -> int:
        return await self._run_now(conversations.purge, us_of(before), limit)

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        return await self._run(conversations.forget_events, us_of(before), limit)

    async def status(self) -> StoreStatus:
        return await self._run(conversations.status, str(self._path or ":memory:"))

    async def check(self) -> None:
        # BEGIN IMMEDIATE and COMMIT alone prove that the lock can be had; only a page that changes proves the disk.
        await self._writer.run(lambda db: db.execute("UPDATE alembic_version SET version_num = version_num"))

    async def aclose(self) -> None:
        await self._writer.aclose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def groups(self) -> int:
        """Commits so far, each one hop to the writer's thread: for the bench."""
        return self._writer.groups

    def _run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._writer.run(lambda db: work(db, *args, **kwargs))

    def _run_now(
        self, work: Callable[Concatenate[sqlite3.Connection, int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run what measures leases: the clock is read when its turn has come, not when it was asked for."""
        return self._writer.run(lambda db: work(db, us_of(self._clock()), *args, **kwargs))

    async def _empty_journal(self) -> None:
        # What was erased still stands in the write-ahead log until that is emptied; at the latest when the store is closed.
        with contextlib.suppress(StoreError):
            await self._writer.alone(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())


def _refuse(*texts: str) -> None:
    for text in texts:
        refuse_unstorable(text)


def _place(platform: str, workspace: str, channel: str, thread: str) -> places.Place:
    if not (workspace or channel or thread):
        raise ValueError("a place is a workspace, a channel or a thread: nothing at all would stand for everybody's")
    _refuse(platform, workspace, channel, thread)
    return (platform, workspace, channel, thread)


def _lock(path: Path) -> FileLock:
    look(path)
    return FileLock(path)
