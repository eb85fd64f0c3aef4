"""Stores on files, opened for a moment."""

from pathlib import Path

from store import open_store
from tests.contracts.store_words import ROOM, read, say


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def make_store(path: Path, *texts: str) -> None:
    store = await open_store(url(path))
    if texts:
        await say(store, *texts)
    await store.aclose()


async def read_all(path: Path) -> list[str]:
    store = await open_store(url(path))
    try:
        conversation = await store.find(ROOM)
        return await read(store, conversation.id) if conversation else []
    finally:
        await store.aclose()
