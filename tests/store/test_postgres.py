"""The laws of the store on a real PostgreSQL, and what is PostgreSQL's own about them."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from store import Store, open_store
from tests.contracts.store_laws import DurableStoreLaws
from tests.contracts.store_words import Opens

pytestmark = pytest.mark.anyio


class TestPostgres(DurableStoreLaws):
    """One database."""

    @pytest.fixture
    def opens(self, postgres_url: str) -> Opens:
        return partial(open_store, postgres_url)

    async def test_the_servers_time_is_told(self, store: Store) -> None:
        now = await store.server_time()
        assert now is not None
        assert now.tzinfo is UTC
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=5), "the server runs on this machine"
        assert now <= (await store.server_time() or now)
