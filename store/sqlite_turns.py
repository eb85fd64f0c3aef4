"""Turns on the SQLite engine: a message is taken in, its turn claimed, carried out by whoever holds it, and ended.

Functions on the writing connection, each inside one transaction; `now` is in microseconds. The laws stand in
`store.protocol`.
"""

import functools
import logging
import sqlite3
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any

import store.sqlite_sql as sql
from store import sqlite_accounts as accounts
from store.errors import LeaseLost, StoreDamaged
from store.governing import Charge
from store.keeping import Spot
from store.rows import LAST, REDO, RETRACT, STOP, Begin, columns_of, delivery_names, time_of
from store.seals import what_file, what_text
from store.sqlite_people import take_part
from store.sqlite_rows import read_answer, read_window
from store.sqlite_seals import values_of
from store.values import (
    DAMAGED,
    TURN_MESSAGES,
    Absorbed,
    Accepted,
    Answer,
    Attachment,
    Claim,
    ConversationKey,
    Hold,
    Message,
    NewMessage,
    Renewal,
    Stopped,
    Turn,
    TurnState,
)

log = logging.getLogger(__name__)

_TO_RECOVER = (TurnState.RUNNING, TurnState.DELIVERING, TurnState.CANCELLED)
"""The states of turns that somebody held, or that are to be taken back."""


class SamePosition(Exception):
    """Two messages of one conversation at one place in its order: the second is the first again."""


def accept(db: sqlite3.Connection, now: int, message: NewMessage, at: int, begin: Begin | None) -> Accepted | None:
    """Take a message in; with `begin`, claim its turn if nothing keeps it waiting.

    Raises:
        SamePosition: and nothing is to be kept.
    """
    key = message.key
    event_name, message_name = delivery_names(message.event_id, message.message_id, key)
    if event_name:
        seen = 2 - db.execute(sql.SEE_TWO, (event_name, message_name, at)).rowcount
        if seen == 1:
            db.execute(sql.UNSEE)  # nothing is stored of a copy, not even the name that was new about it
    else:
        seen = 1 - db.execute(sql.SEE_ONE, (message_name, at)).rowcount
    if seen:
        return None
    touched = db.execute(sql.TOUCH, (*columns_of(key), at, message.position)).fetchone()
    conversation_id, last, epoch, lease_until, persona, sealed = touched
    position = last if message.position is None else message.position
    values = (conversation_id, message.address, at, position)
    begun = begin is not None and lease_until <= now and not _must_wait(db, now, conversation_id, key, begin.per_workspace)
    if begun:
        turn_id, messages = db.execute(sql.BEGIN, (*values, now)).fetchone()
    else:
        turn_id, messages = db.execute(sql.QUEUE, (*values, key.platform, key.workspace, key.channel)).fetchone()
    _add_message(db, message, conversation_id, position, turn_id if messages <= TURN_MESSAGES else None, at)
    if begin is None or not begun:
        return Accepted(conversation_id=conversation_id, claim=None)
    db.execute(sql.HOLD, (conversation_id, now + begin.lease))
    window, chosen, error = _read(db, turn_id, conversation_id, position, begin.window, (persona, sealed))
    claim = Claim(
        hold=Hold(turn_id=turn_id, conversation_id=conversation_id, epoch=epoch + 1),
        turn=Turn(
            id=turn_id,
            conversation_id=conversation_id,
            state=TurnState.DELIVERING if error else TurnState.RUNNING,
            attempts=1,
            address=message.address,
            queued_at=time_of(at),
            error=error,
        ),
        key=key,
        window=window,
        answer=None,
        recovered=False,
        persona=chosen,
    )
    return Accepted(conversation_id=conversation_id, claim=claim)


def _add_message(
    db: sqlite3.Connection, message: NewMessage, conversation_id: int, position: int, turn_id: int | None, at: int
) -> None:
    values = (
        conversation_id,
        position,
        0,
        turn_id,
        message.message_id,
        message.author_id,
        message.author_name,
        values_of(db).close_text(message.text, conversation_id, what_text(0)),
        "complete",
        at,
        message.from_bot,
        len(message.attachments),
        values_of(db).number,
    )
    added = db.execute(sql.ADD_MESSAGE, values)
    if added.rowcount == 0:
        raise SamePosition
    take_part(db, message.key, conversation_id, message.author_id)
    for file in message.attachments:
        _add_attachment(db, conversation_id, added.lastrowid or 0, file)


