"""The embedded model's child process, from its start to its end: how it is reached, why it failed, and that it is gone.

A child that `start_child` returns is loaded and answers; one that does not get there is dead when the error is raised. Its
standard input is held open for as long as it may live. It is given none of our environment but what a program needs to run.
"""

import asyncio
import os
import re
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import structlog

from bot.clock import Clock, time_limit
from bot.llm import local_server, payload
from bot.llm.protocol import LLMRejected, LLMUnavailable
from bot.llm.weights import ALTERNATIVES

_log = structlog.get_logger(__name__)

HEALTH_LIMIT = timedelta(seconds=5)
_KEPT = 16 * 1024  # of what a child writes on standard error: enough for the whole of a failed start
# fmt: off
_ENVIRONMENT = {
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV", "SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
}
# fmt: on


class Child:
    """A running server; `address` ends without a slash, `key` goes into its Authorization header."""

    def __init__(self, process: asyncio.subprocess.Process, key: str) -> None:
        self.key = key
        self.address = ""
        self._process = process
        self._said = bytearray()
        self._unwanted_end = True
        self._listening = asyncio.create_task(self._listen(), name="local.stderr")
        self._watching = asyncio.create_task(self._watch(), name="local.watch")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._watching.done()

    async def ends_within(self, clock: Clock, limit: timedelta) -> bool:
        """Wait for the child's end, but not for longer than `limit`."""
        with suppress(TimeoutError):
            async with time_limit(clock, limit):
                await asyncio.shield(self._watching)
        return self.ended

    async def healthy(self) -> bool:
        """Ask whether the server answers and has its model loaded."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=HEALTH_LIMIT.total_seconds()) as http:
                return (await http.get(f"{self.address}/health")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def end(self) -> None:
        """Kill the child if it lives, and wait until nothing of it is left; may be called twice."""
        self._unwanted_end = False
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._watching)

    async def hear(self) -> None:
        """Wait until the child says where it listens.

        Raises:
            LLMRejected: it can't run here, or can't load its model.
            LLMUnavailable: it was killed.
        """
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        told = payload.fields(payload.parse(await self._process.stdout.readline()))
        if missing := payload.text(told.get("missing")):
            raise LLMRejected(what_is_missing(missing))
        self.address = payload.text(told.get("address")).rstrip("/")
        if not re.fullmatch(r"http://127\.0\.0\.1:\d+", self.address):
            await asyncio.shield(self._watching)
            raise self._why_not()

    def _why_not(self) -> LLMRejected | LLMUnavailable:
        code = self._process.returncode or 0
        if code < 0:
            hint = "; the machine may be out of memory" if code == -9 else ""
            return LLMUnavailable(f"The embedded model's server was ended by {_signal(-code)} while it loaded{hint}")
        text = self._said.decode("utf-8", "replace")
        reasons = (
            re.findall(r"^[\d.]+ E (.+)$", text, re.MULTILINE) or text.strip().splitlines()[-1:] or [f"exit code {code}"]
        )
        # the first complaint is the cause, what follows are its consequences
        return LLMRejected(f"The embedded model can't be loaded: {' '.join(reasons[0].split())[:200]}. {ALTERNATIVES}")

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was asked for
        while block := await self._process.stderr.read(4096):
            self._said += block
            del self._said[:-_KEPT]

    async def _watch(self) -> None:
        code = await self._process.wait()
        await self._listening
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._unwanted_end and self.address:
            _log.warning("local.died", pid=self.pid, how=f"exit code {code}" if code >= 0 else _signal(-code))


async def start_child(command: Sequence[str], model: Path, name: str, threads: int, clock: Clock, limit: timedelta) -> Child:
    """Start a server for `model` and wait until it answers.

    Raises:
        LLMRejected: it can't run here, or can't load its model; the message names the reason and the remedy.
        LLMUnavailable: it was killed, or did not load within `limit`.
    """
    key = secrets.token_urlsafe(32)
    environment = {word: os.environ[word] for word in _ENVIRONMENT & os.environ.keys()} | {local_server.KEY: key}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *(*command, str(model), name, str(threads), str(os.getpid())),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment,
            start_new_session=True,  # a Ctrl-C in the terminal is for us; the child finishes what we let it finish
        )
    except OSError as exc:
        raise LLMUnavailable(f"The embedded model's server can't be started: {exc.strerror}") from exc
    child = Child(process, key)
    ready = False
    try:
        async with time_limit(clock, limit):
            await child.hear()
            while not await child.healthy():
                if child.ended:
                    raise LLMUnavailable("The embedded model's server died as soon as it was loaded")
                await clock.sleep(timedelta(seconds=0.1))
        ready = True
    except TimeoutError as exc:
        raise LLMUnavailable(f"The embedded model did not load within {limit.total_seconds():g} s") from exc
    finally:
        if not ready:
            await child.end()
    return child


def what_is_missing(error: str) -> str:
    """Turn the text of an ImportError into the remedy."""
    if "No module named" in error:
        return f"The embedded model's server is not installed: `pip install 'parley[local]'` brings it. {ALTERNATIVES}"
    remedy = {
        "linux": "`apt-get install libgomp1 libstdc++6` brings libgomp.so.1 and libstdc++.so.6",
        "win32": "install Microsoft's Visual C++ redistributable",
    }.get(sys.platform, "see docs/local-model.md")
    return f"The embedded model's server can't run here ({' '.join(error.split())[:200]}): {remedy}. {ALTERNATIVES}"


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
