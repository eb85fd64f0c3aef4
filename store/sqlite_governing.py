"""The calls of `store.protocol_governing.Governing` on the SQLite engine: arguments are checked here.

What they do stands in `store.sqlite_settings`, `store.sqlite_accounts` and `store.sqlite_usage`, their SQL in
`store.sqlite_sql_governing`.
"""

from collections.abc import Collection
from datetime import datetime

from store import sqlite_accounts as accounts
from store import sqlite_settings as settings
from store import sqlite_usage as usage
from store.arguments import require_page, require_usage
from store.governing import AUDIT_PAGE, AuditEntry, Days, Grant, Meter, Order, Setting, UsageBy, UsageRow
from store.rows import refuse_all, us_of
from store.sqlite_calls import SqliteCalls
from store.values import Hold

NEWEST = (1 << 63) - 1
PURGE_PERIODS = 50
PURGE_ENTRIES = 1000
"""Periods and entries of a purged workspace that are erased in one transaction."""


class SqliteGoverning(SqliteCalls):
    """The laws of `Governing` on SQLite."""

    async def settings(self, platform: str) -> tuple[Setting, ...]:
        return await self._run(settings.settings, platform)

    async def put_setting(self, setting: Setting, *, author_id: str, action: str = "", at: datetime) -> str:
        refuse_all(setting.platform, setting.workspace, setting.channel, setting.subject, setting.name, setting.value)
        refuse_all(author_id, action)
        return await self._run(settings.put_setting, setting, author_id, action, us_of(at))

    async def settings_version(self) -> int:
        return await self._run(settings.version)

    async def audit(self, entry: AuditEntry) -> None:
        refuse_all(entry.platform, entry.workspace, entry.channel, entry.author_id)
        refuse_all(entry.action, entry.target, entry.before, entry.after)
        us_of(entry.at)
        await self._run(settings.audit, entry)

    async def audit_log(
        self, platform: str, workspace: str, *, limit: int, before: int | None = None, everything: bool = False
    ) -> tuple[AuditEntry, ...]:
        require_page(limit, AUDIT_PAGE, "entries")
        before = NEWEST if before is None else before
        return await self._run(settings.audit_log, platform, workspace, before, limit, everything)

    async def forget_audit(self, *, before: datetime, limit: int) -> int:
        return await self._run(settings.forget_audit, us_of(before), limit)

    async def reserve(self, hold: Hold, order: Order) -> Grant:
        refuse_all(order.author_id)
        return await self._run_now(accounts.reserve, hold, order)

    async def standing(self, platform: str, workspace: str, channel: str, user: str) -> tuple[Meter, ...]:
        return await self._run_now(accounts.standing, (platform, workspace, channel), user)

    async def usage(
        self, platform: str, workspace: str, *, by: UsageBy, days: Days, user: str = "", limit: int
    ) -> tuple[UsageRow, ...]:
        require_usage(by, user, limit)
        return await self._run_now(usage.usage, platform, workspace, by, days, user, limit)

    async def forget_usage(self, *, before: datetime, limit: int) -> int:
        return await self._run_now(accounts.forget, us_of(before), limit)

    async def _clear_accounts(self, platform: str, workspace: str) -> None:
        """Drop what governing keeps of a workspace that is gone, in portions; nobody holds a turn of it any more."""
        await self._run(accounts.clear_bills, platform, workspace)
        after: str | None = ""
        while after is not None:
            after = await self._run(accounts.clear, platform, workspace, after, PURGE_PERIODS)
        while await self._run(settings.clear_audit, platform, workspace, PURGE_ENTRIES):
            pass

    async def running_in(self, platform: str, workspaces: Collection[str]) -> int:
        return await self._run_now(usage.running_in, platform, workspaces)
