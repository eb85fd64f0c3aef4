"""Secrets at rest: sealed with a key made of the client secret, so that a stolen database file alone gives none away."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class Unreadable(Exception):
    """It was sealed with another secret, or for another place, or was changed since."""


def key_from(secret: str, purpose: str) -> bytes:
    """Make a key of the client secret, another one for each purpose."""
    # A salt is for weak secrets; Slack's are random, and 32 digits long.
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"parley {purpose}".encode()).derive(secret.encode())


class Seal:
    """Seals and opens with one key. What was sealed for one `place` can't be opened as another's."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, plain: bytes, place: str) -> bytes:
        """Seal."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Read what was sealed.

        Raises:
            Unreadable.
        """
        version, nonce, rest = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _VERSION or len(nonce) != _NONCE_BYTES:
            raise Unreadable("this was sealed in another way")
        try:
            return self._cipher.decrypt(nonce, rest, place.encode())
        except InvalidTag as exc:
            raise Unreadable("this was sealed with another secret or for another place") from exc
