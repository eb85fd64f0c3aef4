"""The store on one SQLite file, or in memory.

Every call is one function on the writing connection (`store.sqlite_writer`), so it is one transaction; the calls of many
conversations share commits. A turn that goes well takes five: accept_and_claim, absorb, record_part, finish, settle. It
can't be fewer, since people, the model and the platform stand between them. One process holds the file, therefore every
lease that is found at opening belongs to a process that is gone, and is void. The SQL stands in `store.sqlite_sql`.
"""

import asyncio
import contextlib
import functools
import sqlite3
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import store.sqlite_sql as sql
from store.migrate import upgrade
from store.protocol import (
    TURN_MESSAGES,
    Absorbed,
    Accepted,
    Answer,
    Claim,
    Conversation,
    ConversationKey,
    ConversationNotFound,
    Ending,
    Hold,
    LeaseLost,
    Message,
    NewMessage,
    Renewal,
    Role,
    Stopped,
    StoreError,
    StoreStatus,
    Turn,
    TurnState,
    refuse_unstorable,
)
from store.sqlite_file import FileLock, look, prepare, uri_of
from store.sqlite_rows import MICROSECOND, ROLES, columns_of, conversation_of, read_answer, read_window, time_of, us_of
from store.sqlite_writer import SqliteWriter

