"""Where the terminal's lines come from: typed at a prompt, or read from a pipe or a file."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

LONGEST_LINE = 8 << 20
"""Bytes of one piped line; a longer one ends the pipe with an error, since what comes behind it can't be told apart."""


class LineTooLong(Exception):
    """A piped line is longer than any message can be."""


async def typed_lines(prompt: str) -> AsyncIterator[str]:
    """Yield what is typed until Ctrl-D; Ctrl-C at the prompt empties the line. Nothing typed is written to a file."""
    session: PromptSession[str] = PromptSession(history=InMemoryHistory())
    while True:
        try:
            with patch_stdout(raw=True):
                # Ctrl-C reaches the prompt as a key; the signal's handler stays the one that stops answers.
                line = await session.prompt_async(prompt, handle_sigint=False)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if line.strip():
            yield line


async def piped_lines(source: TextIO) -> AsyncIterator[str]:
    """Yield the lines of a pipe as they come, or those of a file.

    Raises:
        LineTooLong.
    """
    if not _can_be_awaited(source):
        for line_bytes in source.buffer:
            yield line_bytes.decode(errors="surrogateescape")
        return
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    # In a thread a blocked read could not be left when it is time to go.
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        while True:
            try:
                line_bytes = await reader.readline()
            except ValueError as exc:
                raise LineTooLong(f"a line has more than {LONGEST_LINE >> 20} MiB: send it in pieces") from exc
            if not line_bytes:
                return
            # Invalid UTF-8 becomes lone surrogates, which the intake refuses in words.
            yield line_bytes.decode(errors="surrogateescape")
    finally:
        transport.close()


def _can_be_awaited(source: TextIO) -> bool:
    """Tell whether an event loop can wait for it; a plain file and /dev/null are simply read."""
    mode = os.fstat(source.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or source.isatty()


def is_terminal() -> bool:
    """Tell whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
