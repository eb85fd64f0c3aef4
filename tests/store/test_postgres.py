"""The laws of the store on a real PostgreSQL, and what is PostgreSQL's own about them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from store import Store, open_store
from tests.contracts.store_laws import DurableStoreLaws
from tests.contracts.store_words import Reopen

pytestmark = pytest.mark.anyio


class TestPostgres(DurableStoreLaws):
    """One database."""

    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[Store]:
        store = await open_store(postgres_url)
        yield store
        await store.aclose()

    @pytest.fixture
    async def reopen(self, store: Store, postgres_url: str) -> AsyncIterator[Reopen]:
        opened = [store]

        async def again() -> Store:
            await opened[-1].aclose()
            opened.append(await open_store(postgres_url))
            return opened[-1]

        yield again
        await opened[-1].aclose()

    async def test_the_servers_time_is_told(self, store: Store) -> None:
        now = await store.server_time()
        assert now is not None
        assert now.tzinfo is UTC
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=5), "the server runs on this machine"
        assert now <= (await store.server_time() or now)
