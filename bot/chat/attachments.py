"""The files that people send: which kinds can be read, what is in them, and how they stand in a prompt. Pure.

A file's label (its name and media type) decides whether it is worth reading; its bytes decide what it is.
"""

import codecs
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from bot.chat import words

TEXT_BYTES = 256 << 10
"""What is read of a text at most: several times what a prompt has room for."""
PICTURE_BYTES = 5 << 20
"""The largest picture that every provider takes."""
NAME_LENGTH = 100


class Kind(Enum):
    """What a file says that it is."""

    TEXT = "text"
    PICTURE = "picture"
    OTHER = "other"


_TEXT_SUFFIX = re.compile(
    r"txt|text|md|markdown|rst|adoc|org|tex|csv|tsv|json|jsonl|json5|ndjson|geojson|ipynb|yaml|yml|toml|xml|svg|"
    r"html|htm|xhtml|css|scss|less|ini|cfg|conf|properties|env|log|diff|patch|lock|sql|graphql|proto|tf|hcl|nix|"
    r"gradle|cmake|mk|srt|vtt|ics|eml|py|pyi|js|mjs|cjs|jsx|ts|mts|tsx|vue|svelte|c|h|cc|cpp|cxx|hh|hpp|cs|java|"
    r"kt|kts|scala|groovy|rs|go|swift|m|mm|rb|php|pl|pm|lua|r|jl|dart|ex|exs|erl|hrl|hs|ml|mli|clj|lisp|el|scm|"
    r"f90|f95|pas|vb|asm|s|v|sv|vhd|sh|bash|zsh|fish|ps1|bat|cmd|awk|dockerfile|makefile|license|readme|changelog|"
    r"gitignore|gitattributes|editorconfig"
)
_TEXT_TYPE = re.compile(
    r"text/.+|.+\+json|.+\+xml"
    r"|application/(json|xml|javascript|ecmascript|yaml|x-yaml|toml|sql|graphql|x-sh|x-httpd-php|x-ndjson|x-python|x-subrip)"
)
_PICTURE_SUFFIX = re.compile(r"png|jpe?g|gif|webp")
_PICTURE_TYPE = re.compile(r"image/(png|jpe?g|gif|webp)")

# What drives a terminal or is no sign at all; tabs, line ends, form feeds and escape (colours in logs) belong to texts.
_NO_TEXT = re.compile(r"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_NO_TEXT_SHARE = 20
"""One such sign in so many is still a text: an old code page uses some of their numbers for quotation marks."""


def kind_of(name: str, media_type: str) -> Kind:
    """Tell from a file's label whether it may be a text or a picture.

    The name counts first: platforms take `.ts` for video and send what they do not know as a stream of bytes.
    """
    suffix = name.rpartition(".")[2].strip().lower()
    named = media_type.partition(";")[0].strip().lower()
    if _PICTURE_SUFFIX.fullmatch(suffix):
        return Kind.PICTURE
    if _TEXT_SUFFIX.fullmatch(suffix):
        return Kind.TEXT
    if _PICTURE_TYPE.fullmatch(named):
        return Kind.PICTURE
    return Kind.TEXT if _TEXT_TYPE.fullmatch(named) else Kind.OTHER


def unreadable_label(name: str, media_type: str, size: int) -> str:
    """Say why a file is not worth reading, for people; "" when it is."""
    match kind_of(name, media_type):
        case Kind.OTHER:
            return words.NO_TEXT_NO_PICTURE
        case Kind.PICTURE if size > PICTURE_BYTES:
            return words.PICTURE_TOO_LARGE
    return ""


def unreadable_data(name: str, media_type: str, size: int, data: bytes) -> str:
    """Say why the bytes that were read of a file can't be used, for people; "" when they can."""
    if kind_of(name, media_type) is Kind.TEXT:
        return "" if decode(data, whole=len(data) >= size) is not None else words.NO_TEXT
    if picture_type(data) is None:
        return words.NO_PICTURE
    return "" if len(data) >= size else words.READ_IN_PART


def picture_type(data: bytes) -> str | None:
    """Tell a picture's media type by its first bytes; None when it is none that models can see."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def decode(data: bytes, *, whole: bool = True) -> str | None:
    """Read bytes as text; None when they are none. Without `whole`, the last sign may be cut and is left out."""
    text = _decoded(data, whole=whole)
    if text is None or "\0" in text or len(_NO_TEXT.findall(text)) * _NO_TEXT_SHARE > len(text):
        return None
    return text


def _decoded(data: bytes, *, whole: bool) -> str | None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return codecs.getincrementaldecoder("utf-16")().decode(data, whole)
        except UnicodeDecodeError:
            return None
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, whole)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def clean_name(name: str) -> str:
    """Make a file's name fit to be shown in a line: no path, no line break, no mention, no markup, not too long."""
    base = PurePosixPath(name.replace("\\", "/")).name
    signs = (" " if sign.isspace() else sign for sign in base)
    kept = "".join(sign for sign in signs if sign not in '`@<>*"[]' and not unicodedata.category(sign).startswith("C"))
    return " ".join(kept.split())[:NAME_LENGTH].strip() or "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """What a prompt has room for of a text; `extent` says how much that is, "" for all of it."""

    text: str
    extent: str = ""


def excerpt(text: str, *, room: int, size: int, whole: bool) -> Excerpt:
    """Take as much of the beginning of `text` as has room in so many bytes of UTF-8.

    `size` is the file's, in bytes; without `whole`, `text` is only its beginning.
    """
    kept = text.encode()[: max(room, 0)].decode(errors="ignore")
    if not whole:
        return Excerpt(text=kept, extent=f"the first {len(kept):,} characters of {size:,} bytes")
    if len(kept) < len(text):
        return Excerpt(text=kept, extent=f"the first {len(kept):,} of {len(text):,} characters")
    return Excerpt(text=kept)


def fenced(name: str, part: Excerpt) -> str:
    """Write a text under its name, fenced so that nothing in it can end the fence."""
    inside = part.text + (f"\n[... trimmed: {part.extent}]" if part.extent else "")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", inside)), default=0))
    return f'The file "{name}":\n{fence}\n{inside}\n{fence}'


def fair_shares(sizes: Sequence[int], room: int) -> list[int]:
    """Share out `room`: small ones get all they ask for, large ones as much as each other."""
    shares = [0] * len(sizes)
    smallest_first = sorted(range(len(sizes)), key=sizes.__getitem__)
    for served, index in enumerate(smallest_first):
        shares[index] = min(sizes[index], max(room, 0) // (len(sizes) - served))
        room -= shares[index]
    return shares
