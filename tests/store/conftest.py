"""The store that a test is about, and one real PostgreSQL for all tests of a run that ask for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from store import Store, open_store
from tests.contracts.store_words import Opens, Reopen
from tests.engines.postgres import PostgresServer

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
"""No law hangs on a power cut; what does has a server of its own."""
EMPTY = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP;
  FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
    PERFORM setval(name::regclass, 1, false);
  END LOOP;
END $$"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store's file may be; nothing is there yet."""
    return tmp_path / "parley.db"


@pytest.fixture
async def store(opens: Opens) -> AsyncIterator[Store]:
    """The store that a class or a file says how to open, in a fixture of its own."""
    store = await opens()
    yield store
    await store.aclose()


@pytest.fixture
async def reopen(store: Store, opens: Opens) -> AsyncIterator[Reopen]:
    opened = [store]

    async def again() -> Store:
        await opened[-1].aclose()
        opened.append(await opens())
        return opened[-1]

    yield again
    await opened[-1].aclose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server, started once."""
    with PostgresServer.made(options=FAST) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The address of an empty store that nobody is connected to: another one is made as a copy of it."""
    url = postgres.database()
    asyncio.run(_open_and_close(url))
    return url


@pytest.fixture(scope="session")
def _emptied(postgres: PostgresServer, postgres_template: str) -> str:
    return postgres.database(like=postgres_template)


@pytest.fixture
def postgres_url(_emptied: str) -> str:
    """The address of an empty store. Making a database takes ten times as long as emptying one, and the laws are many."""
    with psycopg.connect(_emptied, autocommit=True) as connection:
        connection.execute(EMPTY)
    return _emptied


@pytest.fixture
def own_url(postgres: PostgresServer, postgres_template: str) -> str:
    """The address of an empty store in a database of its own: its files are looked into, or a copy takes its place."""
    return postgres.database(like=postgres_template)


async def _open_and_close(url: str) -> None:
    await (await open_store(url)).aclose()