def _add_attachment(db: sqlite3.Connection, conversation_id: int, message_id: int, file: Attachment) -> None:
    values = (
        message_id,
        file.number,
        values_of(db).close_text(file.name, conversation_id, what_file("name", message_id, file.number)),
        file.media_type,
        file.size,
        values_of(db).close_text(file.url, conversation_id, what_file("address", message_id, file.number)),
        values_of(db).close_data(file.data, conversation_id, what_file("data", message_id, file.number)),
        file.problem,
        values_of(db).number,
    )
    db.execute(sql.ADD_ATTACHMENT, values)


def claim(db: sqlite3.Connection, now: int, begin: Begin, platforms: Sequence[str], but: Collection[Spot]) -> Claim | None:
    """Take the oldest open turn that can be had."""
    row = _next_turn(db, now, begin.per_workspace, platforms, but)
    if row is None:
        return None
    turn_id, conversation_id, state, _, address, queued_at, error, until, messages, answered = row[:10]
    db.execute(sql.HOLD, (conversation_id, now + begin.lease))
    recovered = state != TurnState.QUEUED
    if not recovered:
        state = TurnState.RUNNING.value
    elif state not in _TO_RECOVER:
        log.error("turn %d fails: its state is damaged", turn_id)
        db.execute(sql.FINISH_WITH_ERROR, (turn_id, DAMAGED))
        state, error = TurnState.DELIVERING.value, DAMAGED
    (attempts,) = db.execute(sql.RUN, (turn_id, state, TURN_MESSAGES, now)).fetchone()
    if state == TurnState.CANCELLED:  # retracted: what is left of it is to be taken back, which is a delivery
        db.execute(sql.TELL, (turn_id,))
        state = TurnState.DELIVERING.value
    if messages > TURN_MESSAGES:
        until = take_again(db, turn_id, conversation_id, TURN_MESSAGES)
        more = (conversation_id, address, now, messages - TURN_MESSAGES, *row[14:17])
        rest = db.execute(sql.QUEUE_REST, more).fetchone()
        _take_waiting(db, rest[0], conversation_id, TURN_MESSAGES)
    move_answer(db, conversation_id, turn_id, answered, until)
    read, persona, damage = _read(db, turn_id, conversation_id, until, begin.window, row[20:22])
    answer = None
    if damage:
        state, error = TurnState.DELIVERING.value, error or damage
    elif state == TurnState.DELIVERING:
        answer = read_answer(db, conversation_id, until, row)
    return Claim(
        hold=Hold(turn_id=turn_id, conversation_id=conversation_id, epoch=row[13] + 1),
        turn=Turn(
            id=turn_id,
            conversation_id=conversation_id,
            state=TurnState(state),
            attempts=attempts,
            address=address,
            queued_at=time_of(queued_at),
            error=error,
        ),
        key=ConversationKey(platform=row[14], workspace=row[15], channel=row[16], thread=row[17], user=row[18]),
        window=read,
        answer=answer,
        recovered=recovered,
        stop=row[19] == STOP,
        persona=persona,
        parts=dict(db.execute(sql.PARTS, (turn_id,)).fetchall()),
    )


def _read(
    db: sqlite3.Connection, turn_id: int, conversation_id: int, until: int, window: int, persona: tuple[str, int]
) -> tuple[tuple[Message, ...], str, str]:
    """Read a turn's window and persona; and the error that it ends with when they can't be read."""
    try:
        return read_window(db, conversation_id, until, 1, window), values_of(db).open_persona(*persona, conversation_id), ""
    except StoreDamaged as exc:
        # Left as it is, it would be claimed first for ever, and nobody else would be answered.
        log.error("turn %d fails: %s", turn_id, exc)
        db.execute(sql.FINISH_WITH_ERROR, (turn_id, DAMAGED))
        return (), "", DAMAGED


def renew(db: sqlite3.Connection, now: int, hold: Hold, lease: int) -> Renewal:
    """Extend a lease and tell what its holder is asked."""
    if db.execute(sql.RENEW, (hold.conversation_id, hold.epoch, now, now + lease)).rowcount == 0:
        raise _lost(hold)
    stop = db.execute("SELECT stop FROM turn WHERE id = ?", (hold.turn_id,)).fetchone()[0]
    waiting = db.execute(sql.QUEUED, (hold.conversation_id,)).fetchone() is not None
    return Renewal(stop=stop > 0, waiting=waiting, retracted=stop >= RETRACT, revised=stop == REDO)


