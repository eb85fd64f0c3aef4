"""Hostile texts on a terminal and in the log: what is written there is read, and drives nothing."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import structlog

from bot.adapters.console import ConsoleSurface, address_of
from tests.trials.logged import logged_to

_DRIVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FORGES = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
FORMS: tuple[Literal["console", "json"], ...] = ("json", "console")
HERE = address_of(user="ada", channel="terminal")


def out_on_a_terminal(texts: Sequence[str]) -> tuple[int, list[str]]:
    """Write each text as a post, an edit, a file, a command's answer and for somebody else; return what drives it."""
    return asyncio.run(_on_a_terminal(texts))


async def _on_a_terminal(texts: Sequence[str]) -> tuple[int, list[str]]:
    driven, shown = [], 0
    for text in texts:
        for way in ("post", "edit", "file", "say", "address"):
            out = io.StringIO()
            surface = ConsoleSurface(out, at=HERE)
            match way:
                case "post":
                    await surface.post(HERE, text, nonce="n")
                case "edit":
                    message = await surface.post(HERE, text[:1], nonce="n")
                    for end in range(2, len(text) + 1):
                        await surface.edit(HERE, message, text[:end])
                case "file":
                    await surface.post_file(HERE, text, text, nonce="n")
                case "say":
                    surface.say(text)
                case "address":
                    await surface.post(address_of(user=text, channel=text), text, nonce="n")
            shown += 1
            if _DRIVES.search(out.getvalue()):
                driven.append(f"{way}: {out.getvalue()!r}")
    return shown, driven


def out_in_the_log(texts: Sequence[str]) -> tuple[int, list[str]]:
    """Log each text in every part of a record, in both formats; return the lines that are more than one, or no record."""
    records, forged = 0, []
    for form in FORMS:
        for text in texts:
            for way, line in _lines(form, text):
                records += 1
                if not line.endswith("\n") or _FORGES.search(line[:-1]) or (form == "json" and not _is_object(line)):
                    forged.append(f"{form}, {way}: {line!r}")
    return records, forged


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _lines(form: Literal["console", "json"], text: str) -> Iterator[tuple[str, str]]:
    stream = io.StringIO()
    with logged_to(stream, form):
        ours, theirs = structlog.get_logger("bot.trial"), logging.getLogger("a.library")
        ways = {
            "value": lambda: ours.info("llm.finished", served_by=text),
            "list": lambda: ours.info("llm.finished", names=[text, {text: text}]),
            "key": lambda: ours.info("llm.finished", **{text: 1}),
            "event": lambda: ours.warning(text),
            "error": lambda: ours.error("llm.failed", reason=ValueError(text)),
            "library": lambda: theirs.warning("got %s", text),
            "library's message": lambda: theirs.warning(text),
            "library's name": lambda: logging.getLogger(f"a.{text}").warning("got it"),
        }
        for way, write in ways.items():
            write()
            yield way, stream.getvalue()
            stream.seek(0)
            stream.truncate()
