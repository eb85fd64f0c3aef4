"""Places on the PostgreSQL engine: how far they were read, and what happens when one is gone.

The SQL is in `store/postgres_functions/places.sql`.
"""

from collections.abc import Collection
from datetime import datetime

from store.arguments import require_place
from store.postgres_calls import PostgresCalls
from store.rows import refuse_all, us_of
from store.values import Watermark


class PostgresPlaces(PostgresCalls):
    """What becomes of places, and how far they were read."""

    async def close(
        self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime
    ) -> tuple[int, ...]:
        rows = await self._all("close", *require_place(platform, workspace, channel, thread), us_of(at))
        return tuple(conversation_id for (conversation_id,) in rows)

    async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
        return tuple(
            Watermark(workspace=workspace, channel=channel, thread=thread, position=position)
            for workspace, channel, thread, position in await self._all("watermarks", platform)
        )

    async def mark(self, platform: str, marks: Collection[Watermark], *, at: datetime) -> None:
        for mark in marks:
            refuse_all(platform, mark.workspace, mark.channel, mark.thread)
        places = ([mark.workspace for mark in marks], [mark.channel for mark in marks], [mark.thread for mark in marks])
        await self._one("mark", platform, *places, [mark.position for mark in marks], us_of(at))

    async def unmark(self, platform: str, workspace: str, channel: str = "", thread: str = "") -> None:
        await self._one("unmark", *require_place(platform, workspace, channel, thread))
