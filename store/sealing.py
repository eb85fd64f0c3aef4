"""Sealing: what is said is kept as AES-256-GCM, readable with the operator's key alone.

A sealed value is a random nonce, the ciphertext and its tag; a text is that as base64. It is bound to what it is and to its
conversation, so that one that was moved elsewhere, or changed by one bit, is noticed. Imported only where there is a key:
the cipher's library takes 7 MB.
"""

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from store.errors import StoreDamaged

KEY_BYTES = 32
NONCE_BYTES = 12

_PROVEN = b"Parley can read this store"


def key_of(text: str) -> bytes:
    """Read a key as operators write it: 64 hexadecimal digits, or base64 of 32 bytes.

    Raises:
        ValueError: says how to make one, and nothing of what was given.
    """
    written = text.strip()
    try:
        if len(written) == 2 * KEY_BYTES:
            return bytes.fromhex(written)
        key = base64.b64decode(written.rstrip("=").replace("-", "+").replace("_", "/") + "=", validate=True)
        if len(key) == KEY_BYTES:
            return key
    except ValueError:
        pass  # told below; the error's own words would quote the key
    raise ValueError(
        f"a key is {2 * KEY_BYTES} hexadecimal digits or base64 of {KEY_BYTES} bytes: make one with `openssl rand -hex 32`"
    )


class Seal:
    """Seals and opens with one key, which it does not give away.

    `what` tells the values of one conversation apart: a sealed one is opened only as what it was sealed as.
    """

    OVERHEAD: Final = NONCE_BYTES + 16
    """Bytes that a sealed value is longer than what is in it: the nonce and the tag."""

    __slots__ = ("_contents", "_proofs")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._contents = _cipher(key, "contents")
        self._proofs = _cipher(key, "proofs")

    def close(self, plain: bytes, conversation_id: int, what: str) -> bytes:
        """Seal."""
        return _closed(self._contents, plain, f"{conversation_id} {what}")

    def open(self, sealed: bytes, conversation_id: int, what: str) -> bytes:
        """Read what was sealed.

        Raises:
            StoreDamaged: it was sealed with another key or as something else, was changed since, or was never sealed.
        """
        try:
            return _opened(self._contents, sealed, f"{conversation_id} {what}")
        except (InvalidTag, ValueError, TypeError) as exc:  # SQLite keeps a number where a text should be
            raise StoreDamaged(
                f"conversation {conversation_id} is damaged: its {what} was changed outside Parley and can't be opened; "
                "put a copy back with `parley restore BACKUP`, or have the conversation forgotten"
            ) from exc

    def close_text(self, text: str, conversation_id: int, what: str) -> str:
        """Seal a text."""
        return _written(self.close(text.encode(), conversation_id, what))

    def open_text(self, text: str, conversation_id: int, what: str) -> str:
        """Read a text that was sealed.

        Raises:
            StoreDamaged: as `open`.
        """
        return self.open(_read(text), conversation_id, what).decode()

    def proof(self, number: int) -> str:
        """Make a text by which this key is known again as the one of that number."""
        return _written(_closed(self._proofs, _PROVEN, str(number)))

    def proves(self, proof: str, number: int) -> bool:
        """Tell whether this key made `proof` for that number."""
        try:
            return _opened(self._proofs, _read(proof), str(number)) == _PROVEN
        except (InvalidTag, ValueError):
            return False


def _cipher(key: bytes, purpose: str) -> AESGCM:
    # Keys are random, so a salt adds nothing; each purpose has a key of its own, and the operator's is used for none.
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"parley store {purpose}".encode()).derive(key))


def _closed(cipher: AESGCM, plain: bytes, place: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, place.encode())


def _opened(cipher: AESGCM, sealed: bytes, place: str) -> bytes:
    if len(sealed) < Seal.OVERHEAD:
        raise ValueError("this is shorter than anything sealed")
    return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())


def _written(sealed: bytes) -> str:
    return binascii.b2a_base64(sealed, newline=False).decode("ascii")


def _read(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError):
        return b""  # nothing sealed looks like that, and nothing sealed is that short
