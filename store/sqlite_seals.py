"""The seal of a store comes with its connection on the SQLite engine, so that no call has to hand it on."""

import sqlite3
from typing import cast

from store.seals import Values


class SealedConnection(sqlite3.Connection):
    """A connection with what closes and opens the values of its store."""

    values: Values = Values()


def values_of(db: sqlite3.Connection) -> Values:
    """Return what closes and opens the values of a connection's rows."""
    return cast(SealedConnection, db).values
