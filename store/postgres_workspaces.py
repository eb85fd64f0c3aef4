"""Workspaces on the PostgreSQL engine: the right to work in one, and erasing all of one that is gone.

The SQL is in `store/postgres_functions/workspaces.sql`.
"""

from store.arguments import require_installation, require_place
from store.postgres_forgetting import LONG_AGO
from store.postgres_governing import PostgresGoverning
from store.postgres_keeping import PostgresKeeping
from store.rows import time_of, us_of
from store.values import Installation

CONVERSATIONS = 500
"""Conversations of a workspace that are given up in one transaction: some hundredths of a second."""


class PostgresWorkspaces(PostgresGoverning, PostgresKeeping):
    """The right to work in a workspace, and its end."""

    async def put_installation(self, installation: Installation) -> None:
        require_installation(installation)
        name = (installation.platform, installation.workspace, installation.user)
        await self._one("put_installation", *name, installation.data, us_of(installation.at))

    async def installations(self, platform: str, workspace: str = "") -> tuple[Installation, ...]:
        return tuple(
            Installation(platform=platform, workspace=of, user=user, data=data, at=time_of(at))
            for of, user, data, at in await self._all("installations", platform, workspace)
        )

    async def remove_installation(self, platform: str, workspace: str, user: str) -> bool:
        (gone,) = await self._one("remove_installation", platform, workspace, user)
        if gone:
            self._scrubber.mark()
        return bool(gone)

    async def purge_workspace(self, platform: str, workspace: str) -> int:
        require_place(platform, workspace)
        await self._one("clear_workspace", platform, workspace)
        gone = last = 0
        while True:
            given_up, last = await self._one("give_up_workspace", platform, workspace, last, CONVERSATIONS, LONG_AGO)
            gone += int(given_up)
            if given_up < CONVERSATIONS:
                break
        await self._clear_accounts(platform, workspace)
        await self._erase_given_up()
        return gone
