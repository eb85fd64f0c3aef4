"""Stores in files and at other addresses, opened for a moment."""

from collections.abc import Sequence
from pathlib import Path

from store import Store, open_store
from tests.contracts.store_words import ROOM, read, say
from tests.fakes.clock import FakeClock


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def address_of(place: Path | str) -> str:
    """Name a store by its address, if it is not named so already."""
    return url(place) if isinstance(place, Path) else place


async def opened(path: Path) -> Store:
    """Open the store in a file, on a clock that stands still."""
    return await open_store(url(path), clock=FakeClock().now)


async def make_store(place: Path | str, *texts: str) -> None:
    store = await open_store(address_of(place))
    if texts:
        await say(store, *texts)
    await store.aclose()


async def read_all(place: Path | str, *, keys: Sequence[bytes] = ()) -> list[str]:
    store = await open_store(address_of(place), keys=keys)
    try:
        conversation = await store.find(ROOM)
        return await read(store, conversation.id) if conversation else []
    finally:
        await store.aclose()
