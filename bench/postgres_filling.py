"""Fills a PostgreSQL database of Parley's with plain SQL: conversations held long ago, and queues of turns that wait."""

import asyncio

import psycopg

from bench.filling import PLATFORM
from bench.workload import ANSWER, QUESTION, WINDOW
from store.governing import ON, PAUSED, WORKSPACE_RUNNING
from store.postgres import PostgresStore

EMPTY = "nothing but the turn itself"
FLOODED = "all of them: half in one flooded conversation, half in others before it"
FLOODED_FIRST = "the same, the flooded conversation first"
PAUSED_BEFORE = "half of them before it, in a paused workspace"
PAUSED_CHANNEL = "half of them before it, in a paused channel"
FULL_BEFORE = "half of them before it, in a full workspace"
QUEUES = (EMPTY, FLOODED, FLOODED_FIRST, PAUSED_BEFORE, PAUSED_CHANNEL, FULL_BEFORE)
"""Queues from which single turns are claimed; each name says what waits there beside the turn that is claimed."""

_CONVERSATIONS = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
SELECT %(platform)s, 'W', 'C' || lpad(i::text, 7, '0'), '', '', 1, 1, %(pairs)s FROM generate_series(0, %(last)s) i"""
_TURNS = """
INSERT INTO turn (conversation_id, state, attempts, since, until, messages, answered, address, queued_at, settled_at)
SELECT id, 'done', 1, %(pair)s, %(pair)s, 1, %(pair)s, 'address', 1, 1 FROM conversation ORDER BY id"""
_MESSAGES = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT t.conversation_id, t.since, r.role, t.id, '', CASE r.role WHEN 0 THEN 'U1' ELSE '' END,
  CASE r.role WHEN 0 THEN 'Mina 민아' ELSE '' END, CASE r.role WHEN 0 THEN %(question)s ELSE %(answer)s END, 'complete', 1
FROM turn t CROSS JOIN (SELECT 0 AS role UNION ALL SELECT 1) r ORDER BY t.id, r.role"""

_MANY = """
WITH c AS (
  INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
  SELECT %(platform)s, 'T1', 'C1', i::text, '', 1, 1, 1 FROM generate_series(1, %(waiting)s) i
  RETURNING id, platform, workspace, channel),
t AS (
  INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages,
    queued_platform, queued_workspace, queued_channel)
  SELECT id, 'queued', 'address', 1, 1, 1, 1, platform, workspace, channel FROM c ORDER BY id RETURNING id, conversation_id)
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT conversation_id, 1, 0, id, '', 'U1', 'Mina', 'hello', 'complete', 1 FROM t"""
_FLOOD = """
WITH c AS (
  INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
  VALUES (%(platform)s, 'T1', 'FLOOD', '', '', 1, 1, %(waiting)s) RETURNING id, platform, workspace, channel),
t AS (
  INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages,
    queued_platform, queued_workspace, queued_channel)
  SELECT id, 'queued', 'address', 1, 1, 20, %(waiting)s, platform, workspace, channel FROM c RETURNING id, conversation_id)
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT conversation_id, i, 0, CASE WHEN i <= 20 THEN id END, '', 'U1', 'Mina', 'hello', 'complete', 1
FROM t CROSS JOIN generate_series(1, %(waiting)s) i"""
_SETTING = """
INSERT INTO setting (platform, workspace, channel, subject, name, value, at)
VALUES (%(platform)s, 'T1', %(channel)s, '', %(name)s, %(value)s, 1)"""
_STEPS = {
    EMPTY: (),
    FLOODED: (_MANY, _FLOOD),
    FLOODED_FIRST: (_FLOOD, _MANY),
    PAUSED_BEFORE: (_MANY, _SETTING),
    PAUSED_CHANNEL: (_MANY, _SETTING),
    FULL_BEFORE: (_MANY, _SETTING),
}
_CHOSEN = {
    PAUSED_BEFORE: {"channel": "", "name": PAUSED, "value": ON},
    PAUSED_CHANNEL: {"channel": "C1", "name": PAUSED, "value": ON},
    # Nobody may choose this; it stands for a workspace that others keep full while single turns are claimed.
    FULL_BEFORE: {"channel": "", "name": WORKSPACE_RUNNING, "value": "0"},
}


def fill(url: str, conversations: int) -> None:
    """Give an empty store conversations of `WINDOW` messages each, whose keys are those of `bench.filling.key_of`."""
    values: dict[str, object] = {
        "platform": PLATFORM,
        "last": conversations - 1,
        "pairs": WINDOW // 2,
        "question": QUESTION,
        "answer": ANSWER,
    }
    pairs = range(1, WINDOW // 2 + 1)
    steps = ((_CONVERSATIONS, values), *((_TURNS, {"pair": pair}) for pair in pairs), (_MESSAGES, values))
    _run(url, steps)


def fill_queue(url: str, queue: str, waiting: int) -> None:
    """Give an empty store one of the `QUEUES`; `waiting` turns, or half as many and as many messages of a flood."""
    values: dict[str, object] = {"platform": PLATFORM, "waiting": waiting // 2, **_CHOSEN.get(queue, {})}
    _run(url, tuple((step, values) for step in _STEPS[queue]))


def make(url: str) -> None:
    """Make an empty store in an empty database."""
    asyncio.run(_open_once(url))


def _run(url: str, steps: tuple[tuple[str, dict[str, object]], ...]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement, values in steps:
            connection.execute(statement.encode(), values)
        connection.execute("VACUUM ANALYZE")


async def _open_once(url: str) -> None:
    store = await PostgresStore.open(url)
    await store.aclose()
