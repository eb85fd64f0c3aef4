"""The keys of a PostgreSQL store: which of them it is sealed with, and that nobody opens it without."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from store.postgres_in_use import Connection
from store.seals import Resealing, Values, prove

if TYPE_CHECKING:
    from store.sealing import Seal

PROOFS = "SELECT number, proof FROM seal"


def refuse_without_keys(db: Connection, seals: Sequence["Seal"], place: str) -> None:
    """Raise `KeyRefused` when there is no key to one of those that the database may be sealed with; a new one has none."""
    ((sealed,),) = db.execute("SELECT to_regclass('seal') IS NOT NULL").fetchall()
    if sealed:
        prove(_proofs(db), seals, place=place)


def values_of(db: Connection, seals: Sequence["Seal"], place: str) -> Values | None:
    """Say how values are closed and opened; None when something has to be sealed with the first key before.

    Raises:
        KeyRefused.
    """
    proofs = _proofs(db)
    if not seals:
        prove(proofs, seals, place=place)
        return Values()
    anew = Resealing.of(proofs, seals, place=place)
    return anew.values if anew.done else None


def _proofs(db: Connection) -> Mapping[int, str]:
    return {int(str(number)): str(proof) for number, proof in db.execute(PROOFS).fetchall()}