def absorb(db: sqlite3.Connection, now: int, hold: Hold, window: int) -> Absorbed | None:
    """Give the held turn what waits behind it."""
    row = db.execute(sql.ABSORBABLE, (hold.conversation_id, hold.turn_id, hold.epoch, now)).fetchone()
    if row is None:
        raise _lost(hold)
    own, answered, until, stop, queued, more, queued_until, address = row
    if queued is None or own + more > TURN_MESSAGES or stop >= RETRACT:
        return None
    db.execute(sql.ABSORB_MESSAGES, (hold.turn_id, hold.conversation_id, queued))
    db.execute(sql.ABSORB_TURN, (hold.turn_id, queued))
    db.execute("DELETE FROM turn WHERE id = ?", (queued,))
    last = max(until, queued_until)
    move_answer(db, hold.conversation_id, hold.turn_id, answered, last)
    return Absorbed(window=read_window(db, hold.conversation_id, last, 1, window), address=address)


def record_part(db: sqlite3.Connection, now: int, hold: Hold, number: int, platform_id: str) -> None:
    """Keep what the platform calls a part."""
    must_hold(db, now, hold)
    db.execute(sql.PUT_PART, (hold.turn_id, number, platform_id))
    if number == 0:
        db.execute(sql.SHOWN, (hold.turn_id, now))


def finish(db: sqlite3.Connection, now: int, hold: Hold, answer: Answer | None, error: str, charge: Charge | None) -> bool:
    """Store an outcome; False, and the holder is told by that, when the turn was retracted."""
    if charge is not None:
        accounts.charge(db, now, hold, charge, last=False)
    if answer is None:
        must_hold(db, now, hold)
        finished = db.execute(sql.FINISH_WITH_ERROR, (hold.turn_id, error)).rowcount == 1
    else:
        text = values_of(db).close_text(answer.text, hold.conversation_id, what_text(1))
        values = (hold.turn_id, hold.epoch, now, text, answer.ending.value, values_of(db).number)
        finished = db.execute(sql.PUT_ANSWER, values).rowcount == 1
        if finished:
            # What the turn was charged for stands there already, and says more than the answer alone.
            charged = charge is not None or accounts.is_charged(db, hold)
            tokens = (None, None) if charged else (answer.prompt_tokens, answer.completion_tokens)
            db.execute(sql.FINISH, (hold.turn_id, answer.model, *tokens))
        else:
            must_hold(db, now, hold)
    if not finished:
        db.execute(sql.TELL, (hold.turn_id,))
    return finished


def is_answered(db: sqlite3.Connection, hold: Hold) -> bool:
    """Tell whether the turn has an answer."""
    row = db.execute("SELECT answered FROM turn WHERE id = ?", (hold.turn_id,)).fetchone()
    return row is not None and row[0] is not None


def settle(db: sqlite3.Connection, now: int, hold: Hold, state: TurnState) -> None:
    """End a turn and let go of it, unless something was asked of it that is still to be done."""
    _let_go(db, now, hold)
    accounts.close_bill(db, hold.turn_id)
    if db.execute(sql.SETTLE, (hold.turn_id, state.value, now)).rowcount == 1:
        return
    if db.execute(sql.REVISED_AGAIN, (hold.turn_id, now)).rowcount == 0:
        db.execute(sql.SETTLE_REVISED, (hold.turn_id, state.value, now))
    db.execute(sql.SETTLE_RETRACTED, (hold.turn_id, now))


def release(db: sqlite3.Connection, now: int, hold: Hold, charge: Charge | None) -> None:
    """Hand a turn back."""
    if charge is not None:
        accounts.charge(db, now, hold, charge, last=True)
    _let_go(db, now, hold)
    db.execute(sql.RELEASE, (hold.turn_id,))


def stop(db: sqlite3.Connection, now: int, conversation_id: int) -> Stopped:
    """Cancel what is queued, and ask whoever holds the running turn to stop."""
    running = db.execute(sql.RUNNING, (conversation_id,)).fetchone()
    queued = settle_queued(db, now, conversation_id, TurnState.CANCELLED)
    if running:
        db.execute(sql.ASK, (running[0], STOP))
    return Stopped(running=running[0] if running else None, queued=queued)


