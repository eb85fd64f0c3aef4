"""The store on one SQLite file, or in memory: all its SQL, and the calls that run it.

Every call is one function on the writing connection (`store.sqlite_writer`), so it is one transaction; the calls of many
conversations share commits. A turn that goes well takes five: accept_and_claim, absorb, record_part, finish, settle; not fewer,
since people, the model and the platform stand between them. One process holds the file, therefore every lease found at opening
belongs to a process that is gone, and is void.
"""

import asyncio
import contextlib
import functools
import os
import sqlite3
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
    StoreDenied,
    StoreError,
    StoreStatus,
    Turn,
    TurnState,
    refuse_unstorable,
)
from store.sqlite_file import FileLock, look, prepare, uri_of
from store.sqlite_writer import SqliteWriter

# --- SQL. Times are microseconds since 1970; a lease is free when `lease_until` is not in the future. ---------------------

_CONVERSATION = """
SELECT id, platform, workspace, channel, thread, user_id, created_at, active_at, ended_at, expired_at FROM conversation """

_CURRENT = "WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ? AND user_id = ? AND ended_at IS NULL"

_TOUCH = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, coalesce(?7, 1))
ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO UPDATE SET
  active_at = max(active_at, ?6), last_position = coalesce(max(last_position, ?7), last_position + 1)
RETURNING id, last_position, epoch, lease_until"""

_GET_OR_CREATE = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0)
ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO NOTHING"""

_NEXT_POSITION = """
UPDATE conversation SET last_position = last_position + 1, active_at = max(active_at, ?2) WHERE id = ?1
RETURNING last_position"""

_SEE_TWO = "INSERT INTO seen (name, at) VALUES (?1, ?3), (?2, ?3) ON CONFLICT (name) DO NOTHING"
_SEE_ONE = "INSERT INTO seen (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING"

_UNSEE = "DELETE FROM seen WHERE id = last_insert_rowid()"

_ADD_MESSAGE = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation_id, position, role) DO NOTHING"""

_PUT_ANSWER = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT c.id, t.until, 1, t.id, '', '', '', ?4, ?5, ?3 FROM turn t JOIN conversation c ON c.id = t.conversation_id
WHERE t.id = ?1 AND c.epoch = ?2 AND c.lease_until > ?3
ON CONFLICT (conversation_id, position, role) DO UPDATE SET
  turn_id = excluded.turn_id, text = excluded.text, ending = excluded.ending, at = excluded.at"""

_OPEN = """
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state = 'queued' UNION ALL
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state IN ('running', 'delivering')"""
_BEGIN = """
INSERT INTO turn (conversation_id, state, attempts, address, queued_at, since, until, messages)
VALUES (?1, 'running', 1, ?2, ?3, ?4, ?4, 1) RETURNING id, messages"""

# A conversation has one queued turn, which takes in whatever comes until it is full; the rest waits without a turn.
_QUEUE = f"""
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages)
VALUES (?1, 'queued', ?2, ?3, ?4, ?4, 1)
ON CONFLICT (conversation_id) WHERE state = 'queued' DO UPDATE SET
  address = ?2, since = min(since, ?4), messages = messages + 1,
  until = CASE WHEN messages < {TURN_MESSAGES} THEN max(until, ?4) ELSE until END
RETURNING id, messages"""  # noqa: S608 - a number of our own

# The join is the wrong way round for SQLite's planner on an empty store; CROSS JOIN keeps the few open turns outside. CASE
# hides from it that two conditions concern the conversation alone: once a file has statistics, it would build a Bloom filter
# of all conversations for every claim (10 ms at 100,000 of them).
_NEXT_TURN = """
SELECT t.id, t.conversation_id, t.state, t.attempts, t.address, t.queued_at, t.error, t.until, t.messages, t.answered,
  t.model, t.prompt_tokens, t.completion_tokens, c.epoch, c.platform, c.workspace, c.channel, c.thread, c.user_id
FROM turn t CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE t.settled_at IS NULL AND CASE WHEN t.id THEN c.lease_until <= ? AND c.platform IN ({platforms}) END
ORDER BY t.id LIMIT 1"""

_HOLD = "UPDATE conversation SET epoch = epoch + 1, lease_until = ?2 WHERE id = ?1"