_LAST = (1 << 63) - 1


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
            await writer.run(_void_leases)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def get_or_create(self, key: ConversationKey, *, at: datetime) -> Conversation:
        columns, now = columns_of(key), us_of(at)

        def work(db: sqlite3.Connection) -> Conversation:
            db.execute(sql.GET_OR_CREATE, (*columns, now))
            return conversation_of(db.execute(sql.CONVERSATION + sql.CURRENT, columns).fetchone())

        return await self._writer.run(work)

    async def find(self, key: ConversationKey) -> Conversation | None:
        columns = columns_of(key)

        def work(db: sqlite3.Connection) -> Conversation | None:
            row = db.execute(sql.CONVERSATION + sql.CURRENT, columns).fetchone()
            return conversation_of(row) if row else None

        return await self._writer.run(work)

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        refuse_unstorable(text)
        now = us_of(at)

        def work(db: sqlite3.Connection) -> Message:
            row = db.execute(sql.NEXT_POSITION, (conversation_id, now)).fetchone()
            if row is None:
                raise _not_found(conversation_id)
            values = (conversation_id, row[0], ROLES.index(role), 0, "", "", "", text, Ending.COMPLETE.value, now)
            db.execute(sql.ADD_MESSAGE, values)
            return read_window(db, conversation_id, _LAST, 0, 1)[0]

        return await self._writer.run(work)

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        if n < 1:
            raise ValueError("at least one message has to be asked for")

        def work(db: sqlite3.Connection) -> tuple[Message, ...]:
            messages = read_window(db, conversation_id, _LAST, 0, n)
            if not messages:
                _must_exist(db, conversation_id)
            return messages

        return await self._writer.run(work)

    async def accept(self, message: NewMessage) -> int | None:
        accepted = await self._accept(message, None)
        return None if accepted is None else accepted.conversation_id

    async def accept_and_claim(self, message: NewMessage, *, lease: timedelta, window: int) -> Accepted | None:
        return await self._accept(message, (lease // MICROSECOND, window))

    async def _accept(self, message: NewMessage, begin: tuple[int, int] | None) -> Accepted | None:
        for text in (
            message.text,
            message.author_name,
            message.author_id,
            message.address,
            message.message_id,
            message.event_id,
        ):
            refuse_unstorable(text)
        key, now = message.key, us_of(message.at)
        columns = columns_of(key)
        # Ids come first: platforms number upwards, so new names stand together at the end of their index.
        message_name = "\x1f".join((message.message_id, "m", key.channel, key.workspace, key.platform))
        event_name = "\x1f".join((message.event_id, "e", key.workspace, key.platform)) if message.event_id else ""

        def work(db: sqlite3.Connection) -> Accepted | None:
            if event_name:
                seen = 2 - db.execute(sql.SEE_TWO, (event_name, message_name, now)).rowcount
            else:
                seen = 1 - db.execute(sql.SEE_ONE, (message_name, now)).rowcount
            if seen:
                if event_name and seen == 1:
                    db.execute(sql.UNSEE)  # nothing is stored of a copy, not even the name that was new about it
                return None
            touched = db.execute(sql.TOUCH, (*columns, now, message.position)).fetchone()
            conversation_id, last, epoch, lease_until = touched
            position = last if message.position is None else message.position
            turn = (conversation_id, message.address, now, position)
            begun = begin is not None and lease_until <= self._now() and not _has_open_turn(db, conversation_id)
            turn_id, messages = db.execute(sql.BEGIN if begun else sql.QUEUE, turn).fetchone()
            values = (
                conversation_id,
                position,
                0,
                turn_id if messages <= TURN_MESSAGES else None,
                message.message_id,
                message.author_id,
                message.author_name,
                message.text,
                "complete",
                now,
            )
            if db.execute(sql.ADD_MESSAGE, values).rowcount == 0:
                raise _SamePosition
            if begin is None or not begun:
                return Accepted(conversation_id=conversation_id, claim=None)
            lease, window = begin
            db.execute(sql.HOLD, (conversation_id, self._now() + lease))
            claim = Claim(
                hold=Hold(turn_id=turn_id, conversation_id=conversation_id, epoch=epoch + 1),
                turn=Turn(
                    id=turn_id,
                    conversation_id=conversation_id,
                    state=TurnState.RUNNING,
                    attempts=1,
                    address=message.address,
                    queued_at=time_of(now),
                    error="",
                ),
                key=key,
                window=read_window(db, conversation_id, position, 1, window),
                answer=None,
                recovered=False,
            )
            return Accepted(conversation_id=conversation_id, claim=claim)

        try:
            return await self._writer.run(work)
        except _SamePosition:
            return None

    async def claim(self, *, lease: timedelta, window: int, platforms: Collection[str]) -> Claim | None:
        next_turn = _next_turn(len(platforms))

        def work(db: sqlite3.Connection) -> Claim | None:
            now = self._now()
            row = db.execute(next_turn, (now, *platforms)).fetchone()
            if row is None:
                return None
            turn_id, conversation_id, state, attempts, address, queued_at, error, until, messages, answered = row[:10]
            db.execute(sql.HOLD, (conversation_id, now + lease // MICROSECOND))
            recovered = state != TurnState.QUEUED
            if not recovered:
                state = TurnState.RUNNING.value
            db.execute(sql.RUN, (turn_id, state, TURN_MESSAGES))
            if messages > TURN_MESSAGES:
                db.execute(sql.LET_WAIT, (turn_id, conversation_id))
                until = _take_waiting(db, turn_id, conversation_id, TURN_MESSAGES)
                rest = db.execute(sql.QUEUE_REST, (conversation_id, address, now, messages - TURN_MESSAGES)).fetchone()
                _take_waiting(db, rest[0], conversation_id, TURN_MESSAGES)
            _move_answer(db, conversation_id, turn_id, answered, until)
            return Claim(
                hold=Hold(turn_id=turn_id, conversation_id=conversation_id, epoch=row[13] + 1),
                turn=Turn(
                    id=turn_id,
                    conversation_id=conversation_id,
                    state=TurnState(state),
                    attempts=attempts + 1,
                    address=address,
                    queued_at=time_of(queued_at),
                    error=error,
                ),
                key=ConversationKey(platform=row[14], workspace=row[15], channel=row[16], thread=row[17], user=row[18]),
                window=read_window(db, conversation_id, until, 1, window),
                answer=read_answer(db, conversation_id, until, row) if state == TurnState.DELIVERING else None,
                recovered=recovered,
                parts=dict(db.execute(sql.PARTS, (turn_id,)).fetchall()),
            )

        return await self._writer.run(work)

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        def work(db: sqlite3.Connection) -> Renewal:
            now = self._now()
            if db.execute(sql.RENEW, (hold.conversation_id, hold.epoch, now, now + lease // MICROSECOND)).rowcount == 0:
                raise _lost(hold)
            stop = db.execute("SELECT stop FROM turn WHERE id = ?", (hold.turn_id,)).fetchone()[0]
            return Renewal(stop=bool(stop), waiting=db.execute(sql.QUEUED, (hold.conversation_id,)).fetchone() is not None)

        return await self._writer.run(work)

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        def work(db: sqlite3.Connection) -> Absorbed | None:
            row = db.execute(sql.ABSORBABLE, (hold.conversation_id, hold.turn_id, hold.epoch, self._now())).fetchone()
            if row is None:
                raise _lost(hold)
            own, answered, until, queued, more, queued_until, address = row
            if queued is None or own + more > TURN_MESSAGES:
                return None
            db.execute(sql.ABSORB_MESSAGES, (hold.turn_id, hold.conversation_id, queued))
            db.execute(sql.ABSORB_TURN, (hold.turn_id, queued))
            db.execute("DELETE FROM turn WHERE id = ?", (queued,))
            last = max(until, queued_until)
            _move_answer(db, hold.conversation_id, hold.turn_id, answered, last)
            return Absorbed(window=read_window(db, hold.conversation_id, last, 1, window), address=address)

        return await self._writer.run(work)

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        refuse_unstorable(platform_id)

        def work(db: sqlite3.Connection) -> None:
            self._held(db, hold)
            db.execute(sql.PUT_PART, (hold.turn_id, number, platform_id))

        await self._writer.run(work)

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "") -> None:
        if (answer is None) == (not error):
            raise ValueError("a turn is finished with an answer or with an error, not both")
        for text in (error,) if answer is None else (answer.text, answer.model):
            refuse_unstorable(text)

        def work(db: sqlite3.Connection) -> None:
            now = self._now()
            if answer is None:
                self._held(db, hold)
                db.execute(sql.FINISH_WITH_ERROR, (hold.turn_id, error))
                return
            fenced = (hold.turn_id, hold.epoch, now)
            if db.execute(sql.PUT_ANSWER, (*fenced, answer.text, answer.ending.value)).rowcount == 0:
                raise _lost(hold)
            db.execute(sql.FINISH, (hold.turn_id, answer.model, answer.prompt_tokens, answer.completion_tokens))

        await self._writer.run(work)

    async def settle(self, hold: Hold, state: TurnState) -> None:
        if not state.final:
            raise ValueError(f"a turn can't be settled as {state.value}")

        def work(db: sqlite3.Connection) -> None:
            now = self._now()
            self._let_go(db, hold, now)
            db.execute(sql.SETTLE, (hold.turn_id, state.value, now))

        await self._writer.run(work)

    async def release(self, hold: Hold) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._let_go(db, hold, self._now())
            db.execute(sql.RELEASE, (hold.turn_id,))

        await self._writer.run(work)

    async def stop(self, conversation_id: int) -> Stopped:
        def work(db: sqlite3.Connection) -> Stopped:
            running = db.execute(sql.RUNNING, (conversation_id,)).fetchone()
            queued = db.execute(sql.QUEUED, (conversation_id,)).fetchone()
            if queued:
                db.execute(sql.SETTLE, (queued[0], TurnState.CANCELLED.value, self._now()))
                if queued[1] > TURN_MESSAGES:
                    db.execute(sql.LET_WAIT, (queued[0], conversation_id))
                    _take_waiting(db, queued[0], conversation_id, _LAST)
            if running:
                db.execute("UPDATE turn SET stop = 1 WHERE id = ?", running)
            return Stopped(running=running[0] if running else None, queued=queued[0] if queued else None)

        return await self._writer.run(work)

    async def retry(self, conversation_id: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            last = db.execute(sql.LAST_TURN, (conversation_id,)).fetchone()
            if last is None or last[1] is None:
                return False
            return db.execute(sql.AGAIN, (last[0], self._now())).rowcount == 1

        return await self._writer.run(work)

    async def busy(self, conversation_id: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            last = db.execute(sql.LAST_TURN, (conversation_id,)).fetchone()
            return last is not None and last[1] is None

        return await self._writer.run(work)

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        now = us_of(at)

        def work(db: sqlite3.Connection) -> None:
            _must_exist(db, conversation_id)
            db.execute("UPDATE conversation SET ended_at = coalesce(ended_at, ?2) WHERE id = ?1", (conversation_id, now))

        await self._writer.run(work)

    async def delete(self, conversation_id: int) -> int:
        def work(db: sqlite3.Connection) -> int:
            gone = db.execute("DELETE FROM message WHERE conversation_id = ?", (conversation_id,)).rowcount
            db.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))
            return gone

        gone = await self._writer.run(work)
        # What was erased still stands in the write-ahead log until that is emptied; at the latest when the store is closed.
        with contextlib.suppress(StoreError):
            await self._writer.alone(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return gone

    async def expire(self, *, before: datetime, at: datetime, limit: int) -> int:
        values = (us_of(at), us_of(before), limit)
        return await self._writer.run(lambda db: db.execute(sql.EXPIRE, values).rowcount)

    async def purge(self, *, before: datetime, limit: int) -> int:
        cut = us_of(before)

        def work(db: sqlite3.Connection) -> int:
            gone = 0
            for statement in (sql.PURGE_MESSAGES, sql.PURGE_TURNS, sql.PURGE_CONVERSATIONS):
                if gone < limit:
                    gone += db.execute(statement, (cut, limit - gone)).rowcount
            return gone

        return await self._writer.run(work)

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        values = (us_of(before), limit)
        return await self._writer.run(lambda db: db.execute(sql.FORGET_EVENTS, values).rowcount)

    async def status(self) -> StoreStatus:
        def work(db: sqlite3.Connection) -> StoreStatus:
            queued, running, oldest = db.execute(sql.COUNT_OPEN).fetchone()
            return StoreStatus(
                engine=f"SQLite {sqlite3.sqlite_version}",
                place=str(self._path or ":memory:"),
                queued=queued,
                running=running,
                oldest_queued_at=None if oldest is None else time_of(oldest),
            )

        return await self._writer.run(work)

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

    def _now(self) -> int:
        return us_of(self._clock())

    def _held(self, db: sqlite3.Connection, hold: Hold) -> None:
        if not db.execute(sql.HELD, (hold.conversation_id, hold.epoch, self._now())).fetchone():
            raise _lost(hold)

    def _let_go(self, db: sqlite3.Connection, hold: Hold, now: int) -> None:
        if db.execute(sql.LET_GO, (hold.conversation_id, hold.epoch, now)).rowcount == 0:
            raise _lost(hold)


@functools.cache
def _next_turn(platforms: int) -> str:
    return sql.NEXT_TURN.format(platforms=", ".join("?" * platforms))


def _take_waiting(db: sqlite3.Connection, turn_id: int, conversation_id: int, limit: int) -> int:
    """Give the turn at most `limit` of the messages that wait without one, in order; return the last one's position."""
    positions = [row[0] for row in db.execute(sql.TAKE_WAITING, (turn_id, conversation_id, limit)).fetchall()]
    db.execute(sql.SPAN, (turn_id, min(positions), max(positions)))
    return int(max(positions))


def _move_answer(db: sqlite3.Connection, conversation_id: int, turn_id: int, answered: int | None, until: int) -> None:
    if answered is not None and answered != until:
        db.execute(sql.MOVE_ANSWER, (conversation_id, answered, until, turn_id))
        db.execute(sql.ANSWERED, (turn_id, until))


def _has_open_turn(db: sqlite3.Connection, conversation_id: int) -> bool:
    return db.execute(sql.OPEN, (conversation_id,)).fetchone() is not None


def _must_exist(db: sqlite3.Connection, conversation_id: int) -> None:
    if not db.execute("SELECT 1 FROM conversation WHERE id = ?", (conversation_id,)).fetchone():
        raise _not_found(conversation_id)


class _SamePosition(Exception):
    """Two messages of one conversation at one place in its order: the second is the first again."""


def _not_found(conversation_id: int) -> ConversationNotFound:
    return ConversationNotFound(f"there is no conversation {conversation_id}")


def _lost(hold: Hold) -> LeaseLost:
    return LeaseLost(f"turn {hold.turn_id} belongs to somebody else by now (epoch {hold.epoch} is over)")


def _void_leases(db: sqlite3.Connection) -> None:
    db.execute(
        "UPDATE conversation SET lease_until = 0 WHERE id IN (SELECT conversation_id FROM turn WHERE settled_at IS NULL)"
    )


def _lock(path: Path) -> FileLock:
    look(path)
    return FileLock(path)
