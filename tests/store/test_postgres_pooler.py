"""The store behind a pooler in transaction mode: nothing that it does hangs on a session, and outages are survived.

The pooler of `tests.engines.transaction_pooler` deals out its connections in the meanest way; what is said of poolers here
is tried on a real PgBouncer as well, where one is installed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise

import psycopg
import pytest

from store import Store, StoreUnavailable, open_store
from store.postgres_pool import PostgresPool
from tests.contracts.store_laws_begin import BeginLaws
from tests.contracts.store_laws_forgetting import ScrubLaws
from tests.contracts.store_laws_recovery import RecoveryLaws
from tests.contracts.store_laws_sharing import BudgetLaws, ShareLaws
from tests.contracts.store_laws_texts import CancellationLaws, CloseLaws, DurableLaws
from tests.contracts.store_laws_turns import ClaimLaws, FenceLaws, FinishLaws
from tests.contracts.store_words import Opens, message, read, room, say, take
from tests.engines.pgbouncer import PgBouncer, installed
from tests.engines.postgres import PostgresServer, Shutdown
from tests.engines.transaction_pooler import TransactionPooler
from tests.store.other_process import run_at_once
from tests.store.patience import impatient
from tests.store.test_migrations_postgres import OPEN

pytestmark = pytest.mark.anyio

Pooler = TransactionPooler | PgBouncer
KINDS = [
    pytest.param(TransactionPooler, id="ours"),
    pytest.param(PgBouncer, id="pgbouncer", marks=pytest.mark.skipif(not installed(), reason="PgBouncer is not installed")),
]


@pytest.fixture(scope="module")
def ours(postgres: PostgresServer) -> Iterator[TransactionPooler]:
    with TransactionPooler.before(postgres) as pooler:
        yield pooler


@pytest.fixture(scope="module", params=KINDS)
def pooler(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    with request.param.before(postgres) as made:
        yield made


class TestLaws(
    BeginLaws,
    ClaimLaws,
    FenceLaws,
    FinishLaws,
    RecoveryLaws,
    ScrubLaws,
    CancellationLaws,
    CloseLaws,
    DurableLaws,
    ShareLaws,
    BudgetLaws,
):
    """The laws of what a turn does on its way, and of what takes connections of its own; all others were tried once."""

    @pytest.fixture
    def opens(self, ours: TransactionPooler, postgres_url: str) -> Opens:
        return partial(open_store, ours.url(postgres_url))


class TestSessions:
    """A pooler in transaction mode takes away whatever is left in a session: whoever relied on it would find out here."""

    @pytest.mark.parametrize(
        ("leave", "look", "seen"),
        [
            ("SET work_mem = '123kB'", "SHOW work_mem", [("4MB",)]),
            ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)", [(False,)]),
            ("CREATE TEMPORARY TABLE mine (n int)", "SELECT to_regclass('mine')", [(None,)]),
            ("LISTEN mine", "SELECT count(*) FROM pg_listening_channels()", [(0,)]),
            ("PREPARE mine AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", [(0,)]),
        ],
    )
    def test_what_is_left_in_a_session_is_not_there_for_the_next_transaction(
        self, pooler: Pooler, postgres_url: str, leave: str, look: str, seen: list[tuple[object, ...]]
    ) -> None:
        with connected(pooler, postgres_url) as client, connected(pooler, postgres_url) as other:
            with client.transaction():
                client.execute(leave.encode())
                left_at = pid(client)
            elsewhere(other, left_at)
            assert client.execute(look.encode()).fetchall() == seen
            other.rollback()
            with client.transaction():
                client.execute("SELECT pg_advisory_unlock_all()")

    def test_a_statement_that_was_prepared_is_not_there_for_the_next_transaction(
        self, pooler: Pooler, postgres_url: str
    ) -> None:
        with connected(pooler, postgres_url) as client, connected(pooler, postgres_url) as other:
            client.prepare_threshold = 0  # the driver's own setting; the store's is None
            with client.transaction():
                client.execute("SELECT %s::int", (1,))
                left_at = pid(client)
            elsewhere(other, left_at)
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                client.execute("SELECT %s::int", (2,))

    def test_ours_never_gives_a_client_the_connection_that_it_had_last(
        self, ours: TransactionPooler, postgres_url: str
    ) -> None:
        with connected(ours, postgres_url) as client:
            pids = [pid(client) for _ in range(50)]
        assert all(one != following for one, following in pairwise(pids))

    async def test_a_store_that_prepared_its_statements_would_not_get_far(
        self, ours: TransactionPooler, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = await open_store(ours.url(postgres_url))
        try:
            made = store._pool._pool  # type: ignore[attr-defined]
            assert made.kwargs["prepare_threshold"] is None
            made.kwargs["prepare_threshold"] = 0
            await made.drain()
            told = await asyncio.gather(*(store.remember("note", f"{n}") for n in range(20)), return_exceptions=True)
            assert any(isinstance(one, StoreUnavailable) and ("26000" in str(one) or "42P05" in str(one)) for one in told)
        finally:
            await store.aclose()

    async def test_the_store_leaves_nothing_on_any_connection(self, postgres: PostgresServer, postgres_url: str) -> None:
        with TransactionPooler.before(postgres) as pooler:
            store = await open_store(pooler.url(postgres_url))
            for number in range(20):
                await say(store, "hello", key=room(f"{number}"))
            await store.scrub()
            await store.aclose()
            with connected(pooler, postgres_url) as client:
                for _ in range(12):
                    assert client.execute(LEFT).fetchall() == [(0, 0, 0, 0)]


class TestOpening:
    """Tables and functions are made through a pooler as they are without one."""

    def test_processes_that_open_an_empty_database_at_once_share_one_store(
        self, pooler: Pooler, postgres: PostgresServer
    ) -> None:
        url = pooler.url(postgres.database())
        assert sorted(told["first"] for told in run_at_once(3, OPEN, url)) == [False, False, True]

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_pooler_that_ignores_options_is_as_good_as_one_that_refuses_them(
        self, kind: type[Pooler], postgres: PostgresServer, postgres_url: str
    ) -> None:
        with kind.before(postgres, ignores=frozenset({"options"})) as pooler:
            store = await open_store(pooler.url(postgres_url))
            try:
                assert await read(store, await say(store, "hello")) == ["hello"]
            finally:
                await store.aclose()


class TestOutages:
    """A pooler that goes away, or its server, takes nothing along; a call is bounded, whoever watches over it."""

    @pytest.fixture
    def opens(self, pooler: Pooler, postgres_url: str) -> Opens:
        return partial(open_store, pooler.url(postgres_url))

    async def test_a_call_that_hangs_is_given_up_and_the_next_one_works(self, pooler: Pooler, postgres_url: str) -> None:
        pool = await PostgresPool.open(pooler.url(postgres_url))
        try:
            with impatient(), pytest.raises(StoreUnavailable, match="can't be reached"):
                await pool.all(b"SELECT pg_sleep(60)")
            assert await pool.all(b"SELECT 1") == [(1,)]
        finally:
            await pool.aclose()

    async def test_a_limit_that_the_servers_user_has_holds_behind_the_pooler(
        self, kind_of_own: Pooler, postgres: PostgresServer, own_url: str
    ) -> None:
        database = own_url.rpartition("/")[2]
        postgres.execute(f"ALTER ROLE parley IN DATABASE {database} SET lock_timeout = '50ms'")
        store = await open_store(kind_of_own.url(own_url))
        try:
            conversation_id = await say(store, "hello")
            with psycopg.connect(own_url) as locking:
                locking.execute("SELECT 1 FROM conversation WHERE id = %s FOR UPDATE", (conversation_id,))
                with pytest.raises(StoreUnavailable, match="55P03"):
                    await store.stop(conversation_id)
            assert (await store.stop(conversation_id)).queued is not None
        finally:
            await store.aclose()

    async def test_after_a_restart_of_the_pooler_work_goes_on(self, pooler: Pooler, store: Store) -> None:
        conversation_id = await say(store, "one")
        pooler.stop()
        try:
            for _ in range(2):
                with impatient(), pytest.raises(StoreUnavailable):
                    await store.accept(message("lost"))
        finally:
            pooler.start()
        await working_again(store)
        await say(store, "two")
        assert await read(store, conversation_id) == ["one", "two"]
        assert (await take(store)).hold.conversation_id == conversation_id

    async def test_connections_of_the_pooler_that_are_killed_while_idle_are_not_noticed(
        self, pooler: Pooler, store: Store, postgres: PostgresServer
    ) -> None:
        await asyncio.gather(*(store.check() for _ in range(10)))
        killed = postgres.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'parley'"
        )
        assert killed
        await working_again(store)
        await asyncio.gather(*(store.check() for _ in range(10)))

    @pytest.mark.parametrize("kind", KINDS)
    async def test_after_a_crash_of_the_server_behind_it_work_goes_on(self, kind: type[Pooler]) -> None:
        with PostgresServer.made(options={"fsync": "off"}) as server, kind.before(server) as pooler:
            store = await open_store(pooler.url(server.database()))
            try:
                conversation_id = await say(store, "one")
                server.stop(Shutdown.IMMEDIATE)
                with impatient(), pytest.raises(StoreUnavailable):
                    await store.accept(message("lost"))
                server.start()
                await working_again(store)
                await say(store, "two")
                assert await read(store, conversation_id) == ["one", "two"]
            finally:
                await store.aclose()


LEFT = """
SELECT (SELECT count(*) FROM pg_prepared_statements)::int, (SELECT count(*) FROM pg_listening_channels())::int,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())::int,
  (SELECT count(*) FROM pg_settings WHERE source = 'session' AND name <> 'application_name')::int"""


@pytest.fixture(params=KINDS)
def kind_of_own(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[Pooler]:
    """A pooler whose connections are all made anew: a user's limits are read at connecting."""
    with request.param.before(postgres) as made:
        yield made


def connected(pooler: Pooler, url: str) -> closing[psycopg.Connection]:
    return closing(psycopg.connect(pooler.url(url), autocommit=True, prepare_threshold=None))


def pid(client: psycopg.Connection) -> object:
    return client.execute("SELECT pg_backend_pid()").fetchall()[0][0]


def elsewhere(other: psycopg.Connection, connection: object) -> None:
    """Have another client take a connection of the server, so that nobody else is given it."""
    while True:
        other.execute("BEGIN")
        if pid(other) == connection:
            return
        other.rollback()


async def working_again(store: Store) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.check()
            except StoreUnavailable:
                await asyncio.sleep(0.05)
