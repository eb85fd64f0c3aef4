"""A shell in a directory of its own: what a person at the command line types, and what comes of it."""

import contextlib
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.zygote import Life, Zygote

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """Runs `parley` in `home`, with no settings but those that are set here."""

    def __init__(self, zygote: Zygote, home: Path, **env: str) -> None:
        self._zygote = zygote
        self.home = home
        self.store = home / "parley.db"
        self.env = env

    def run(
        self, *arguments: str, stdin: bytes | str | Path = b"", env: dict[str, str] | None = None, **changes: Any
    ) -> Done:
        """Run a command to its end; `stdin` is what comes through a pipe, or a file."""
        errors, output = self.home.with_suffix(".err"), self.home.with_suffix(".out")
        errors.write_bytes(b"")
        output.write_bytes(b"")
        if not isinstance(stdin, Path):
            life = self.start(*arguments, env=env, stderr=errors, **changes)
            life.write(stdin if isinstance(stdin, bytes) else stdin.encode())
            return Done(life.ended(), life.text, errors.read_text())
        with stdin.open("rb") as source, output.open("wb") as out, errors.open("wb") as err:
            fds = (source.fileno(), out.fileno(), err.fileno())
            pid = self._zygote.fork(self.home, arguments, fds, env=self.env | (env or {}), **changes)
        return Done(self._zygote.ask({"wait": pid})["code"], output.read_text(), errors.read_text())

    def start(self, *arguments: str, env: dict[str, str] | None = None, **changes: Any) -> Life:
        """Begin a command that goes on."""
        return self._zygote.start(self.home, *arguments, env=self.env | (env or {}), **changes)

    def chat(self, *lines: str, options: tuple[str, ...] = (), **changes: Any) -> Done:
        """Pipe lines into `parley chat`."""
        return self.run("chat", *options, stdin="".join(f"{line}\n" for line in lines), **changes)

    def contents(self) -> dict[str, str]:
        """Every file here, by its name, with the hash of its bytes."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.home.iterdir())}

    def give_away(self) -> None:
        """Let the unprivileged user reach the directory, its parents included, and own what is in it."""
        for parent in (self.home, *self.home.parents):
            if parent == Path(tempfile.gettempdir()):
                break
            with contextlib.suppress(OSError):
                parent.chmod(0o755)
        for path in (self.home, *self.home.iterdir()):
            os.chown(path, unprivileged(), -1)


def unprivileged() -> int:
    """The user to become for whom permissions count: root may do anything."""
    return os.getuid() or NOBODY


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file in another connection's transaction, as a program that looks into it may."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
