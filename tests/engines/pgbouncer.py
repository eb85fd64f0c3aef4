"""A real PgBouncer in transaction mode, where one is installed (`apt-get install pgbouncer`); no wheel brings it.

    with PgBouncer.before(server) as pooler:
        url = pooler.url(database)           # the same database, through the pooler

It is asked as `tests.engines.transaction_pooler` is. PgBouncer does not run as root: then it runs as `nobody`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.engines.postgres import UNPRIVILEGED, USER, PostgresServer

PATIENCE_SECONDS = 30.0
_SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
logfile = {home}/log
auth_type = any
pool_mode = transaction
default_pool_size = {backends}
max_client_conn = 200
server_login_retry = 1
ignore_startup_parameters = {ignores}
"""


def installed() -> str | None:
    """Return where the program is; it is no command of everybody's, so the path alone does not tell."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


class PgBouncer:
    """One that runs before a server. Made by `before`."""

    def __init__(self, program: str, home: Path, port: int) -> None:
        self.port = port
        self._home = home
        self._command = [program, "--quiet", str(home / "settings")]
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def before(
        cls, server: PostgresServer, *, backends: int = 3, ignores: frozenset[str] = frozenset()
    ) -> "Iterator[PgBouncer]":
        """Run it with so many connections to a server's databases, and remove it afterwards."""
        program = installed()
        assert program is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        home = Path(tempfile.mkdtemp(prefix="parley-pgbouncer-"))
        try:
            values = {"server": server.port, "user": USER, "port": port, "home": home, "backends": backends}
            (home / "settings").write_text(_SETTINGS.format(ignores=",".join(ignores), **values))
            if os.geteuid() == 0:
                shutil.chown(home, UNPRIVILEGED, pwd.getpwnam(UNPRIVILEGED).pw_gid)
            pooler = cls(program, home, port)
            pooler.start()
            try:
                yield pooler
            finally:
                pooler.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def url(self, database: str) -> str:
        """Name a database of the server as `DATABASE_URL` does, by way of the pooler."""
        return database.replace(f":{urlsplit(database).port}/", f":{self.port}/")

    def start(self) -> None:
        """Start it and wait until it listens."""
        user = {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen(self._command, cwd=self._home, stderr=subprocess.DEVNULL, **user)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self._process.poll() is None, (self._home / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
