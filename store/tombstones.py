"""Tombstones: what was erased for good, under names that say nothing to whoever does not know them already.

A name is a hash of what was erased, keyed at random for each store; the key is kept among the names. So a tombstone tells
whether something that is put before it was erased, and neither texts nor ids can be read from it.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2b

KEPT = timedelta(days=400)
"""How long tombstones are kept: no copy of a store that is older should be put in its place."""
BARRED = "barred "
"""Begins the names of those tombstones in a store's table, and there alone, that were new to this copy of the store: it does
not know of all deliveries that its successor saw, so it refuses what they bring."""
DUE = "due "
"""Begins the names of those, on an engine that has no file for them, whose erasure is still to be carried out."""
_KEY_BYTES = 32
_HASH_BYTES = 16


class Kind(StrEnum):
    """What was erased: a conversation; all that was said under a key; a message; all that a person said in a workspace."""

    CONVERSATION = "conversation"
    PLACE = "place"
    MESSAGE = "message"
    PERSON = "person"
    KEY = "key"
    """Nothing: it is the key of the other names."""


ERASED = (Kind.CONVERSATION, Kind.PLACE, Kind.MESSAGE, Kind.PERSON)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Something erased: what was said until `until` is gone. `at` is when; both are in microseconds since 1970."""

    name: str
    until: int
    at: int

    @property
    def kind(self) -> Kind:
        """What was erased."""
        return Kind(self.name.partition(" ")[0])


def new_key(at: int) -> Tombstone:
    """Make the key of a store that has none."""
    return Tombstone(f"{Kind.KEY} {secrets.token_hex(_KEY_BYTES)}", 0, at)


class Tombstones:
    """Tombstones by their names; where a name is given twice, the later `until` counts."""

    def __init__(self, stones: Iterable[Tombstone] = ()) -> None:
        self._stones: dict[str, Tombstone] = {}
        self._keys: list[bytes] = []
        for stone in stones:
            self.add(stone)

    def add(self, stone: Tombstone) -> None:
        """Take one in."""
        known = self._stones.get(stone.name)
        if known is None and stone.kind is Kind.KEY:
            self._keys.append(bytes.fromhex(stone.name.partition(" ")[2]))
        if known is None or known.until < stone.until:
            self._stones[stone.name] = stone

    def beyond(self, others: "Tombstones") -> tuple[Tombstone, ...]:
        """Those that the others have not, or not for as long."""
        known: Mapping[str, Tombstone] = others._stones
        return tuple(stone for name, stone in self._stones.items() if name not in known or known[name].until < stone.until)

    def __iter__(self) -> Iterator[Tombstone]:
        return iter(self._stones.values())

    def __len__(self) -> int:
        return len(self._stones)

    @property
    def keyed(self) -> bool:
        """Tell whether there is a key to name anything with."""
        return bool(self._keys)

    def of(self, *kinds: Kind) -> tuple[Tombstone, ...]:
        """Those of some kinds."""
        return tuple(stone for stone in self._stones.values() if stone.kind in kinds)

    def name(self, kind: Kind, *parts: str) -> str:
        """Name something that is erased. There must be a key."""
        return _name(self._keys[0], kind, parts)

    def until(self, kind: Kind, *parts: str) -> int | None:
        """Tell until when something was erased, under any key; None when it was not."""
        if not self._stones:
            return None
        found = [self._stones[name].until for key in self._keys if (name := _name(key, kind, parts)) in self._stones]
        return max(found, default=None)


def _name(key: bytes, kind: Kind, parts: tuple[str, ...]) -> str:
    # NUL is in no text that a store keeps, so no two different things are joined to the same text.
    digest = blake2b("\0".join((kind, *parts)).encode(), key=key, digest_size=_HASH_BYTES)
    return f"{kind} {digest.hexdigest()}"
