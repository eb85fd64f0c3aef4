"""Settings on the SQLite engine: what operators chose, and the log of what was done in the name of governing.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol_governing`.
"""

import sqlite3

import store.sqlite_sql_governing as sql
from store.governing import AuditEntry, Setting
from store.rows import audit_entry_of, us_of


def settings(db: sqlite3.Connection, platform: str) -> tuple[Setting, ...]:
    """Tell what operators chose on a platform, and for everything."""
    return tuple(
        Setting(platform=of, workspace=workspace, channel=channel, subject=subject, name=name, value=value)
        for of, workspace, channel, subject, name, value in db.execute(sql.SETTINGS, (platform,))
    )


def put_setting(db: sqlite3.Connection, setting: Setting, author_id: str, action: str, at: int) -> str:
    """Keep a setting, or remove it, and write that down; return the value before."""
    key = (setting.platform, setting.workspace, setting.channel, setting.subject, setting.name)
    row = db.execute(sql.SETTING, key).fetchone()
    before = str(row[0]) if row else ""
    if setting.value == before:
        return before
    if setting.value:
        db.execute(sql.PUT_SETTING, (*key, setting.value, at))
    else:
        db.execute(sql.DROP_SETTING, key)
    db.execute(sql.CHANGED)
    target = f"{setting.subject} {setting.name}".strip()
    db.execute(sql.ADD_AUDIT, (*key[:3], author_id, action or setting.name, target, before, setting.value, 1, at))
    return before


def version(db: sqlite3.Connection) -> int:
    """Tell how often settings were changed."""
    row = db.execute(sql.VERSION).fetchone()
    return int(row[0]) if row else 0


def clear(db: sqlite3.Connection, platform: str, workspace: str) -> None:
    """Remove the settings of a workspace that is gone."""
    if db.execute(sql.CLEAR_SETTINGS, (platform, workspace)).rowcount:
        db.execute(sql.CHANGED)


def audit(db: sqlite3.Connection, entry: AuditEntry) -> None:
    """Write an entry in the log."""
    who = (entry.platform, entry.workspace, entry.channel, entry.author_id)
    what = (entry.action, entry.target, entry.before, entry.after, entry.allowed)
    db.execute(sql.ADD_AUDIT, (*who, *what, us_of(entry.at)))


def audit_log(
    db: sqlite3.Connection, platform: str, workspace: str, before: int, limit: int, everything: bool
) -> tuple[AuditEntry, ...]:
    """List entries, the newest first."""
    rows = db.execute(sql.AUDIT_OF_ALL if everything else sql.AUDIT, (platform, workspace, before, limit))
    return tuple(audit_entry_of(row) for row in rows)


def forget_audit(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Drop entries that are old enough."""
    return db.execute(sql.FORGET_AUDIT, (before, limit)).rowcount


def clear_audit(db: sqlite3.Connection, platform: str, workspace: str, limit: int) -> int:
    """Drop entries of a workspace that is gone."""
    return db.execute(sql.CLEAR_AUDIT, (platform, workspace, limit)).rowcount
