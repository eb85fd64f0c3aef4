"""URLs: which are understood, and that none of them is ever repeated in an error, for it may hold a password."""

import asyncio
import random
import threading
from pathlib import Path

import pytest

from store import StoreDenied, StoreRefused, open_store
from store.open import sqlite_path
from tests.contracts.store_words import say
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio


async def test_three_slashes_name_a_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_store("sqlite:///here.db")
    monkeypatch.chdir("/")
    await say(store, "hello")
    assert (await store.status()).place == str(tmp_path / "here.db")
    await store.aclose()
    assert (tmp_path / "here.db").exists()


async def test_four_slashes_name_a_file_anywhere(tmp_path: Path) -> None:
    assert str(tmp_path).startswith("/")
    await (await open_store(f"sqlite:///{tmp_path}/there.db")).aclose()
    assert (tmp_path / "there.db").exists()


async def test_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_store("sqlite:///:memory:")
    assert (await store.status()).place == ":memory:"
    await store.aclose()
    assert list(tmp_path.iterdir()) == []


def test_the_path_of_a_url() -> None:
    assert sqlite_path("sqlite:///parley.db") == Path("parley.db")
    assert sqlite_path("sqlite:////var/lib/parley.db") == Path("/var/lib/parley.db")
    assert sqlite_path("sqlite:///:memory:") is None


async def test_leases_are_measured_by_the_clock_that_is_given() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    conversation_id = await say(store, "hello")
    assert await store.stop(conversation_id)
    assert await store.retry(conversation_id)
    assert (await store.status()).oldest_queued_at == START
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "parley.db",
        "/var/lib/parley.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://parley.db",
        "sqlite+aiosqlite:///parley.db",
        "SQLITE:///parley.db",
        "mysql://parley:hunter2@db/parley",
        "postgresql+psycopg://parley:hunter2@db/parley",
        "://hunter2",
        "sqlite://hunter2@/x",
    ],
)
async def test_anything_else_is_refused_with_the_remedy_and_without_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreDenied, match=r"sqlite:///parley\.db") as told:
        await open_store(url)
    assert "hunter2" not in str(told.value)
    assert isinstance(told.value, StoreRefused)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(3))
async def test_an_opening_that_is_cancelled_leaves_the_store_to_the_next(tmp_path: Path, seed: int) -> None:
    chance, url = random.Random(seed), f"sqlite:///{tmp_path}/parley.db"
    threads = threading.active_count()
    for _ in range(20):
        opening = asyncio.create_task(open_store(url))
        await asyncio.sleep(chance.uniform(0, 0.02))
        opening.cancel()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(outcome, asyncio.CancelledError):
            assert not (tmp_path / "parley.db.new").exists(), "what it began goes on without the lock"
        else:
            assert not isinstance(outcome, BaseException), outcome
            await outcome.aclose()
    store = await open_store(url)
    await say(store, "hello")
    await store.aclose()
    assert threading.active_count() <= threads + 8, "of those that asyncio keeps, and none of a connection"
