"""Conversations on the SQLite engine as operators and people see them: listed, looked at, handed out.

Functions on the writing connection, each inside one transaction. The laws stand in `store.protocol_keeping`.
"""

import sqlite3

import store.sqlite_sql_keeping as sql
from store.keeping import TURNS_SHOWN, ConversationFilter, ConversationRecord, Opinion, Opinions
from store.rows import time_of, turn_record_of
from store.sqlite_forgetting import FEEDBACK
from store.sqlite_people import summary_of
from store.sqlite_rows import conversation_of, read_whole
from store.sqlite_sql import COUNT_MESSAGES
from store.values import MESSAGES_COUNTED, Conversation, ConversationSummary, Feedback, Message, MessageName

NEWEST = 5000
"""Conversations of the whole store that are looked through for a page of a workspace's list. Only where that does not fill
it, all of the workspace's are sorted: of 150,000 in 60 ms, in which nobody else is served."""


def conversations(
    db: sqlite3.Connection, platform: str, workspace: str, which: ConversationFilter, limit: int, before: int | None
) -> tuple[ConversationSummary, ...]:
    """List the conversations of a workspace."""
    if before is None:
        (before,) = db.execute("SELECT coalesce(max(id), 0) + 1 FROM conversation").fetchone()
    values = {
        "platform": platform,
        "workspace": workspace,
        "user": which.user,
        "channel": which.channel,
        "before": before,
        "since": before - NEWEST,
        "limit": limit,
    }
    rows = [] if which.user or which.channel else db.execute(sql.list_newest(which), values).fetchall()
    if len(rows) < limit:
        rows = db.execute(sql.list_conversations(which), values).fetchall()
    return tuple(summary_of(db, row) for row in rows)


def record(db: sqlite3.Connection, platform: str, workspace: str, conversation_id: int) -> ConversationRecord | None:
    """Tell of a conversation, and nothing of what was said."""
    row = db.execute(sql.IN_WORKSPACE, (conversation_id, platform, workspace)).fetchone()
    if row is None:
        return None
    return ConversationRecord(
        conversation=conversation_of(db, row),
        messages=db.execute(COUNT_MESSAGES, (conversation_id, MESSAGES_COUNTED)).fetchone()[0],
        people=tuple(person for (person,) in db.execute(sql.PEOPLE, (conversation_id,))),
        turns=tuple(turn_record_of(row) for row in db.execute(sql.TURN_RECORDS, (conversation_id, TURNS_SHOWN))),
    )


def last_said(db: sqlite3.Connection, conversation_id: int, author_id: str) -> tuple[MessageName, ...]:
    """Name what an author asked last."""
    return tuple(
        MessageName(platform=platform, workspace=workspace, channel=channel, id=platform_id)
        for platform, workspace, channel, platform_id, _ in db.execute(sql.LAST_SAID, (conversation_id, author_id))
    )


def conversations_with(
    db: sqlite3.Connection, platform: str, workspace: str, author_id: str, limit: int, after: int
) -> tuple[Conversation, ...]:
    """List all conversations of a person."""
    values = {"platform": platform, "workspace": workspace, "user": author_id, "after": after, "limit": limit}
    return tuple(conversation_of(db, row) for row in db.execute(sql.WITH_PERSON, values).fetchall())


def said_in(db: sqlite3.Connection, conversation_id: int, author_id: str, limit: int, after: int) -> tuple[Message, ...]:
    """Hand out a person's share of a conversation."""
    if db.execute(sql.ALONE, (conversation_id, author_id)).fetchone():
        places = db.execute(sql.ALL_OF_IT, (conversation_id, after, limit)).fetchall()
    else:
        places = db.execute(sql.SHARE_OF_IT, (conversation_id, after, limit, author_id)).fetchall()
    return tuple(read_whole(db, conversation_id, position, role) for position, role in places)


def opinions(db: sqlite3.Connection, platform: str, workspace: str, user: str, after: int) -> Opinions:
    """List a portion of what somebody thinks of answers."""
    (last,) = db.execute(sql.FEEDBACK_SPAN, (after, FEEDBACK)).fetchone()
    found = () if last is None else db.execute(sql.OPINIONS, (platform, workspace, user, after, last))
    return Opinions(
        opinions=tuple(
            Opinion(turn_id=turn_id, conversation_id=conversation_id, value=Feedback(value), at=time_of(at))
            for turn_id, conversation_id, value, at in found
        ),
        next=last,
    )