_RUN = "UPDATE turn SET state = ?2, attempts = attempts + 1, messages = min(messages, ?3) WHERE id = ?1"

_QUEUE_REST = """
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages) VALUES (?1, 'queued', ?2, ?3, 0, 0, ?4)
RETURNING id"""
_TAKE_WAITING = """
UPDATE message SET turn_id = ?1 WHERE id IN
  (SELECT id FROM message WHERE conversation_id = ?2 AND turn_id IS NULL ORDER BY position LIMIT ?3)
RETURNING position"""
# A turn that is overfull gives all its messages back first: which of them it keeps is a matter of order, not of arrival.
_LET_WAIT = """
UPDATE message SET turn_id = NULL WHERE conversation_id = ?2 AND turn_id = ?1 AND role = 0
AND position BETWEEN (SELECT since FROM turn WHERE id = ?1) AND (SELECT until FROM turn WHERE id = ?1)"""
_SPAN = "UPDATE turn SET since = ?2, until = ?3 WHERE id = ?1"

# A turn that is tried again may answer more than before; its old answer stays behind its last message until replaced.
_MOVE_ANSWER = "UPDATE message SET position = ?3 WHERE conversation_id = ?1 AND position = ?2 AND role = 1 AND turn_id = ?4"
_ANSWERED = "UPDATE turn SET answered = ?2 WHERE id = ?1"

_WINDOW = """
SELECT id, conversation_id, role, position, author_id, author_name, text, ending, turn_id, at FROM message
WHERE conversation_id = ?1 AND (position, role) < (?2, ?3) ORDER BY position DESC, role DESC LIMIT ?4"""

_PARTS = "SELECT number, platform_id FROM part WHERE turn_id = ? ORDER BY number"

_PUT_PART = """
INSERT INTO part (turn_id, number, platform_id) VALUES (?, ?, ?)
ON CONFLICT (turn_id, number) DO UPDATE SET platform_id = excluded.platform_id"""

_HELD = "SELECT 1 FROM conversation WHERE id = ? AND epoch = ? AND lease_until > ?"
_RENEW = "UPDATE conversation SET lease_until = ?4 WHERE id = ?1 AND epoch = ?2 AND lease_until > ?3"
_LET_GO = "UPDATE conversation SET lease_until = 0 WHERE id = ? AND epoch = ? AND lease_until > ?"

_FINISH = """
UPDATE turn SET state = 'delivering', error = '', answered = until, model = ?2, prompt_tokens = ?3, completion_tokens = ?4
WHERE id = ?1"""
_FINISH_WITH_ERROR = "UPDATE turn SET state = 'delivering', error = ?2 WHERE id = ?1"
_SETTLE = "UPDATE turn SET state = ?2, settled_at = ?3 WHERE id = ?1"
_RELEASE = "UPDATE turn SET attempts = attempts - 1 WHERE id = ?"

# What `absorb` needs to know in one look: is the turn still held, what does it answer, and what waits behind it.
_ABSORBABLE = """
SELECT r.messages, r.answered, r.until, q.id, q.messages, q.until, q.address FROM conversation c
JOIN turn r ON r.id = ?2 LEFT JOIN turn q ON q.conversation_id = c.id AND q.state = 'queued'
WHERE c.id = ?1 AND c.epoch = ?3 AND c.lease_until > ?4"""
_ABSORB_MESSAGES = """
UPDATE message SET turn_id = ?1 WHERE conversation_id = ?2 AND turn_id = ?3
AND position BETWEEN (SELECT since FROM turn WHERE id = ?3) AND (SELECT until FROM turn WHERE id = ?3)"""
_ABSORB_TURN = """
UPDATE turn SET until = max(turn.until, q.until), since = min(turn.since, q.since), messages = turn.messages + q.messages,
  address = q.address FROM turn q WHERE turn.id = ?1 AND q.id = ?2"""
_QUEUED = "SELECT id, messages FROM turn WHERE conversation_id = ? AND state = 'queued'"
_RUNNING = "SELECT id FROM turn WHERE conversation_id = ? AND state IN ('running', 'delivering')"

# The last turn that was settled, or the open one, which may have a lower id when it is an old one tried again.
_LAST_TURN = "SELECT id, settled_at FROM turn WHERE conversation_id = ? ORDER BY settled_at IS NULL DESC, id DESC LIMIT 1"
_AGAIN = """
UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = ?2 WHERE id = ?1
AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = turn.conversation_id AND c.expired_at IS NULL)"""

