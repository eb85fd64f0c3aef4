"""Erasing so that it stays gone, on the SQLite engine: a conversation, messages, all of a person.

Functions on the writing connection, each inside one transaction; times are in microseconds. What is erased is written in the
ledger first. The laws stand in `store.protocol` and `store.protocol_keeping`.
"""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import store.sqlite_sql_keeping as sql
from store.forgetting import Person, name_of
from store.rows import LAST, known_names
from store.sqlite_conversations import delete as erase_conversation
from store.sqlite_edits import Name, find, take_out
from store.sqlite_ledger import Ledger, enter
from store.sqlite_sql import SEE_ONE
from store.sqlite_turns import settle_queued
from store.tombstones import Kind
from store.values import TurnState

CONVERSATIONS = 20
"""Conversations of a person that are looked at in one transaction."""
MESSAGES = 200
"""Messages of a person that are taken out of one conversation in one transaction: some milliseconds."""
FEEDBACK = 5000
"""Opinions, of anybody, that are looked through in one transaction."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What one transaction erased, and where the next one begins; None when nothing is left."""

    conversations: int
    messages: int
    next: int | None


def delete(db: sqlite3.Connection, now: int, ledger: Ledger, conversation_id: int) -> int:
    """Erase a conversation for good, and return how many messages went."""
    row = db.execute(sql.ERASABLE, (conversation_id,)).fetchone()
    if row is None:
        return 0
    *key, created_at, active_at = row
    # What the platform still has of it was said until it was last active.
    stones = ledger.write(
        db,
        now,
        [
            (*name_of(key, conversation_id, created_at), 0),
            (Kind.PLACE, tuple(key), active_at),
        ],
    )
    gone = erase_conversation(db, conversation_id)
    enter(db, stones)
    return gone


def retract(db: sqlite3.Connection, now: int, ledger: Ledger, names: Collection[Name]) -> tuple[int, ...]:
    """Erase users' messages for good, with the answers that came of them alone; what is not here does not come in later."""
    db.executemany(SEE_ONE, [(name, now) for name in known_names(names)])
    rows = list({row[0]: row for name in names for row in find(db, name)}.values())
    if not rows:
        return ()
    known = [db.execute(sql.NAME_OF, (message_id,)).fetchone() for message_id, _, _ in rows]
    stones = ledger.write(db, now, [(Kind.MESSAGE, tuple(name), LAST) for name in known])
    take_out(db, now, rows)
    enter(db, stones)
    return tuple(sorted({conversation_id for _, conversation_id, _ in rows}))


def begin_to_forget(db: sqlite3.Connection, now: int, ledger: Ledger, person: Person) -> None:
    """Write in the ledger that a person is forgotten; `end_forgetting` enters it when it is done."""
    ledger.write(db, now, [(Kind.PERSON, person.parts, person.until)])


def forget_conversations(db: sqlite3.Connection, now: int, person: Person, after: int) -> Portion:
    """Erase a portion of what a person said, or mark it for that: of the conversations behind `after`."""
    values = {
        "platform": person.platform,
        "workspace": person.workspace,
        "user": person.author_id,
        "until": person.until,
        "after": after,
        "limit": CONVERSATIONS,
    }
    whole = messages = 0
    rows = db.execute(sql.TO_FORGET, values).fetchall()
    for conversation_id, active_at in rows:
        if _is_theirs_alone(db, person, conversation_id, active_at):
            messages += _give_up(db, now, conversation_id)
            whole += 1
            continue
        said = db.execute(sql.SAID_UNTIL, (conversation_id, person.author_id, person.until, MESSAGES)).fetchall()
        messages += take_out(db, now, said)
        if len(said) == MESSAGES or messages >= MESSAGES:
            return Portion(whole, messages, conversation_id - 1 if len(said) == MESSAGES else conversation_id)
    return Portion(whole, messages, rows[-1][0] if len(rows) == CONVERSATIONS else None)


def _is_theirs_alone(db: sqlite3.Connection, person: Person, conversation_id: int, active_at: int) -> bool:
    if not db.execute(sql.ALONE, (conversation_id, person.author_id)).fetchone():
        return False
    if active_at <= person.until:
        return True
    said, said_later = db.execute(sql.SAID_WHEN, (conversation_id, person.until)).fetchone()
    return bool(said and not said_later)


def _give_up(db: sqlite3.Connection, now: int, conversation_id: int) -> int:
    (messages,) = db.execute(sql.COUNT_ALL, (conversation_id,)).fetchone()
    settle_queued(db, now, conversation_id, TurnState.CANCELLED)
    db.execute(sql.CANCEL_TURNS, (conversation_id, now))
    db.execute(sql.GIVE_UP, (conversation_id, now))
    return int(messages)


def forget_feedback(db: sqlite3.Connection, person: Person, after: int) -> int | None:
    """Erase a portion of what a person thinks of answers; return where the next one begins, None when nothing is left."""
    (last,) = db.execute(sql.FEEDBACK_SPAN, (after, FEEDBACK)).fetchone()
    if last is not None:
        db.execute(sql.FORGET_FEEDBACK, (*person.parts, person.until, after, last))
    return None if last is None else int(last)


def end_forgetting(db: sqlite3.Connection, now: int, ledger: Ledger, person: Person) -> None:
    """Erase the accounts of a person and enter that all of them is forgotten."""
    forget_accounts(db, person)
    enter(db, [ledger.named(now, Kind.PERSON, person.parts, person.until)])


def forget_accounts(db: sqlite3.Connection, person: Person) -> None:
    """Erase the accounts of a person, but for the day on which they are forgotten: its limits hold."""
    db.execute(sql.FORGET_ACCOUNTS, (*person.parts, *person.periods))