def settle_queued(db: sqlite3.Connection, now: int, conversation_id: int, state: TurnState) -> int | None:
    """End the queued turn of a conversation, with all that waited for it, and return its id."""
    queued = db.execute(sql.QUEUED, (conversation_id,)).fetchone()
    if queued is None:
        return None
    turn_id, messages = queued
    db.execute(sql.SETTLE, (turn_id, state.value, now))
    if messages > TURN_MESSAGES:
        take_again(db, turn_id, conversation_id, LAST)
    return int(turn_id)


def retry(db: sqlite3.Connection, now: int, conversation_id: int) -> bool:
    """Queue the last turn again."""
    last = db.execute(sql.LAST_TURN, (conversation_id,)).fetchone()
    if last is None or last[1] is None:
        return False
    return db.execute(sql.AGAIN, (last[0], now)).rowcount == 1


def busy(db: sqlite3.Connection, conversation_id: int) -> bool:
    """Tell whether a turn is open."""
    last = db.execute(sql.LAST_TURN, (conversation_id,)).fetchone()
    return last is not None and last[1] is None


def must_hold(db: sqlite3.Connection, now: int, hold: Hold) -> None:
    """Raise `LeaseLost` when the hold is over."""
    if not db.execute(sql.HELD, (hold.conversation_id, hold.epoch, now)).fetchone():
        raise _lost(hold)


def take_again(db: sqlite3.Connection, turn_id: int, conversation_id: int, limit: int) -> int:
    """Let the turn give all its messages back and take the first `limit` of what waits; return the last one's position."""
    db.execute(sql.LET_WAIT, (turn_id, conversation_id))
    return _take_waiting(db, turn_id, conversation_id, limit)


def move_answer(db: sqlite3.Connection, conversation_id: int, turn_id: int, answered: int | None, until: int) -> None:
    """Put the answer of an earlier try, which stands at `answered`, behind the message that is the last one by now."""
    if answered is not None and answered != until:
        db.execute(sql.MOVE_ANSWER, (conversation_id, answered, until, turn_id))
        db.execute(sql.ANSWERED, (turn_id, until))


def _next_turn(
    db: sqlite3.Connection, now: int, per_workspace: int | None, platforms: Sequence[str], but: Collection[Spot]
) -> tuple[Any, ...] | None:
    """Find the oldest turn that can be had: among the first ones, and if these all wait for something, among all."""
    if not platforms:
        return None
    asked = (now, per_workspace, *platforms)
    row: tuple[Any, ...] | None = None
    if not but:
        row = db.execute(_of_platforms(sql.NEXT_TURN, len(platforms)), asked).fetchone()
    if row is not None:
        return row
    row = db.execute(_of_platforms(sql.LEFT_TURN, len(platforms)), asked).fetchone()
    for first, platform, workspace in db.execute(sql.QUEUED_PLACES).fetchall():
        if row is not None and row[0] < first:
            break
        if platform in platforms and Spot(platform=platform, workspace=workspace) not in but:
            other = db.execute(sql.TURN_OF_PLACE, (now, per_workspace, platform, workspace)).fetchone()
            row = min(filter(None, (row, other)), default=None, key=itemgetter(0))
    return row


@functools.cache
def _of_platforms(statement: str, platforms: int) -> str:
    return statement.format(platforms=", ".join(f"?{n + 3}" for n in range(platforms)))


def _take_waiting(db: sqlite3.Connection, turn_id: int, conversation_id: int, limit: int) -> int:
    positions = [row[0] for row in db.execute(sql.TAKE_WAITING, (turn_id, conversation_id, limit)).fetchall()]
    db.execute(sql.SPAN, (turn_id, min(positions), max(positions)))
    return int(max(positions))


def _must_wait(
    db: sqlite3.Connection, now: int, conversation_id: int, key: ConversationKey, per_workspace: int | None
) -> bool:
    place = (key.platform, key.workspace, key.channel)
    return db.execute(sql.MUST_WAIT, (conversation_id, *place, now, per_workspace)).fetchone() is not None


def _let_go(db: sqlite3.Connection, now: int, hold: Hold) -> None:
    if db.execute(sql.LET_GO, (hold.conversation_id, hold.epoch, now)).rowcount == 0:
        raise _lost(hold)


def _lost(hold: Hold) -> LeaseLost:
    return LeaseLost(f"turn {hold.turn_id} belongs to somebody else by now (epoch {hold.epoch} is over)")
