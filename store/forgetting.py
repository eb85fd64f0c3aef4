"""Who is forgotten, and by which names tombstones know what was erased: the same on every engine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from store.rows import columns_of, time_of, us_of
from store.tombstones import Kind, Tombstone, Tombstones
from store.values import NewMessage

Name = tuple[Kind, tuple[str, ...]]
"""What something erased is named by."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose is erased, and what: all that was said in the workspace until `until`, in microseconds since 1970."""

    platform: str
    workspace: str
    author_id: str
    until: int

    @property
    def parts(self) -> tuple[str, str, str]:
        """What a tombstone of theirs is named by."""
        return (self.platform, self.workspace, self.author_id)

    @property
    def periods(self) -> tuple[str, str]:
        """The day and the minute whose accounts, and later ones, are kept: the limits of the present day hold."""
        midnight = time_of(self.until).replace(hour=0, minute=0, second=0, microsecond=0)
        return f"d{midnight:%Y%m%d}", f"m{us_of(midnight) // _MINUTE_US}"


_MINUTE_US = timedelta(minutes=1) // timedelta(microseconds=1)


def name_of(key: Sequence[str], conversation_id: int, created_at: int) -> Name:
    """Name a conversation; `key` is its key by columns. Its number may be another one's in a store that grew out of an older
    copy: with its key and its beginning it is this one's."""
    return Kind.CONVERSATION, (*key, str(conversation_id), str(created_at))


def names_of(message: NewMessage) -> tuple[Name, ...]:
    """Name all by which a message may have been erased: whose it is, where it was said, and itself."""
    key = message.key
    return (
        (Kind.PERSON, (key.platform, key.workspace, message.author_id)),
        (Kind.PLACE, columns_of(key)),
        (Kind.MESSAGE, (key.platform, key.workspace, key.channel, message.message_id)),
    )


class Bars:
    """What a store that was put in the place of a newer one refuses: it does not know of all deliveries that its successor
    saw, so it may not take in again what was erased from that."""

    def __init__(self) -> None:
        self._keys = Tombstones()
        self._barred = Tombstones()

    def know(self, keys: Iterable[Tombstone], barred: Iterable[Tombstone]) -> None:
        """Use these keys for names, and refuse what these tombstones stand for."""
        self._keys = Tombstones(keys)
        self._barred = Tombstones([*self._keys, *barred])

    def bars(self, message: NewMessage) -> bool:
        """Tell whether a message was erased before this copy of the store came here, and is delivered again."""
        if len(self._barred) == len(self._keys):
            return False
        at = us_of(message.at)
        return any(
            (until := self._barred.until(kind, *parts)) is not None and at <= until for kind, parts in names_of(message)
        )
