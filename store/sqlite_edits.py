"""Messages on the SQLite engine that a platform names later: found again, revised, retracted, their attachments read.

Functions on the writing connection, each inside one transaction; `now` is in microseconds. The laws stand in
`store.protocol`. What is taken out comes from `store.sqlite_forgetting`, which sees to it that it stays gone.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable

import store.sqlite_sql as sql
from store.rows import REDO
from store.seals import what_file, what_text
from store.sqlite_people import feedback_of, leave
from store.sqlite_rows import conversation_of
from store.sqlite_seals import values_of
from store.sqlite_turns import move_answer, must_hold, take_again
from store.values import TURN_MESSAGES, Ending, Hold, Located, Redo, Revised, Role, TurnFacts, TurnState

Name = tuple[str, str, str, str]
"""A `MessageName` by its columns."""
Row = tuple[int, int, int | None]
"""A user's message: its id, its conversation's, and the turn that answers it, None while it waits."""


def keep_attachment(
    db: sqlite3.Connection, now: int, hold: Hold, message_id: int, number: int, data: bytes | None, problem: str
) -> None:
    """Keep what was read of an attachment; one whose message was erased meanwhile is not kept."""
    must_hold(db, now, hold)
    kept = values_of(db).close_data(data, hold.conversation_id, what_file("data", message_id, number))
    db.execute(sql.KEEP_ATTACHMENT, (hold.conversation_id, message_id, number, kept, problem))


def locate(db: sqlite3.Connection, name: Name) -> Located | None:
    """Find a user's message, or a part of an answer."""
    role, row = Role.USER, db.execute(sql.SAID, name).fetchone()
    if row is not None:
        _, conversation_id, turn_id, _ = row
    else:
        role, row = Role.ASSISTANT, db.execute(sql.POSTED, name).fetchone()
        if row is None:
            return None
        conversation_id, turn_id = row
    conversation = conversation_of(db, db.execute(sql.CONVERSATION + sql.BY_ID, (conversation_id,)).fetchone())
    return Located(conversation=conversation, role=role, turn_id=turn_id)


def facts(db: sqlite3.Connection, turn_id: int) -> TurnFacts | None:
    """Tell what is known of a turn."""
    row = db.execute(sql.TURN_FACTS, (turn_id,)).fetchone()
    if row is None:
        return None
    conversation_id, state, latest, ending = row
    return TurnFacts(
        conversation=conversation_of(db, db.execute(sql.CONVERSATION + sql.BY_ID, (conversation_id,)).fetchone()),
        state=TurnState(state),
        authors=frozenset(author for (author,) in db.execute(sql.AUTHORS, (turn_id,))),
        latest=bool(latest),
        ending=None if ending is None else Ending(ending),
        feedback=feedback_of(db, turn_id),
    )


def revise(db: sqlite3.Connection, now: int, name: Name, text: str) -> Revised | None:
    """Replace what a user said, and have it answered anew if it was the last question."""
    said = db.execute(sql.SAID, name).fetchone()
    if said is None:
        return None
    message_id, conversation_id, turn_id, old = said
    what = what_text(0)
    if text == values_of(db).open_text(old, conversation_id, what):
        return Revised(conversation_id=conversation_id, redo=Redo.SAME)
    kept = values_of(db).close_text(text, conversation_id, what)
    db.execute("UPDATE message SET text = ? WHERE id = ?", (kept, message_id))
    asked = turn_id is None or _ask_again(db, now, turn_id)  # without a turn it waits for one, which will read it
    return Revised(conversation_id=conversation_id, redo=Redo.AGAIN if asked else Redo.KEPT)


def _ask_again(db: sqlite3.Connection, now: int, turn_id: int) -> bool:
    known = facts(db, turn_id)
    if known is None:
        return False
    if known.state is TurnState.QUEUED:
        return True
    if not known.latest or known.conversation.ended_at is not None:
        return False
    if known.state.final:
        db.execute(sql.AGAIN, (turn_id, now))
    else:
        db.execute(sql.ASK, (turn_id, REDO))
    return True


def find(db: sqlite3.Connection, name: Name) -> list[Row]:
    """Find what users said under a name."""
    return [(row[0], row[1], row[2]) for row in db.execute(sql.SAID, name).fetchall()]


def take_out(db: sqlite3.Connection, now: int, rows: Iterable[Row]) -> int:
    """Erase users' messages and the answers that came of them alone; return how many of both went."""
    gone = 0
    speakers: set[tuple[int, str]] = set()
    lost: Counter[int] = Counter()
    for message_id, conversation_id, turn_id in rows:
        (author,) = db.execute("DELETE FROM message WHERE id = ? RETURNING author_id", (message_id,)).fetchone()
        gone += 1
        speakers.add((conversation_id, author))
        # Without a turn of its own it was counted by the one that is queued.
        lost[turn_id or db.execute(sql.QUEUED, (conversation_id,)).fetchone()[0]] += 1
    for turn_id, messages in lost.items():
        gone += _lose(db, now, turn_id, messages)
    leave(db, speakers)
    return gone


def _lose(db: sqlite3.Connection, now: int, turn_id: int, lost: int) -> int:
    conversation_id, state, left, answered = db.execute(sql.LOSE, (turn_id, lost)).fetchone()
    if left == 0:
        answers = db.execute(sql.ERASE_ANSWER, (turn_id,)).rowcount
        db.execute(sql.RETRACT_TURN, (turn_id, now))
        return answers
    if state == TurnState.QUEUED and left + lost > TURN_MESSAGES:
        until = take_again(db, turn_id, conversation_id, TURN_MESSAGES)  # there may be room now for some that wait behind it
    else:
        (until,) = db.execute(sql.SHRINK, (turn_id,)).fetchone()
    move_answer(db, conversation_id, turn_id, answered, until)
    return 0
