"""What is sealed in the rows of the SQLite engine: messages' texts, files' names, addresses and data, personas.

The seal comes with the connection, so that no call has to hand it on. Where there is none, values go in and out as they are.
Where there is one, it opens nothing but what it has closed: a store is brought to its newest key before it is served
(`store.sqlite_reseal`), so a row that is plain, or another key's, was put there by somebody else.
"""

import sqlite3
from typing import TYPE_CHECKING, cast

from store.errors import StoreDamaged

if TYPE_CHECKING:
    from store.sealing import Seal  # the cipher's library takes 7 MB, and most stores have no key

PLAIN = 0
"""The number of no key, in a row's column `sealed`."""
PERSONA = "persona"
"""A conversation's persona, as its seal knows it."""


class SealedConnection(sqlite3.Connection):
    """A connection with the seal of its store, and the number by which rows name it."""

    seal: "Seal | None" = None
    number: int = PLAIN


def seal_of(db: sqlite3.Connection) -> "Seal | None":
    """Return the seal that comes with the connection; None where nothing is sealed."""
    return cast(SealedConnection, db).seal


def number_of(db: sqlite3.Connection) -> int:
    """Return the number that a row names this connection's seal by."""
    return cast(SealedConnection, db).number


def what_text(role: int) -> str:
    """Name the text of a message for its seal."""
    return "answer" if role else "message"


def what_file(part: str, message_id: int, number: int) -> str:
    """Name a part of a file for its seal: "name", "address" or "data"."""
    return f"{part} of file {number} of message {message_id}"


def close_text(db: sqlite3.Connection, text: str, conversation_id: int, what: str) -> str:
    """Return a text as it is kept; its row says `number_of(db)`."""
    seal = seal_of(db)
    return text if seal is None else seal.close_text(text, conversation_id, what)


def open_text(db: sqlite3.Connection, text: str, conversation_id: int, what: str) -> str:
    """Read a text that was kept.

    Raises:
        StoreDamaged: it can't be opened; the conversation is named.
    """
    seal = seal_of(db)
    return text if seal is None else seal.open_text(text, conversation_id, what)


def opened_length(db: sqlite3.Connection, length: int) -> int:
    """Return how many bytes a file's data have, of which `length` are kept."""
    seal = seal_of(db)
    return length if seal is None else length - seal.OVERHEAD


def close_data(db: sqlite3.Connection, data: bytes | None, conversation_id: int, what: str) -> bytes | None:
    """Return a file's data as they are kept; None stays None."""
    seal = seal_of(db)
    return data if seal is None or data is None else seal.close(data, conversation_id, what)


def open_data(db: sqlite3.Connection, data: bytes, conversation_id: int, what: str) -> bytes:
    """Read a file's data that were kept.

    Raises:
        StoreDamaged: they can't be opened; the conversation is named.
    """
    seal = seal_of(db)
    return data if seal is None else seal.open(data, conversation_id, what)


def seal_persona(db: sqlite3.Connection, persona: str, conversation_id: int) -> tuple[str, int]:
    """Return a persona as it is kept, with its row's `sealed`; "" is none, and has nothing to hide."""
    return (close_text(db, persona, conversation_id, PERSONA), number_of(db)) if persona else ("", PLAIN)


def open_persona(db: sqlite3.Connection, persona: str, number: int, conversation_id: int) -> str:
    """Read a conversation's persona, sealed with the key of that number.

    Raises:
        StoreDamaged: it can't be opened; the conversation is named.
    """
    if not persona:
        return ""
    if number != number_of(db):
        raise StoreDamaged(f"the persona of conversation {conversation_id} was changed outside Parley: choose another one")
    return open_text(db, persona, conversation_id, PERSONA)
