"""Makes a log event harmless: no secret in any spelling, no sign that drives a terminal, no line that is not ours.

`Cleaner` turns every value of an event into plain data first, so that nothing is rendered later that was not looked at.
`tests/test_telemetry.py` hides made-up secrets in every place of an event and looks for them in both renderings.
"""

import json
import re
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterator, Mapping
from datetime import date, time, timedelta
from enum import Enum
from itertools import islice
from pathlib import PurePath
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
SHORTEST = 4
"""A shorter secret guards nothing, and taking its letters out would make every line unreadable."""
SHORTEST_BASE64 = 6
LONGEST_TEXT = 64 * 1024
"""Signs of one value that are looked at; a line is far shorter."""
MOST_ITEMS = 50
DEEPEST = 4

# C0 and DEL, C1, marks and overrides of the writing direction, line separators, and halves of surrogate pairs, which
# can't be encoded at all. A tab and a newline are C0 as well: a forged line begins with one.
_DRIVING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVING_BUT_NEWLINE = re.compile(_DRIVING.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))

_HEX = re.compile("[0-9a-fA-F]+", re.ASCII)

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


class Cleaner:
    """Cleans values of the given secrets; each is known as it is, URL-encoded, escaped, in base64 and in hex."""

    def __init__(self, secrets: Collection[str]) -> None:
        spellings = sorted({spelling for secret in secrets for spelling in _spellings(secret)}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, spellings))) if spellings else None
        self._longest = len(spellings[0]) if spellings else 0

    def clean(self, value: object) -> Plain:
        """Return `value` as plain data that may be written anywhere."""
        return self._clean(value, 0)

    def clean_text(self, text: str, *, newlines: bool = False) -> str:
        """Return `text` without secrets and driving signs; with `newlines`, those stay."""
        cut = len(text) > LONGEST_TEXT
        text = text[:LONGEST_TEXT]
        if self._secrets is not None:
            text = self._secrets.sub(REDACTED, text)
        if cut:  # the cut may have left the first half of a secret
            text = text[: len(text) - self._longest] + "..."
        return (_DRIVING_BUT_NEWLINE if newlines else _DRIVING).sub(_escape, text)

    def _clean(self, value: object, depth: int) -> Plain:
        match value:
            case None | bool() | int():
                return self._number(value)
            case float():
                return value if value - value == 0 else str(value)  # NaN and infinity are no JSON
            case Enum():
                return self._clean(value.value, depth)
            case str():
                return self.clean_text(str(value))
            case bytes() | bytearray():
                return self.clean_text(bytes(value[:LONGEST_TEXT]).decode("utf-8", "backslashreplace"))
            case date() | time():
                return value.isoformat()
            case timedelta():
                return value.total_seconds()
            case PurePath():
                return self.clean_text(str(value))
            case BaseException():
                return self.clean_text(traceback.format_exception_only(value)[-1].strip())
            case Mapping() if depth < DEEPEST:
                return {self._key(key): self._clean(item, depth + 1) for key, item in islice(value.items(), MOST_ITEMS)}
            case list() | tuple() | set() | frozenset() if depth < DEEPEST:
                return [self._clean(item, depth + 1) for item in islice(value, MOST_ITEMS)]
            case _:
                # Nobody knows what the text of a foreign object holds, or whether making it fails.
                return f"<{type(value).__name__}>"

    def _number(self, value: int | None) -> Plain:
        """Keep a number unless its digits are a secret, such as an all-digit password."""
        if value is None or isinstance(value, bool):
            return value
        digits = str(int(value)) if value.bit_length() < 4096 else "..."
        cleaned = self.clean_text(digits)
        return int(value) if cleaned == digits != "..." else cleaned

    def _key(self, key: object) -> str:
        cleaned = self._clean(key, DEEPEST)
        return cleaned if isinstance(cleaned, str) else json.dumps(cleaned)


def _spellings(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret appears in URLs, headers, error texts and `repr`s."""
    if len(secret) < SHORTEST:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    for safe in ("", "/"):
        encoded = quote(raw, safe=safe)
        yield from (encoded, _small_hex(encoded))
    yield from (quote_plus(raw), _small_hex(quote_plus(raw)))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1], repr(raw)[2:-1])
    yield from (raw.hex(), raw.hex().upper())
    if _HEX.fullmatch(secret):  # the letters of a number are small or capital, as whoever writes it likes
        yield from (secret.lower(), secret.upper())
    if len(raw) >= SHORTEST_BASE64:
        yield from _in_base64(raw)


def _small_hex(encoded: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)


def _in_base64(raw: bytes) -> Iterator[str]:
    """Yield what base64 makes of a text that holds `raw`, such as `user:raw`: one core for each of the three alignments."""
    for offset in range(3):
        begin = (offset * 8 + 5) // 6
        end = (offset + len(raw)) * 8 // 6  # beyond it, what follows the secret has a say
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * offset + raw).decode()[begin:end]


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
