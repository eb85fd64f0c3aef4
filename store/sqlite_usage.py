"""What operators see of the accounts on the SQLite engine: usage by day, person and place, and what runs just now.

Functions on the writing connection, each inside one transaction; `now` is in microseconds. The laws stand in
`store.protocol_governing`.
"""

import json
import sqlite3
from collections.abc import Collection
from datetime import date, timedelta

import store.sqlite_sql_governing as sql
from store.governing import USAGE_DAYS, Days, Payer, UsageBy, UsageRow
from store.rows import time_of

DAY = timedelta(days=1)

_LARGEST = "sum(money) DESC, sum(prompt_tokens) + sum(completion_tokens) DESC, sum(turns) DESC, 1"
_HEADINGS = {
    UsageBy.USER: ("subject", Payer.USER),
    UsageBy.CHANNEL: ("subject", Payer.CHANNEL),
    UsageBy.WORKSPACE: ("workspace", Payer.WORKSPACE),
    UsageBy.DAY: ("substr(period, 2, 4) || '-' || substr(period, 6, 2) || '-' || substr(period, 8)", Payer.WORKSPACE),
}


def usage(
    db: sqlite3.Connection, now: int, platform: str, workspace: str, by: UsageBy, days: Days, user: str, limit: int
) -> tuple[UsageRow, ...]:
    """Sum up what was used, no further back than it is kept."""
    heading, payer = _HEADINGS[by]
    order = "1" if by is UsageBy.DAY else _LARGEST
    values = (
        json.dumps(_periods(days, time_of(now).date())),
        platform,
        workspace,
        (Payer.USER if user else payer).value,
        user,
        limit,
    )
    rows = db.execute(sql.USAGE.format(heading=heading, order=order), values)
    return tuple(
        UsageRow(heading=name, turns=turns, prompt_tokens=prompt, completion_tokens=completion, money=money)
        for name, turns, prompt, completion, money in rows
    )


def running_in(db: sqlite3.Connection, now: int, platform: str, workspaces: Collection[str]) -> int:
    """Count the turns that somebody holds."""
    return int(db.execute(sql.RUNNING_IN, (now, platform, json.dumps(list(workspaces)))).fetchone()[0])


def _periods(days: Days, today: date) -> list[str]:
    last = min(days.last, today + DAY)
    first = max(days.first, today - USAGE_DAYS * DAY)
    return [f"d{first + n * DAY:%Y%m%d}" for n in range((last - first).days + 1)]
