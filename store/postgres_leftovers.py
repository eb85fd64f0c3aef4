"""What a killed process still holds, on the PostgreSQL engine: free as soon as a process starts on the same machine.

On SQLite the file's lock tells that nobody else is there (`store.sqlite_opening`).
"""

import logging

from store.postgres_calls import PostgresCalls
from store.process_names import is_dead, machine

log = logging.getLogger(__name__)


class PostgresLeftovers(PostgresCalls):
    """Takes from the dead."""

    async def _free_leftovers(self) -> None:
        """Let go of all that is held by processes of this machine that are dead, before anybody is served."""
        if not (here := machine()):
            return
        holders: list[str] = [name for (name,) in await self._all("holders", here)]
        if dead := [name for name in holders if is_dead(name)]:
            await self._one("free", dead)
            log.info("what %d killed processes of this machine held is free again", len(dead))
