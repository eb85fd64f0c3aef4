"""Canaries: a made-up value in the place of every secret setting, and how each may look where it must never be seen."""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import get_args
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from bot.config import Settings

SIGNS = "+/=%&"
"""What no two ways of writing leave alone."""


def secret_settings() -> list[str]:
    """Name every setting that is a secret, by the type that makes it one."""
    fields = Settings.model_fields.items()
    return [name.upper() for name, field in fields if SecretStr in (field.annotation, *get_args(field.annotation))]


def canary(name: str) -> str:
    """Make a value that stands nowhere else."""
    return f"Canary{sha256(name.encode()).hexdigest()[:20]}{SIGNS}7Kq"


NEWEST_KEY, OLDER_KEY = (sha256(b"newest").hexdigest().upper(), urlsafe_b64encode(sha256(b"older").digest()).decode())
PASSWORD = canary("password")
POSTGRES = f"postgresql://parley:{quote(PASSWORD, safe='')}@127.0.0.1:1/parley?connect_timeout=1"

FORMS = {
    "SLACK_BOT_TOKEN": f"xoxb-{canary('SLACK_BOT_TOKEN')}",
    "SLACK_APP_TOKEN": f"xapp-{canary('SLACK_APP_TOKEN')}",
    "ENCRYPTION_KEY": f"{NEWEST_KEY},{OLDER_KEY}",
    "DATABASE_URL": "sqlite:///parley.db",
}
"""Secrets that have a form of their own. Only a URL of PostgreSQL holds a secret; see `POSTGRES`."""

CANARIES = {name: FORMS.get(name, canary(name)) for name in secret_settings()}
"""What the settings are set to."""
VALUES = tuple(part for name, value in CANARIES.items() if name != "DATABASE_URL" for part in value.split(","))
"""What must not be seen, nor `PASSWORD`."""


def _spellings(value: bytes) -> Iterator[bytes]:
    yield value
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded.encode()
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded).encode()
    yield from (value.hex().encode(), value.hex().upper().encode())
    for offset in range(3):
        begin, end = (offset * 8 + 5) // 6, (offset + len(value)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * offset + value)[begin:end]


def _keys() -> Iterator[bytes]:
    """Yield the encryption keys as bytes, and in the letters in which they were not written."""
    for key in (sha256(b"newest").digest(), sha256(b"older").digest()):
        yield from _spellings(key)
        yield repr(key)[2:-1].encode()


SPELLINGS = frozenset({*_keys(), *(spelling for value in (*VALUES, PASSWORD) for spelling in _spellings(value.encode()))})


def seen_in(places: Iterable[tuple[str, bytes | str]]) -> list[str]:
    """Name the places in which a canary is seen, in whatever spelling."""
    found = []
    for place, seen in places:
        data = seen if isinstance(seen, bytes) else seen.encode(errors="replace")
        found += [place for spelling in SPELLINGS if spelling in data]
    return sorted(set(found))
