"""What is stored of a message: its text, with what it quotes before it, and the list of its files. Pure.

Laws, proved in `tests/chat/test_composing.py`: the text stands at the end, unchanged; every line before it is part of a
blockquote; quotes and files are bounded in number and size, and what others wrote can always be stored.
"""

from collections.abc import Sequence

from bot.chat.protocol import FileOffer, Quote
from bot.chat.words import TOO_MANY_FILES
from store import Attachment

QUOTES = 4
QUOTE_LENGTH = 2000
"""Characters of one quote: Discord's longest message."""
FILES = 10
"""Files of one message that are read: as many as Discord lets one have. Slack has no such limit."""
NAME_LENGTH = 100
NAME_END = 20
"""Characters of a long name that are kept at its end, where its kind is told."""
URL_LENGTH = 2048
LARGEST_SIZE = 2**63 - 1
"""The largest whole number that every engine can keep."""

NO_TEXT = "(no text)"
"""What stands for the text of a message that is nothing but files: some models refuse an empty one."""
ADDRESS_TOO_LONG = "its address is too long"


def compose(text: str, quotes: Sequence[Quote], *, files: bool) -> str:
    """Put what a message quotes before its text; "" when it says nothing at all. `files`: it came with some."""
    parts = [_blockquote(quote) for quote in quotes if quote.text.strip()][:QUOTES]
    if text.strip():
        parts.append(text)
    elif files and not parts:
        parts.append(NO_TEXT)
    return "\n\n".join(parts)


def attachments_of(files: Sequence[FileOffer]) -> tuple[Attachment, ...]:
    """Make the files of a message what is stored of them, none of them read yet: `FILES`, and the first one beyond them,
    which says that no more are."""
    return tuple(_attachment(number, file) for number, file in enumerate(files[: FILES + 1], start=1))


def _blockquote(quote: Quote) -> str:
    text = quote.text if len(quote.text) <= QUOTE_LENGTH else quote.text[: QUOTE_LENGTH - 1] + "…"
    lines = (f"{_line(quote.author_name) or 'Somebody'} wrote:", *_storable(text).splitlines())
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _attachment(number: int, file: FileOffer) -> Attachment:
    reachable = len(file.url) <= URL_LENGTH
    return Attachment(
        number=number,
        name=_line(file.name) or "file",
        media_type=_line(file.media_type),
        size=min(max(file.size, 0), LARGEST_SIZE),
        url=_storable(file.url) if reachable else "",
        problem=TOO_MANY_FILES if number > FILES else "" if reachable else ADDRESS_TOO_LONG,
    )


def _line(text: str) -> str:
    """Make one short line of a name: no breaks, nothing that can't be seen (which could turn the text's direction)."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(line) <= NAME_LENGTH:
        return line
    return f"{line[: NAME_LENGTH - NAME_END - 1]}…{line[-NAME_END:]}"


def _storable(text: str) -> str:
    # A character that can't be stored refuses a message in its author's own text, but not in what they quote.
    return text.replace("\0", "?").encode(errors="replace").decode()
