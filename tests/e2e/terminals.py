"""A terminal without a person: a pseudo-terminal that shows, as plain text, what a program writes to it."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.zygote import PATIENCE_SECONDS, Zygote

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
_CURSOR_ASKED, _CURSOR_TOLD = b"\x1b[6n", b"\x1b[1;1R"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>])")


class Terminal:
    """One run of the command at a terminal; a context manager, which ends it."""

    def __init__(self, zygote: Zygote, directory: Path, *arguments: str, env: dict[str, str]) -> None:
        self._zygote = zygote
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        settings = env | {"TERM": "xterm"}
        self.pid = zygote.fork(directory, arguments, (slave, slave, slave), env=settings, terminal=True)
        os.close(slave)
        self._output = b""
        self._looked = 0
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._code is None:
            os.kill(self.pid, 9)
            self.ended()
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was shown, without what moves the cursor."""
        return _ESCAPES.sub("", self._output.decode(errors="replace")).replace("\r", "")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, wanted: str) -> str:
        """Wait until `wanted` is shown behind what was waited for before; return what came with it."""
        self._read_until(lambda: wanted in self.text[self._looked :])
        came = self.text[self._looked :]
        self._looked += came.index(wanted) + len(wanted)
        return came

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        self._read_until(lambda: not self._read())
        self._code = int(self._zygote.ask({"wait": self.pid})["code"])
        return self._code

    def _read_until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < limit, f"never came; the screen shows {self.text[-500:]!r}"
            self._read()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.5)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the last program at the terminal has ended
            return False
        if _CURSOR_ASKED in data:
            os.write(self._master, _CURSOR_TOLD)
        self._output += data
        return True
