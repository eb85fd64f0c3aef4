"""PostgreSQL's own programs for copies: found on the PATH, told where the database is, and never shown its password.

What stands in a command line can be read by everybody on the machine, so a password goes into the child's environment, which
only its user can read, and an address goes without it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store.errors import StoreDenied

PROGRAMS = ("pg_dump", "pg_restore", "psql")
"""They come together, in one package."""
SAID = 1 << 16
"""Bytes of what a program says that are read."""
_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What they need of our environment, beside libpq's own `PG...`: our secrets are none of theirs."""


def missing_programs() -> tuple[str, ...]:
    """Name those that are not there."""
    return tuple(name for name in PROGRAMS if shutil.which(name) is None)


def require_programs() -> None:
    """Raise `StoreDenied` when one of them is not there."""
    if missing := missing_programs():
        raise StoreDenied(
            f"{', '.join(missing)} can't be found: copies of a PostgreSQL database are made by its own programs; install "
            "them (postgresql-client on Debian and Ubuntu), not older than the server, or put them on PATH"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a program finds a database: what may stand in a command line, and the password, "" for none."""

    address: str
    password: str

    @classmethod
    def at(cls, url: str) -> "Database":
        """Take a URL apart.

        Raises:
            StoreDenied: it holds a secret that no program can be told in private.
        """
        given = conninfo_to_dict(url)
        if given.get("sslpassword"):
            raise StoreDenied(
                "pg_dump can't be told sslpassword in private: leave it out of DATABASE_URL, with a key without one"
            )
        password = str(given.pop("password", None) or "")
        return cls(address=make_conninfo("", **given), password=password)


class Running:
    """A program that runs: `process`, and in `said` what it complains of."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.process = process
        self._errors = errors

    @property
    def input(self) -> IO[bytes]:
        """Where it reads from, if that is a pipe."""
        return cast("IO[bytes]", self.process.stdin)

    @property
    def output(self) -> IO[bytes]:
        """What it writes, if that is a pipe."""
        return cast("IO[bytes]", self.process.stdout)

    @property
    def said(self) -> str:
        """What it complained of; for us to judge, not to show: it may quote what is stored."""
        self._errors.seek(0)
        return self._errors.read(SAID).decode(errors="replace")


@contextmanager
def running(
    program: str,
    arguments: Sequence[str],
    database: Database | None = None,
    *,
    stdin: int | None = None,
    stdout: int | None = None,
) -> Iterator[Running]:
    """Run one of `PROGRAMS`; it is over when the body is left, whatever happened there.

    Raises:
        StoreDenied: it can't be run.
    """
    env = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("PG")}
    env |= {"LC_ALL": "C", "PGAPPNAME": "parley copy", "PGCONNECT_TIMEOUT": "5"}
    where: tuple[str, ...] = ()
    if database is not None:
        where = ("--no-password", f"--dbname={database.address}")
        if database.password:
            env["PGPASSWORD"] = database.password
    with tempfile.TemporaryFile() as errors:
        command = [shutil.which(program) or program, *where, *arguments]
        null = subprocess.DEVNULL
        try:
            process = subprocess.Popen(command, env=env, stdin=stdin or null, stdout=stdout or null, stderr=errors)  # noqa: S603
        except OSError as exc:
            raise StoreDenied(f"{program} can't be run ({exc.strerror}): install PostgreSQL's client programs anew") from exc
        with process:
            try:
                yield Running(process, errors)
            finally:
                process.kill()  # does nothing to one that has ended
