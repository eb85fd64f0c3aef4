"""The laws of governing: what operators decide takes effect everywhere, is written down, and bounds what is spent."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from store.governing import AuditEntry, Days, Grant, Meter, Order, Setting, UsageBy, UsageRow
from store.values import Hold


class Governing(Protocol):
    """What a store keeps for whoever runs the bot. All laws of `store.protocol.Store` hold here too."""

    async def settings(self, platform: str) -> tuple[Setting, ...]:
        """Return what operators chose on a platform, and for everything (platform "")."""

    async def put_setting(self, setting: Setting, *, author_id: str, action: str = "", at: datetime) -> str:
        """Keep a setting; an empty value removes it. Returns the value before, "" when there was none.

        The change stands in the audit log, in the same transaction, as `author_id`'s: `action` (the setting's name when it
        is left out) on the setting's subject and name, from the value before to the one after. What changes nothing is not
        noted.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def settings_version(self) -> int:
        """Return a number that is another one after each change of a setting, whichever process made it; cheap."""

    async def audit(self, entry: AuditEntry) -> None:
        """Write an entry in the audit log.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def audit_log(
        self, platform: str, workspace: str, *, limit: int, before: int | None = None, everything: bool = False
    ) -> tuple[AuditEntry, ...]:
        """List entries of a workspace, the newest first, those with an id below `before` if it is given; `everything`: with
        those that concern no single workspace (platform "").

        Raises:
            ValueError: `limit` is below 1 or above `AUDIT_PAGE`.
        """

    async def forget_audit(self, *, before: datetime, limit: int) -> int:
        """Drop entries from before `before`, at most `limit`; return how many."""

    async def reserve(self, hold: Hold, order: Order) -> Grant:
        """Set aside what a turn may cost in the worst case, or refuse it and set nothing aside.

        A limit stands against an order when what its payer has spent in the period, what is set aside for other turns and
        the order together pass its amount. So however many ask at once, on however many replicas, no limit is passed. An
        order of the same hold replaces the one before; the turn counts as one. What another holder of the same turn had set
        aside, who never said what became of it, counts as spent. Of several limits that stand against an order, the one
        that ends last is told.

        Raises:
            LeaseLost: and nothing is set aside.
        """

    async def standing(self, platform: str, workspace: str, channel: str, user: str) -> tuple[Meter, ...]:
        """Tell what each payer of such a turn has spent in the present minute and day, with what is reserved."""

    async def usage(
        self, platform: str, workspace: str, *, by: UsageBy, days: Days, user: str = "", limit: int
    ) -> tuple[UsageRow, ...]:
        """Sum up what was used in a workspace, the largest first, days in their order; of one user only, if one is named.

        Raises:
            ValueError: `limit` is below 1.
        """

    async def forget_usage(self, *, before: datetime, limit: int) -> int:
        """Drop the accounts of days before `before`, and of minutes that are over, at most `limit`; return how many."""

    async def running_in(self, platform: str, workspaces: Collection[str]) -> int:
        """Count the turns that are carried out in these workspaces just now, on all replicas."""
