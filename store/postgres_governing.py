"""The calls of `store.protocol_governing.Governing` on the PostgreSQL engine.

Their SQL is in `settings.sql`, `accounts.sql` and `usage.sql` of `store/postgres_functions`; the second says how limits are
kept by any number of replicas at once. How a function on the server is called stands in `store.postgres_calls`.
"""

import json
from collections.abc import Collection
from datetime import datetime

from store.arguments import require_page, require_usage
from store.governing import (
    AUDIT_PAGE,
    NEARLY,
    USAGE_DAYS,
    AuditEntry,
    Days,
    Grant,
    Meter,
    Order,
    Payer,
    Period,
    Setting,
    UsageBy,
    UsageRow,
)
from store.postgres_calls import PostgresCalls
from store.rows import LAST, audit_entry_of, refuse_all, time_of, us_of
from store.values import Hold

ABANDONED_AFTER = 600_000_000
"""Microseconds after which somebody looks whether what was set aside still has a holder: ten minutes, twenty leases."""
ABANDONED_AT_ONCE = 100
"""Abandoned bills that one call turns into charges."""
PURGE_PERIODS = 50
PURGE_ENTRIES = 1000
"""Periods and entries of a purged workspace that are erased in one transaction."""


class PostgresGoverning(PostgresCalls):
    """The laws of `Governing` on PostgreSQL."""

    async def settings(self, platform: str) -> tuple[Setting, ...]:
        return tuple(
            Setting(platform=of, workspace=workspace, channel=channel, subject=subject, name=name, value=value)
            for of, workspace, channel, subject, name, value in await self._all("settings", platform)
        )

    async def put_setting(self, setting: Setting, *, author_id: str, action: str = "", at: datetime) -> str:
        key = (setting.platform, setting.workspace, setting.channel, setting.subject, setting.name)
        refuse_all(*key, setting.value, author_id, action)
        row = await self._one("put_setting", *key, setting.value, author_id, action or setting.name, us_of(at))
        return str(row[0])

    async def settings_version(self) -> int:
        return int((await self._one("settings_version"))[0])

    async def audit(self, entry: AuditEntry) -> None:
        who = (entry.platform, entry.workspace, entry.channel, entry.author_id)
        what = (entry.action, entry.target, entry.before, entry.after)
        refuse_all(*who, *what)
        await self._one("audit", *who, *what, entry.allowed, us_of(entry.at))

    async def audit_log(
        self, platform: str, workspace: str, *, limit: int, before: int | None = None, everything: bool = False
    ) -> tuple[AuditEntry, ...]:
        require_page(limit, AUDIT_PAGE, "entries")
        before = LAST if before is None else before
        return tuple(
            audit_entry_of(row) for row in await self._all("audit_log", platform, workspace, before, limit, everything)
        )

    async def forget_audit(self, *, before: datetime, limit: int) -> int:
        return int((await self._one("forget_audit", us_of(before), limit))[0])

    async def reserve(self, hold: Hold, order: Order) -> Grant:
        refuse_all(order.author_id)
        limits = json.dumps([(limit.payer, limit.unit, limit.period, limit.amount) for limit in order.limits])
        whose = (hold.turn_id, hold.conversation_id, hold.epoch, order.author_id)
        row = await self._one("reserve", *whose, order.tokens, order.money, limits, str(NEARLY))
        refused, until, told, near = row
        if refused is None:
            return Grant(near=tuple(order.limits[number] for number in near))
        return Grant(refused=order.limits[refused], until=time_of(until), told=told)

    async def standing(self, platform: str, workspace: str, channel: str, user: str) -> tuple[Meter, ...]:
        rows = await self._all("standing", platform, workspace, channel, user)
        found = {
            (payer, period): Meter(payer=Payer(payer), period=Period(period), turns=turns, tokens=tokens, money=money)
            for payer, period, turns, tokens, money in rows
        }
        return tuple(found[payer, period] for period in Period for payer in Payer)

    async def usage(
        self, platform: str, workspace: str, *, by: UsageBy, days: Days, user: str = "", limit: int
    ) -> tuple[UsageRow, ...]:
        require_usage(by, user, limit)
        span = (days.first.isoformat(), days.last.isoformat(), USAGE_DAYS)
        abandoned = (ABANDONED_AFTER, ABANDONED_AT_ONCE)
        return tuple(
            UsageRow(heading=heading, turns=turns, prompt_tokens=prompt, completion_tokens=completion, money=money)
            for heading, turns, prompt, completion, money in await self._all(
                "usage", platform, workspace, by.value, *span, user, limit, *abandoned
            )
        )

    async def forget_usage(self, *, before: datetime, limit: int) -> int:
        abandoned = (ABANDONED_AFTER, ABANDONED_AT_ONCE)
        return int((await self._one("forget_usage", us_of(before), limit, *abandoned))[0])

    async def running_in(self, platform: str, workspaces: Collection[str]) -> int:
        return int((await self._one("held_in", platform, list(workspaces)))[0])

    async def _clear_accounts(self, platform: str, workspace: str) -> None:
        """Drop what governing keeps of a workspace that is gone, in portions; nobody holds a turn of it any more."""
        await self._one("clear_settings", platform, workspace)
        await self._one("clear_bills", platform, workspace)
        after: str | None = ""
        while after is not None:
            (after,) = await self._one("clear_accounts", platform, workspace, after, PURGE_PERIODS)
        while (await self._one("clear_audit", platform, workspace, PURGE_ENTRIES))[0]:
            pass
