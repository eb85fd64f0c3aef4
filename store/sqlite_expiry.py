"""Expiry on the SQLite engine: conversations are walked through in batches, and those whose time is up are marked.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol`.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from store.keeping import Expired, Spot

_SEEN = "SELECT id, platform, workspace, channel, active_at, expired_at FROM conversation"
# By the index of those that have not expired, in the order of time.
IDLE = f"""{_SEEN} WHERE expired_at IS NULL AND active_at < ?1 AND (active_at, id) > (?2, ?3)
ORDER BY active_at, id LIMIT ?4"""
# By the index of places, so what has expired already or was active lately is looked at too.
IN_CHANNEL = f"{_SEEN} WHERE platform = ?1 AND workspace = ?2 AND channel = ?3 AND id > ?4 ORDER BY id LIMIT ?5"
IN_WORKSPACE = f"""{_SEEN} WHERE platform = ?1 AND workspace = ?2 AND (channel, id) > (?3, ?4)
ORDER BY channel, id LIMIT ?5"""
# What had ended before did so before it expired, if only by a microsecond: taking its expiry back goes by that.
EXPIRE = """
UPDATE conversation SET expired_at = ?1, ended_at = coalesce(min(ended_at, ?1 - 1), ?1)
WHERE id IN (SELECT value FROM json_each(?2))
AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = conversation.id AND settled_at IS NULL)"""

Row = tuple[Any, ...]
LONG_BEFORE = -(1 << 63)


def expire(
    db: sqlite3.Connection, before: int, at: int, limit: int, within: Spot | None, but: Collection[Spot], since: str | None
) -> Expired:
    """Look at the next conversations, and mark those whose time is up."""
    # One more is asked for than is looked at: is there a next batch?
    ahead = limit + 1
    found = _idle(db, before, ahead, since) if within is None else _within(db, within, ahead, since)
    rows = found[:limit]
    spared = {(spot.platform, spot.workspace, spot.channel) for spot in but}
    due = [row[0] for row in rows if row[5] is None and row[4] < before and not _is_spared(row, spared)]
    expired = db.execute(EXPIRE, (at, json.dumps(due))).rowcount if due else 0
    following = None
    if len(found) > limit:
        last = rows[-1]
        following = f"{last[0]} {last[4] if within is None else last[3]}"
    return Expired(expired=expired, looked_at=len(rows), next=following)


def _idle(db: sqlite3.Connection, before: int, limit: int, since: str | None) -> Sequence[Row]:
    last_id, active_at = since.split(" ", 1) if since else ("0", str(LONG_BEFORE))
    return db.execute(IDLE, (before, int(active_at), int(last_id), limit)).fetchall()


def _within(db: sqlite3.Connection, spot: Spot, limit: int, since: str | None) -> Sequence[Row]:
    last_id, channel = since.split(" ", 1) if since else ("0", "")
    if spot.channel:
        values = (spot.platform, spot.workspace, spot.channel, int(last_id), limit)
        return db.execute(IN_CHANNEL, values).fetchall()
    return db.execute(IN_WORKSPACE, (spot.platform, spot.workspace, channel, int(last_id), limit)).fetchall()


def _is_spared(row: Row, spared: Collection[tuple[str, str, str]]) -> bool:
    platform, workspace, channel = row[1:4]
    return (platform, workspace, "") in spared or (platform, workspace, channel) in spared
