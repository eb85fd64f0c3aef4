"""How the calls of the PostgreSQL store reach the server: the base of the classes that have them.

A call of the store is one call of a function that stands on the server (`store/postgres_functions`), so it is one round trip
and one transaction. In Python its arguments are checked before, and its rows made into values after.

    row = await self._one("stop", conversation_id)      # SELECT * FROM parley_stop_<version>(%s)
    rows = await self._all("watermarks", platform)
    with self._begun():                                 # several round trips, which `aclose` lets come to their end
        ...

Numbers, texts, None, bytes and lists of them go in as they are; JSON goes in as text and comes back as Python's lists and
dictionaries. A function that refuses raises one of these, and nothing of its transaction is kept:

    PA001  the message is known already              `Known`
    PA002  it was sealed for another conversation    `SealedForAnother`
    PA003  the hold is over                          `LeaseLost`
    PA004  there is no such conversation             `ConversationNotFound`

In SQL, whoever changes something of a conversation locks its row first: `PERFORM parley_hold_$V(turn, conversation, epoch)`
locks that of a hold and raises PA003, `PERFORM parley_lock_$V(conversation)` any and sets FOUND; what is read after that is
what is there. `parley_now_$V()` is the server's clock. `store/postgres_functions/locking.sql` has more of these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg

from store.errors import ConversationNotFound, LeaseLost, StoreError
from store.postgres_pool import PostgresPool, Row
from store.process_names import this_process
from store.seals import Values


class Known(StoreError):
    """A message is known already; nothing is stored of it."""


class SealedForAnother(StoreError):
    """The conversation that a text was sealed for is not the one that it would be stored in; nothing is stored."""


REFUSALS: dict[str, type[StoreError]] = {
    "PA001": Known,
    "PA002": SealedForAnother,
    "PA003": LeaseLost,
    "PA004": ConversationNotFound,
}
"""What our functions raise, and what it is to the store's callers."""


class PostgresCalls:
    """Runs functions on the server. `_values` closes and opens what is sealed; `_process` is who holds what is taken."""

    def __init__(self, pool: PostgresPool, version: str, values: Values) -> None:
        self._pool = pool
        self._version = version
        self._values = values
        self._process = this_process()

    async def _one(self, function: str, *arguments: object) -> Row:
        """Run a function that returns one row, of NULLs where there is nothing to tell.

        Raises:
            StoreClosed, StoreUnavailable, and what `REFUSALS` names.
        """
        return (await self._all(function, *arguments))[0]

    async def _all(self, function: str, *arguments: object) -> list[Row]:
        """Run a function that returns any number of rows.

        Raises:
            as `_one`.
        """
        try:
            return await self._pool.all(_call(function, self._version, len(arguments)), arguments)
        except psycopg.Error as exc:
            if (refusal := REFUSALS.get(exc.sqlstate or "")) is not None:
                raise refusal(exc.diag.message_primary) from None
            raise

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """Let a call of several round trips come to its end when the store is closed meanwhile.

        Raises:
            StoreClosed: it is closed already.
        """
        with self._pool.begun():
            yield


@cache
def _call(function: str, version: str, arguments: int) -> bytes:
    return f"SELECT * FROM parley_{function}_{version}({', '.join(['%s'] * arguments)})".encode()  # noqa: S608 - our names
