"""Which values of a row are sealed, as what, and with which key: the same on every engine.

Where there is no key, values go in and out as they are. Where there is one, it opens nothing but what it has closed: a store
is brought to its newest key before it is served, so a row that is plain, or another key's, was put there by somebody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import KeyRefused, StoreDamaged

if TYPE_CHECKING:
    from store.sealing import Seal  # the cipher's library takes 7 MB, and most stores have no key

PLAIN = 0
"""The number of no key, in a row's column `sealed`."""
PERSONA = "persona"
"""A conversation's persona, as its seal knows it."""


def what_text(role: int) -> str:
    """Name the text of a message for its seal."""
    return "answer" if role else "message"


def what_file(part: str, message_id: int, number: int) -> str:
    """Name a part of a file for its seal: "name", "address" or "data"."""
    return f"{part} of file {number} of message {message_id}"


@dataclass(frozen=True, slots=True)
class Values:
    """Closes and opens the values of a store's rows; `number` is what rows name the key by."""

    seal: "Seal | None" = None
    number: int = PLAIN

    def close_text(self, text: str, conversation_id: int, what: str) -> str:
        """Return a text as it is kept; its row says `number`."""
        return text if self.seal is None else self.seal.close_text(text, conversation_id, what)

    def open_text(self, text: str, conversation_id: int, what: str) -> str:
        """Read a text that was kept.

        Raises:
            StoreDamaged: it can't be opened; the conversation is named.
        """
        return text if self.seal is None else self.seal.open_text(text, conversation_id, what)

    def close_data(self, data: bytes | None, conversation_id: int, what: str) -> bytes | None:
        """Return a file's data as they are kept; None stays None."""
        return data if self.seal is None or data is None else self.seal.close(data, conversation_id, what)

    def open_data(self, data: bytes, conversation_id: int, what: str) -> bytes:
        """Read a file's data that were kept.

        Raises:
            StoreDamaged: they can't be opened; the conversation is named.
        """
        return data if self.seal is None else self.seal.open(data, conversation_id, what)

    def close_persona(self, persona: str, conversation_id: int) -> tuple[str, int]:
        """Return a persona as it is kept, with its row's `sealed`; "" is none, and has nothing to hide."""
        return (self.close_text(persona, conversation_id, PERSONA), self.number) if persona else ("", PLAIN)

    def open_persona(self, persona: str, number: int, conversation_id: int) -> str:
        """Read a conversation's persona, sealed with the key of that number.

        Raises:
            StoreDamaged: it can't be opened; the conversation is named.
        """
        if not persona:
            return ""
        if number != self.number:
            raise StoreDamaged(
                f"the persona of conversation {conversation_id} was changed outside Parley: choose another one"
            )
        return self.open_text(persona, conversation_id, PERSONA)

    @property
    def overhead(self) -> int:
        """Bytes that kept data are longer than what is in them."""
        return 0 if self.seal is None else self.seal.OVERHEAD


def prove(proofs: Mapping[int, str], seals: Sequence["Seal"], *, place: str) -> dict[int, "Seal"]:
    """Find the key to each number of a store.

    Raises:
        KeyRefused: there is none to one of them.
    """
    if proofs and not seals:
        raise KeyRefused(f"{place} is encrypted: set ENCRYPTION_KEY to its key; nothing was changed")
    proven = {}
    for number, proof in proofs.items():
        seal = next((seal for seal in seals if seal.proves(proof, number)), None)
        if seal is None:
            raise KeyRefused(
                f"{place} is encrypted with a key that ENCRYPTION_KEY does not have: set it to the store's key; for a new "
                "key, give the old one behind it for one start (ENCRYPTION_KEY=new,old); nothing was changed"
            )
        proven[number] = seal
    return proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealing:
    """The way of a store to its newest key: what any of its keys has closed is opened, and closed with the newest one.

    `proven` is what its rows may be sealed with, by number; that of `PLAIN` only proves that they may be plain. `entering`
    are numbers and proofs that the store does not have yet.
    """

    proven: Mapping[int, "Seal"]
    values: Values
    entering: Mapping[int, str]

    @classmethod
    def of(cls, proofs: Mapping[int, str], seals: Sequence["Seal"], *, place: str) -> "Resealing":
        """Find the way from what a store may be sealed with to the first of these keys.

        Raises:
            KeyRefused: there is no key to one of its numbers.
        """
        proven = prove(proofs, seals, place=place)
        newest = seals[0]
        number = next((number for number, seal in proven.items() if seal is newest and number != PLAIN), None)
        entering: dict[int, str] = {}
        if number is None:
            number = max(proofs, default=PLAIN) + 1
            entering = {new: newest.proof(new) for new in ((number,) if proofs else (PLAIN, number))}
            proven |= dict.fromkeys(entering, newest)
        return cls(proven=proven, values=Values(newest, number), entering=entering)

    @property
    def done(self) -> bool:
        """Everything is sealed with the newest key."""
        return len(self.proven) == 1

    # What is damaged could not be read before, either. What is plain, or names a key that the store does not have, is taken
    # for damaged: it was put there by somebody else.
    def text(self, kept: str, number: int, conversation_id: int, what: str) -> str:
        """Seal a text anew that is sealed with the key of that number.

        Raises:
            StoreDamaged.
        """
        seal = self._seal(number, conversation_id)
        text = kept if number == PLAIN else seal.open_text(kept, conversation_id, what)
        return self.values.close_text(text, conversation_id, what)

    def data(self, kept: bytes | None, number: int, conversation_id: int, what: str) -> bytes | None:
        """Seal a file's data anew that are sealed with the key of that number.

        Raises:
            StoreDamaged.
        """
        seal = self._seal(number, conversation_id)
        data = kept if number == PLAIN or kept is None else seal.open(kept, conversation_id, what)
        return self.values.close_data(data, conversation_id, what)

    def _seal(self, number: int, conversation_id: int) -> "Seal":
        if number not in self.proven:
            raise StoreDamaged(f"conversation {conversation_id} names a key that its store does not have")
        return self.proven[number]
