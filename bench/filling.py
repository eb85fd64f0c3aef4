"""Fills a Parley file with plain SQL in large transactions, as if the conversations had been held long ago."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.workload import ANSWER, QUESTION, WINDOW
from store.sqlite_file import prepare
from store.values import ConversationKey

PLATFORM = "bench"
DAY_US = 86_400_000_000
STALE_DAYS = 100
SEEN_AT_MOST = 200_000
"""Rows of `seen` at most: the sweeper forgets them after a day or so, however many messages are kept."""

_CONVERSATIONS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :conversations)
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
SELECT :platform, 'W', printf('C%07d', i), '', '', :then,
  CASE WHEN :half_stale AND i % 2 = 0 THEN :then + i ELSE :now END, :pairs FROM n"""
_TURNS = """
INSERT INTO turn (conversation_id, state, attempts, since, until, messages, answered, address, queued_at, settled_at)
SELECT c.id, 'done', 1, :pair, :pair, 1, :pair, 'address', :at, :at FROM conversation c ORDER BY c.id"""
_MESSAGES = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT c.id, :pair, r.role, (:pair - 1) * :conversations + c.id, CASE r.role WHEN 0 THEN :pair || '.' || c.id ELSE '' END,
  CASE r.role WHEN 0 THEN 'U1' ELSE '' END, CASE r.role WHEN 0 THEN 'Mina 민아' ELSE '' END,
  CASE r.role WHEN 0 THEN :question ELSE :answer END, 'complete', :at
FROM conversation c CROSS JOIN (SELECT 0 AS role UNION ALL SELECT 1) r ORDER BY c.id, r.role"""
_SEEN = """
INSERT INTO seen (name, at)
SELECT platform_id || printf('\x1fm\x1fC%07d\x1fW\x1fbench', conversation_id - 1), at FROM message WHERE role = 0
ORDER BY id DESC LIMIT :most"""


def key_of(conversation: int) -> ConversationKey:
    """Return the key of a filled conversation, by its number from 0."""
    return ConversationKey(platform=PLATFORM, workspace="W", channel=f"C{conversation:07d}")


def fill(path: Path, *, conversations: int, messages: int = WINDOW, half_stale: bool = False) -> None:
    """Make the file at `path`; with `half_stale` every second conversation was last active `STALE_DAYS` ago.

    The messages of one conversation lie as far apart as they do in life: everybody's first, then everybody's second, and so
    on.
    """
    prepare(path)
    now = time.time_ns() // 1000
    values: dict[str, int | str] = {
        "conversations": conversations,
        "platform": PLATFORM,
        "then": now - STALE_DAYS * DAY_US,
        "now": now,
        "half_stale": half_stale,
        "pairs": messages // 2,
        "question": QUESTION,
        "answer": ANSWER,
        "most": SEEN_AT_MOST,
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -200000")
        indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        db.execute("BEGIN")
        db.execute(_CONVERSATIONS, values)
        for pair in range(1, messages // 2 + 1):
            at = now - STALE_DAYS * DAY_US + pair
            db.execute(_TURNS, {"pair": pair, "at": at})
            db.execute(_MESSAGES, {**values, "pair": pair, "at": at})
        db.execute(_SEEN, values)
        for _, sql in indexes:
            db.execute(sql)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA optimize")