_EXPIRE = """
UPDATE conversation SET expired_at = ?1, ended_at = coalesce(ended_at, ?1) WHERE id IN
  (SELECT c.id FROM conversation c WHERE c.expired_at IS NULL AND c.active_at < ?2
   AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id AND settled_at IS NULL) ORDER BY c.active_at LIMIT ?3)"""

_PURGE_MESSAGES = """
DELETE FROM message WHERE id IN (SELECT m.id FROM
  (SELECT id FROM conversation WHERE expired_at < ?1 ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN message m ON m.conversation_id = c.id LIMIT ?2)"""
_PURGE_TURNS = """
DELETE FROM turn WHERE id IN (SELECT t.id FROM
  (SELECT id FROM conversation WHERE expired_at < ?1 ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN turn t ON t.conversation_id = c.id LIMIT ?2)"""
_PURGE_CONVERSATIONS = """
DELETE FROM conversation WHERE id IN
  (SELECT id FROM conversation c WHERE expired_at < ?1
   AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = c.id)
   AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id) ORDER BY expired_at LIMIT ?2)"""

# `seen` grows in the order of time, so the oldest stand first and nothing needs an index on time.
_FORGET_EVENTS = """
DELETE FROM seen WHERE id IN (SELECT id FROM (SELECT id, at FROM seen ORDER BY id LIMIT ?2) WHERE at < ?1)"""

_COUNT_OPEN = """
SELECT coalesce(sum(state = 'queued'), 0), coalesce(sum(state <> 'queued'), 0),
  min(CASE WHEN state = 'queued' THEN queued_at END) FROM turn WHERE settled_at IS NULL"""

