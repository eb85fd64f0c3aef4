"""Lives of `parley` without the second that a start of Python takes.

A helper process imports the program once and forks a life whenever it is asked. Each life is the ordinary command line with
its own directory, standard streams and end; it can be killed like any process. The helper has no thread and no event loop,
so what a life inherits is what a fresh import would give it.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
"""How long something is waited for that must come; only a failing test waits that long."""


class Life:
    """One run of the command, from its start to its end; what it wrote is in `output`."""

    def __init__(self, zygote: "Zygote", pid: int, stdin: int, stdout: int) -> None:
        self._zygote = zygote
        self.pid = pid
        self._stdin: int | None = stdin
        self._stdout = stdout
        self._ended = False
        self.output = b""
        self._began = time.monotonic()

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def seconds(self) -> float:
        """How old it is."""
        return time.monotonic() - self._began

    def say(self, *lines: str) -> None:
        """Write lines to its standard input."""
        self.write("".join(f"{line}\n" for line in lines).encode())

    def write(self, data: bytes) -> None:
        """Write bytes to its standard input; one that has ended takes none."""
        assert self._stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._stdin, data) :]

    def no_more(self) -> None:
        """Close its standard input."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def deaf(self) -> None:
        """Stop reading what it writes, for good."""
        os.close(self._stdout)
        self._stdout = os.open(os.devnull, os.O_RDONLY)

    def read(self, seconds: float) -> bool:
        """Take what it writes within `seconds`; False when it has ended."""
        ready, _, _ = select.select([self._stdout], [], [], seconds)
        if ready:
            data = os.read(self._stdout, 65536)
            self.output += data
            self._ended = not data
        return not self._ended

    def read_for(self, seconds: float) -> bool:
        """Take what it writes until `seconds` are over or it has ended; False when it has."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self.read(left):
                return False
        return True

    def read_until(self, condition: Callable[["Life"], bool]) -> bool:
        """Take what it writes until `condition` holds; False when it ended before."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while not condition(self):
            assert time.monotonic() < limit, f"nothing more came after {self.text!r}"
            if not self.read(1.0):
                return condition(self)
        return True

    def kill(self) -> bool:
        """SIGKILL; False when it had ended by itself before."""
        os.kill(self.pid, signal.SIGKILL)  # it is not waited for yet, so the number is still its own
        return self.ended() == -signal.SIGKILL

    def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        self.no_more()
        self.read_until(lambda life: life._ended)
        os.close(self._stdout)
        return int(self._zygote.ask({"wait": self.pid})["code"])


class Zygote:
    """The helper, as a test sees it; a context manager. Every life gets `env` and nothing else.

    `lease` takes the place of the half minute for which a turn is held, so that nobody need wait for that.
    """

    def __init__(self, env: Mapping[str, str], *, stderr: Path, lease: timedelta | None = None) -> None:
        self._env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | dict(env)
        self._stderr = stderr
        self._lease = [] if lease is None else [str(lease.total_seconds())]

    def __enter__(self) -> Self:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.zygote", str(theirs.fileno()), *self._lease],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._channel.settimeout(PATIENCE_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()
        self._process.wait(PATIENCE_SECONDS)

    def start(self, directory: Path, *arguments: str, stderr: Path | None = None, **changes: Any) -> Life:
        """Begin a life in `directory`.

        `changes`: `env`, further settings; `uid`, the user that it becomes; `file_bytes`, the longest file it may write.
        """
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        try:
            with (stderr or self._stderr).open("ab") as errors:
                pid = self.fork(directory, arguments, (theirs_in, theirs_out, errors.fileno()), **changes)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return Life(self, pid, ours_in, ours_out)

    def fork(self, directory: Path, arguments: Sequence[str], fds: Sequence[int], **changes: Any) -> int:
        """Begin a life on these three standard streams; `terminal` makes the first its terminal."""
        request = {"start": arguments, "in": str(directory), **changes}
        socket.send_fds(self._channel, [json.dumps(request).encode()], fds)
        return int(self._answer()["pid"])

    def ask(self, request: Any) -> Any:
        self._channel.send(json.dumps(request).encode())
        return self._answer()

    def _answer(self) -> Any:
        return json.loads(self._channel.recv(65536))


# What the program imports only when it needs it: most of a life's time, if every life did it anew.
_LATER = """
alembic.command alembic.config anyio._backends._asyncio concurrent.futures.thread importlib.resources pwd
sqlalchemy.dialects.sqlite store.schema store.sqlite typer._adapters typer._click.decorators
"""


def _shorten(lease: timedelta) -> None:
    """Hold turns for so long, and renew that as often as Parley does."""
    run, turns = importlib.import_module("bot.chat.run"), importlib.import_module("bot.chat.turns")
    run.RENEWAL = lease * (run.RENEWAL / run.LEASE)
    run.LEASE = turns.LEASE = lease


def _serve(channel: socket.socket) -> None:
    main: Callable[[], None] = importlib.import_module("bot.__main__").main
    for name in _LATER.split():
        with contextlib.suppress(ImportError):  # another version of a library; it only gets slower
            importlib.import_module(name)
    assert threading.active_count() == 1
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(channel, 65536, 3)
        if not data:
            return
        request = json.loads(data)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                _live(main, request, fds)
            for fd in fds:
                os.close(fd)
            answer = {"pid": pid}
        channel.send(json.dumps(answer).encode())


def _live(main: Callable[[], None], request: Any, fds: Sequence[int]) -> NoReturn:
    code = 70
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, 256)
        os.chdir(request["in"])
        os.environ.update(request.get("env", {}))
        if request.get("terminal"):
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if "file_bytes" in request:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], request["file_bytes"]))
        if os.getuid() == 0 and "uid" in request:
            os.setgroups([])
            os.setgid(request["uid"])
            os.setuid(request["uid"])
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - they live as long as it
        sys.argv = ["parley", *request["start"]]
        main()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0
    except BaseException:  # noqa: BLE001 - nothing of a life may reach the helper's own loop
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def zygote(env: Mapping[str, str], *, stderr: Path, lease: timedelta | None = None) -> Iterator[Zygote]:
    """Run the helper, and make sure in the end that no life complained on its standard error."""
    with Zygote(env, stderr=stderr, lease=lease) as helper:
        yield helper
    assert not stderr.exists() or stderr.read_text() == ""


if __name__ == "__main__":
    for seconds in sys.argv[2:]:
        _shorten(timedelta(seconds=float(seconds)))
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        _serve(channel)
