"""The keys of a PostgreSQL store: which of them it is sealed with, and that nobody opens it without."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg

from store.errors import StoreDenied
from store.seals import PLAIN, Values, prove

if TYPE_CHECKING:
    from store.sealing import Seal

_HOLDS_SOMETHING = """
SELECT EXISTS (SELECT 1 FROM message) OR EXISTS (SELECT 1 FROM conversation WHERE persona <> '')"""


def refuse_without_keys(db: psycopg.Connection, seals: Sequence["Seal"], place: str) -> None:
    """Raise `KeyRefused` when there is no key to one of those that the database may be sealed with; a new one has none."""
    (sealed,) = db.execute("SELECT to_regclass('seal') IS NOT NULL").fetchall()[0]
    if sealed:
        prove(_proofs(db), seals, place=place)


def entered(db: psycopg.Connection, seals: Sequence["Seal"], place: str, at: int) -> Values:
    """Say how values are closed and opened, and enter the first key in a database that has none. Whoever calls this has it
    locked against others who do the same.

    Raises:
        KeyRefused: and nothing is changed.
        StoreDenied: what is there would have to be sealed anew.
    """
    proofs = _proofs(db)
    proven = prove(proofs, seals, place=place)
    if not seals:
        return Values()
    newest = seals[0]
    number = next((number for number, seal in proven.items() if seal is newest and number != PLAIN), None)
    if number is not None and len(proofs) == 1:
        return Values(newest, number)
    (holds_something,) = db.execute(_HOLDS_SOMETHING).fetchall()[0]
    if proofs or holds_something:
        raise StoreDenied(
            f"{place} would have to be encrypted anew, and only a SQLite store can be: leave ENCRYPTION_KEY as it was, "
            "or move it to a file with `parley migrate-store`, start once on that with the new key, and move it back"
        )
    db.execute("INSERT INTO seal (number, proof, at) VALUES (1, %s, %s)", (newest.proof(1), at))
    return Values(newest, 1)


def _proofs(db: psycopg.Connection) -> Mapping[int, str]:
    return dict(db.execute("SELECT number, proof FROM seal").fetchall())