_LAST = (1 << 63) - 1
_ROLES = (Role.USER, Role.ASSISTANT)
_ENDINGS = {ending.value: ending for ending in Ending}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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
        columns, now = _columns(key), _us(at)

        def work(db: sqlite3.Connection) -> Conversation:
            db.execute(_GET_OR_CREATE, (*columns, now))
            return _conversation(db.execute(_CONVERSATION + _CURRENT, columns).fetchone())

        return await self._writer.run(work)

    async def find(self, key: ConversationKey) -> Conversation | None:
        columns = _columns(key)

        def work(db: sqlite3.Connection) -> Conversation | None:
            row = db.execute(_CONVERSATION + _CURRENT, columns).fetchone()
            return _conversation(row) if row else None

        return await self._writer.run(work)

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        refuse_unstorable(text)
        now = _us(at)

        def work(db: sqlite3.Connection) -> Message:
            row = db.execute(_NEXT_POSITION, (conversation_id, now)).fetchone()
            if row is None:
                raise _not_found(conversation_id)
            values = (conversation_id, row[0], _ROLES.index(role), 0, "", "", "", text, Ending.COMPLETE.value, now)
            db.execute(_ADD_MESSAGE, values)
            return _window(db, conversation_id, _LAST, 0, 1)[0]

        return await self._writer.run(work)

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        if n < 1:
            raise ValueError("at least one message has to be asked for")

        def work(db: sqlite3.Connection) -> tuple[Message, ...]:
            messages = _window(db, conversation_id, _LAST, 0, n)
            if not messages:
                _must_exist(db, conversation_id)
            return messages

        return await self._writer.run(work)

    async def accept(self, message: NewMessage) -> int | None:
        accepted = await self._accept(message, None)
        return None if accepted is None else accepted.conversation_id

    async def accept_and_claim(self, message: NewMessage, *, lease: timedelta, window: int) -> Accepted | None:
        return await self._accept(message, (lease // _MICROSECOND, window))

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
        key, now = message.key, _us(message.at)
        columns = _columns(key)
        # Ids come first: platforms number upwards, so new names stand together at the end of their index.
        message_name = "\x1f".join((message.message_id, "m", key.channel, key.workspace, key.platform))
        event_name = "\x1f".join((message.event_id, "e", key.workspace, key.platform)) if message.event_id else ""

        def work(db: sqlite3.Connection) -> Accepted | None:
            if event_name:
                seen = 2 - db.execute(_SEE_TWO, (event_name, message_name, now)).rowcount
            else:
                seen = 1 - db.execute(_SEE_ONE, (message_name, now)).rowcount
            if seen:
                if event_name and seen == 1:
                    db.execute(_UNSEE)  # nothing is stored of a copy, not even the name that was new about it
                return None
            touched = db.execute(_TOUCH, (*columns, now, message.position)).fetchone()
            conversation_id, last, epoch, lease_until = touched
            position = last if message.position is None else message.position
            turn = (conversation_id, message.address, now, position)
            begun = begin is not None and lease_until <= self._now() and not db.execute(_OPEN, (conversation_id,)).fetchone()
            turn_id, messages = db.execute(_BEGIN if begun else _QUEUE, turn).fetchone()
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
            if db.execute(_ADD_MESSAGE, values).rowcount == 0:
                raise _SamePosition
            if begin is None or not begun:
                return Accepted(conversation_id=conversation_id, claim=None)
            lease, window = begin
            db.execute(_HOLD, (conversation_id, self._now() + lease))
            claim = Claim(
                hold=Hold(turn_id=turn_id, conversation_id=conversation_id, epoch=epoch + 1),
                turn=Turn(
                    id=turn_id,
                    conversation_id=conversation_id,
                    state=TurnState.RUNNING,
                    attempts=1,
                    address=message.address,
                    queued_at=message.at,
                    error="",
                ),
                key=key,
                window=_window(db, conversation_id, position, 1, window),
                answer=None,
                recovered=False,
            )
            return Accepted(conversation_id=conversation_id, claim=claim)

        try:
            return await self._writer.run(work)
        except _SamePosition:
            return None

    async def claim(self, *, lease: timedelta, window: int, platforms: Collection[str]) -> Claim | None:
        sql = _next_turn(len(platforms))

        def work(db: sqlite3.Connection) -> Claim | None:
            now = self._now()
            row = db.execute(sql, (now, *platforms)).fetchone()
            if row is None:
                return None
            turn_id, conversation_id, state, attempts, address, queued_at, error, until, messages, answered = row[:10]
            db.execute(_HOLD, (conversation_id, now + lease // _MICROSECOND))
            recovered = state != TurnState.QUEUED
            if not recovered:
                state = TurnState.RUNNING.value
            db.execute(_RUN, (turn_id, state, TURN_MESSAGES))
            if messages > TURN_MESSAGES:
                db.execute(_LET_WAIT, (turn_id, conversation_id))
                until = _take_waiting(db, turn_id, conversation_id, TURN_MESSAGES)
                rest = db.execute(_QUEUE_REST, (conversation_id, address, now, messages - TURN_MESSAGES)).fetchone()
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
                    queued_at=_time(queued_at),
                    error=error,
                ),
                key=ConversationKey(platform=row[14], workspace=row[15], channel=row[16], thread=row[17], user=row[18]),
                window=_window(db, conversation_id, until, 1, window),
                answer=_answer(db, conversation_id, until, row) if state == TurnState.DELIVERING else None,
                recovered=recovered,
                parts=dict(db.execute(_PARTS, (turn_id,)).fetchall()),
            )

        return await self._writer.run(work)

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        def work(db: sqlite3.Connection) -> Renewal:
            now = self._now()
            if db.execute(_RENEW, (hold.conversation_id, hold.epoch, now, now + lease // _MICROSECOND)).rowcount == 0:
                raise _lost(hold)
            stop = db.execute("SELECT stop FROM turn WHERE id = ?", (hold.turn_id,)).fetchone()[0]
            return Renewal(stop=bool(stop), waiting=db.execute(_QUEUED, (hold.conversation_id,)).fetchone() is not None)

        return await self._writer.run(work)

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        def work(db: sqlite3.Connection) -> Absorbed | None:
            row = db.execute(_ABSORBABLE, (hold.conversation_id, hold.turn_id, hold.epoch, self._now())).fetchone()
            if row is None:
                raise _lost(hold)
            own, answered, until, queued, more, queued_until, address = row
            if queued is None or own + more > TURN_MESSAGES:
                return None
            db.execute(_ABSORB_MESSAGES, (hold.turn_id, hold.conversation_id, queued))
            db.execute(_ABSORB_TURN, (hold.turn_id, queued))
            db.execute("DELETE FROM turn WHERE id = ?", (queued,))
            last = max(until, queued_until)
            _move_answer(db, hold.conversation_id, hold.turn_id, answered, last)
            return Absorbed(window=_window(db, hold.conversation_id, last, 1, window), address=address)

        return await self._writer.run(work)

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        refuse_unstorable(platform_id)

        def work(db: sqlite3.Connection) -> None:
            self._held(db, hold)
            db.execute(_PUT_PART, (hold.turn_id, number, platform_id))

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
                db.execute(_FINISH_WITH_ERROR, (hold.turn_id, error))
                return
            fenced = (hold.turn_id, hold.epoch, now)
            if db.execute(_PUT_ANSWER, (*fenced, answer.text, answer.ending.value)).rowcount == 0:
                raise _lost(hold)
            db.execute(_FINISH, (hold.turn_id, answer.model, answer.prompt_tokens, answer.completion_tokens))

        await self._writer.run(work)

    async def settle(self, hold: Hold, state: TurnState) -> None:
        if not state.final:
            raise ValueError(f"a turn can't be settled as {state.value}")

        def work(db: sqlite3.Connection) -> None:
            now = self._now()
            self._let_go(db, hold, now)
            db.execute(_SETTLE, (hold.turn_id, state.value, now))

        await self._writer.run(work)

    async def release(self, hold: Hold) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._let_go(db, hold, self._now())
            db.execute(_RELEASE, (hold.turn_id,))

        await self._writer.run(work)

    async def stop(self, conversation_id: int) -> Stopped:
        def work(db: sqlite3.Connection) -> Stopped:
            running = db.execute(_RUNNING, (conversation_id,)).fetchone()
            queued = db.execute(_QUEUED, (conversation_id,)).fetchone()
            if queued:
                db.execute(_SETTLE, (queued[0], TurnState.CANCELLED.value, self._now()))
                if queued[1] > TURN_MESSAGES:
                    db.execute(_LET_WAIT, (queued[0], conversation_id))
                    _take_waiting(db, queued[0], conversation_id, _LAST)
            if running:
                db.execute("UPDATE turn SET stop = 1 WHERE id = ?", running)
            return Stopped(running=running[0] if running else None, queued=queued[0] if queued else None)

        return await self._writer.run(work)

    async def retry(self, conversation_id: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            last = db.execute(_LAST_TURN, (conversation_id,)).fetchone()
            if last is None or last[1] is None:
                return False
            return db.execute(_AGAIN, (last[0], self._now())).rowcount == 1

        return await self._writer.run(work)

    async def busy(self, conversation_id: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            last = db.execute(_LAST_TURN, (conversation_id,)).fetchone()
            return last is not None and last[1] is None

        return await self._writer.run(work)

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        now = _us(at)

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
        values = (_us(at), _us(before), limit)
        return await self._writer.run(lambda db: db.execute(_EXPIRE, values).rowcount)

    async def purge(self, *, before: datetime, limit: int) -> int:
        cut = _us(before)

        def work(db: sqlite3.Connection) -> int:
            gone = 0
            for sql in (_PURGE_MESSAGES, _PURGE_TURNS, _PURGE_CONVERSATIONS):
                if gone < limit:
                    gone += db.execute(sql, (cut, limit - gone)).rowcount
            return gone

        return await self._writer.run(work)

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        values = (_us(before), limit)
        return await self._writer.run(lambda db: db.execute(_FORGET_EVENTS, values).rowcount)

    async def status(self) -> StoreStatus:
        def work(db: sqlite3.Connection) -> StoreStatus:
            queued, running, oldest = db.execute(_COUNT_OPEN).fetchone()
            return StoreStatus(
                engine=f"SQLite {sqlite3.sqlite_version}",
                place=str(self._path or ":memory:"),
                queued=queued,
                running=running,
                oldest_queued_at=None if oldest is None else _time(oldest),
            )

        return await self._writer.run(work)

    async def check(self) -> None:
        # BEGIN IMMEDIATE and COMMIT alone prove that the lock can be had; only a page that changes proves the disk.
        await self._writer.run(lambda db: db.execute("UPDATE alembic_version SET version_num = version_num"))

    async def backup(self, path: Path) -> None:
        def work(db: sqlite3.Connection) -> None:
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                raise StoreDenied(f"{path} exists already: name a new file") from None
            except OSError as exc:
                raise StoreDenied(f"{path} can't be written ({exc.strerror}): name a file in a directory that can") from exc
            try:
                db.execute("VACUUM INTO ?", (str(path),))  # SQLite takes an empty file for none
            except BaseException:
                path.unlink()
                raise

        await self._writer.alone(work)

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
        return _us(self._clock())

    def _held(self, db: sqlite3.Connection, hold: Hold) -> None:
        if not db.execute(_HELD, (hold.conversation_id, hold.epoch, self._now())).fetchone():
            raise _lost(hold)

    def _let_go(self, db: sqlite3.Connection, hold: Hold, now: int) -> None:
        if db.execute(_LET_GO, (hold.conversation_id, hold.epoch, now)).rowcount == 0:
            raise _lost(hold)


@functools.cache
def _next_turn(platforms: int) -> str:
    return _NEXT_TURN.format(platforms=", ".join("?" * platforms))


def _take_waiting(db: sqlite3.Connection, turn_id: int, conversation_id: int, limit: int) -> int:
    """Give the turn at most `limit` of the messages that wait without one, in order; return the last one's position."""
    positions = [row[0] for row in db.execute(_TAKE_WAITING, (turn_id, conversation_id, limit)).fetchall()]
    db.execute(_SPAN, (turn_id, min(positions), max(positions)))
    return int(max(positions))


def _move_answer(db: sqlite3.Connection, conversation_id: int, turn_id: int, answered: int | None, until: int) -> None:
    if answered is not None and answered != until:
        db.execute(_MOVE_ANSWER, (conversation_id, answered, until, turn_id))
        db.execute(_ANSWERED, (turn_id, until))


def _window(db: sqlite3.Connection, conversation_id: int, until: int, role: int, n: int) -> tuple[Message, ...]:
    """Read the last `n` messages before (`until`, `role`), oldest first."""
    rows = db.execute(_WINDOW, (conversation_id, until, role, n)).fetchall()
    rows.reverse()
    return tuple([_message(row) for row in rows])


def _answer(db: sqlite3.Connection, conversation_id: int, until: int, turn: tuple[Any, ...]) -> Answer | None:
    row = db.execute(
        "SELECT text, ending FROM message WHERE conversation_id = ? AND position = ? AND role = 1", (conversation_id, until)
    ).fetchone()
    if row is None or turn[6]:
        return None  # with an error, what stands there is the answer of an earlier try
    return Answer(text=row[0], ending=Ending(row[1]), model=turn[10], prompt_tokens=turn[11], completion_tokens=turn[12])


class _Draft:
    """A message under construction: the fields of `Message` without its guard, which makes 20 of them cost 20 us more.

    `Message` is frozen, and a frozen dataclass pays for each field that its constructor sets. A draft is filled in the plain
    way and becomes a message by its class, which Python allows between classes with the same slots.
    """

    __slots__ = Message.__slots__

    def __init__(
        self,
        id: int,
        conversation_id: int,
        role: int,
        position: int,
        author_id: str,
        author_name: str,
        text: str,
        ending: str,
        turn_id: int | None,
        at: int,
    ) -> None:
        self.id = id
        self.conversation_id = conversation_id
        self.role = _ROLES[role]
        self.position = position
        self.author_id = author_id
        self.author_name = author_name
        self.text = text
        self.ending = _ENDINGS[ending]
        self.turn_id = turn_id
        self.at = _EPOCH + timedelta(0, 0, at)


def _message(row: tuple[Any, ...]) -> Message:
    draft: Any = _Draft(*row)
    draft.__class__ = Message
    return draft  # type: ignore[no-any-return]


def _conversation(row: tuple[Any, ...]) -> Conversation:
    return Conversation(
        id=row[0],
        key=ConversationKey(platform=row[1], workspace=row[2], channel=row[3], thread=row[4], user=row[5]),
        created_at=_time(row[6]),
        active_at=_time(row[7]),
        ended_at=None if row[8] is None else _time(row[8]),
        expired_at=None if row[9] is None else _time(row[9]),
    )


def _columns(key: ConversationKey) -> tuple[str, str, str, str, str]:
    return (key.platform, key.workspace, key.channel, key.thread, key.user)


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


def _us(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is refused: pass aware UTC")
    return (moment - _EPOCH) // _MICROSECOND


def _time(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
