"""What the connections to PostgreSQL survive, and how they say what they don't."""

import asyncio
import gc
import logging
import random
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

import store.postgres_pool as pool_room
from store import Store, StoreClosed, StoreDenied, StoreError, StoreUnavailable, open_store
from store.postgres_pool import CONNECTIONS, TRIES, PostgresPool, place_of
from tests.contracts.store_words import ROOM, Opens, message, read, room, say, take
from tests.engines.postgres import PostgresServer, Shutdown
from tests.store.patience import impatient

pytestmark = pytest.mark.anyio

OTHERS = "FROM pg_stat_activity WHERE application_name = 'parley' AND pid <> pg_backend_pid()"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped, with a user who has a password."""
    with PostgresServer.made(options={"deadlock_timeout": "50ms"}) as server:
        rules = Path(server.data, "pg_hba.conf")
        rules.write_text("host all ann 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        server.run("pg_ctl", "reload", "--pgdata", server.data)
        server.execute(f"CREATE ROLE ann LOGIN PASSWORD '{PASSWORD}'")
        yield server


@pytest.fixture(scope="module")
def url(server: PostgresServer) -> str:
    return server.database()


@pytest.fixture
def opens(url: str) -> Opens:
    return partial(open_store, url)


@pytest.fixture
async def pool(url: str) -> AsyncIterator[PostgresPool]:
    pool = await PostgresPool.open(url)
    yield pool
    await pool.aclose()


async def until(there: Callable[[], object]) -> None:
    while not there():  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


async def working_again(store: Store) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.check()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


class TestOutages:
    """A server that goes away takes nothing along, and is noticed when it is back."""

    async def test_connections_that_were_killed_while_idle_are_not_noticed(
        self, server: PostgresServer, store: Store
    ) -> None:
        await asyncio.gather(*(store.check() for _ in range(30)))
        killed = server.execute(f"SELECT pg_terminate_backend(pid, 1000) {OTHERS}")
        assert len(killed) > 1
        await asyncio.gather(*(store.check() for _ in range(30)))

    async def test_a_call_whose_connection_is_killed_says_so_and_the_next_one_works(
        self, server: PostgresServer, store: Store, url: str
    ) -> None:
        conversation_id = await say(store, "hello", key=room("killed"))
        with psycopg.connect(url) as locking:
            locking.execute("SELECT 1 FROM conversation WHERE id = %s FOR UPDATE", (conversation_id,))
            stopping = asyncio.create_task(store.stop(conversation_id))
            await until(lambda: server.execute(f"SELECT 1 {OTHERS} AND wait_event_type = 'Lock'"))
            server.execute(f"SELECT pg_terminate_backend(pid, 1000) {OTHERS} AND wait_event_type = 'Lock'")
            with pytest.raises(StoreUnavailable, match="can't be reached"):
                await stopping
        assert (await store.stop(conversation_id)).queued is not None

    @pytest.mark.parametrize("how", Shutdown)
    async def test_what_was_accepted_outlives_the_server_and_work_goes_on_within_ten_seconds(
        self, server: PostgresServer, store: Store, how: Shutdown
    ) -> None:
        key = room(f"outage {how.value}")
        conversation_id = await say(store, "one", "two", key=key)
        server.stop(how)
        try:
            for _ in range(3):
                with impatient(), pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
                    await store.accept(message("three", key=key))
        finally:
            server.start()
        await working_again(store)
        await say(store, "four", key=key)
        assert await read(store, conversation_id) == ["one", "two", "four"]
        assert (await take(store)).hold.conversation_id == conversation_id
        await store.delete(conversation_id)

    async def test_it_can_be_closed_while_the_server_is_away(self, server: PostgresServer, url: str) -> None:
        pool = await PostgresPool.open(url)
        server.stop(Shutdown.IMMEDIATE)
        try:
            for _ in range(3):
                with impatient(), pytest.raises(StoreUnavailable, match="can't be reached"):
                    await pool.all(b"SELECT 1")
            async with asyncio.timeout(30):
                await pool.aclose()
        finally:
            server.start()

    async def test_a_server_that_hangs_is_given_up(self, pool: PostgresPool) -> None:
        with impatient(), pytest.raises(StoreUnavailable, match="can't be reached"):
            await pool.all(b"SELECT pg_sleep(60)")
        assert await pool.all(b"SELECT 1") == [(1,)]

    async def test_a_call_that_takes_too_long_is_ended_by_the_server(self, pool: PostgresPool) -> None:
        with pytest.raises(StoreUnavailable, match="longer than 5 s"):
            await pool.all(b"SELECT pg_sleep(60)")
        assert await pool.all(b"SHOW idle_in_transaction_session_timeout") == [("10s",)]

    async def test_an_answer_that_nobody_waits_for_does_not_reach_the_next_call(self, pool: PostgresPool) -> None:
        for _ in range(20):
            call = asyncio.create_task(pool.all(b"SELECT 'mine', pg_sleep(0.002)"))
            await asyncio.sleep(0.001)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await pool.all(b"SELECT 'next'") == [("next",)]


class TestCrowds:
    """Connections are few, and calls wait for one."""

    async def test_many_calls_share_few_connections(self, server: PostgresServer, pool: PostgresPool) -> None:
        rows = await asyncio.gather(*(pool.all(b"SELECT %s::int", (number,)) for number in range(300)))
        assert rows == [[(number,)] for number in range(300)]
        assert 1 < len(server.execute(f"SELECT 1 {OTHERS}")) <= CONNECTIONS

    async def test_whoever_gets_no_connection_in_time_is_told_and_nothing_is_lost_for_the_others(self, url: str) -> None:
        pool = await PostgresPool.open(url, connections=1)
        busy = asyncio.create_task(pool.all(b"SELECT 'done', pg_sleep(2)"))
        await asyncio.sleep(0.05)
        with impatient(), pytest.raises(StoreUnavailable, match="no connection free"):
            await pool.all(b"SELECT 1")
        assert (await busy)[0][0] == "done"
        assert await pool.all(b"SELECT 1") == [(1,)]
        await pool.aclose()

    async def test_where_the_server_takes_fewer_connections_calls_share_those_that_there_are(
        self, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Others of the pool try in vain for longer than anybody waits, and that is nobody's failure."""
        monkeypatch.setattr(pool_room, "PATIENCE", 2.0)
        server.execute("ALTER ROLE ann CONNECTION LIMIT 2")
        try:
            pool = await PostgresPool.open(url.replace("parley@", f"ann:{PASSWORD.replace(' ', '%20')}@"))
            ends = asyncio.get_running_loop().time() + 6.0  # three times as long as anybody waits

            async def go_on() -> int:
                calls = 0
                while asyncio.get_running_loop().time() < ends:
                    await pool.all(b"SELECT pg_sleep(0.01)")
                    calls += 1
                return calls

            assert all(await asyncio.gather(*(go_on() for _ in range(6))))
            await pool.aclose()
        finally:
            server.execute("ALTER ROLE ann CONNECTION LIMIT -1")

    async def test_a_call_that_comes_as_the_last_one_ends_is_carried_out(self, url: str) -> None:
        """Whatever the event loop does between the two: nobody counts on somebody else who has just stopped looking."""
        pool = await PostgresPool.open(url, connections=1)

        async def go_on(pace: int) -> None:
            for number in range(300):
                for _ in range(number * pace % 7):
                    await asyncio.sleep(0)
                await pool.all(b"SELECT 1")

        await asyncio.gather(*(go_on(pace) for pace in range(3)))
        await pool.aclose()

    async def test_a_call_that_is_cancelled_while_it_waits_is_not_carried_out(self, url: str) -> None:
        pool = await PostgresPool.open(url, connections=1)
        await pool.all(b"CREATE SEQUENCE cancelled")
        busy = asyncio.create_task(pool.all(b"SELECT pg_sleep(2)"))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(pool.all(b"SELECT nextval('cancelled')"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await busy
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await pool.all(b"SELECT is_called FROM cancelled") == [(False,)]
        await pool.all(b"DROP SEQUENCE cancelled")
        await pool.aclose()

    async def test_what_is_cancelled_under_way_comes_before_what_follows_it(self, pool: PostgresPool) -> None:
        await pool.all(b"CREATE TABLE told (n int)")
        call = asyncio.create_task(pool.all(b"INSERT INTO told SELECT 1 FROM pg_sleep(0.3)"))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await pool.all(b"SELECT n FROM told") == [(1,)]
        await pool.all(b"DROP TABLE told")

    async def test_an_opening_that_is_cancelled_at_any_moment_leaves_no_connection(self, url: str) -> None:
        chance = random.Random(1)
        for _ in range(300):
            opening = asyncio.create_task(PostgresPool.open(url))
            await asyncio.sleep(chance.uniform(0, 0.01))
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await (await opening).aclose()
        gc.collect()  # a connection that is left open tells of itself, as an error

    async def test_calls_that_wait_when_it_is_closed_come_to_their_end(self, url: str) -> None:
        pool = await PostgresPool.open(url, connections=1)
        calls = [asyncio.create_task(pool.all(b"SELECT %s::int, pg_sleep(0.02)", (number,))) for number in range(9)]
        await asyncio.sleep(0)
        await pool.aclose()
        assert [(await call)[0][0] for call in calls] == list(range(9))

    async def test_a_value_that_cannot_be_sent_is_told_to_its_caller_alone(self, pool: PostgresPool) -> None:
        told = await asyncio.gather(
            *(pool.all(b"SELECT %s::text", (text,)) for text in ("one", "\ud800", "three")), return_exceptions=True
        )
        assert [told[0], told[2]] == [[("one",)], [("three",)]]
        assert isinstance(told[1], UnicodeEncodeError)

    async def test_nothing_is_left_on_a_connection_for_the_next_one_to_stumble_over(self, url: str, store: Store) -> None:
        for number in range(20):
            await say(store, "hello", key=room(f"{number}"))
        pool = store._pool  # type: ignore[attr-defined]
        assert await pool.all(b"SELECT count(*) FROM pg_prepared_statements") == [(0,)]
        assert await pool.all(b"SELECT count(*) FROM pg_listening_channels()") == [(0,)]
        assert await pool.all(b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]

    async def test_a_closed_pool_says_so(self, url: str) -> None:
        pool = await PostgresPool.open(url)
        await pool.aclose()
        await pool.aclose()
        with pytest.raises(StoreClosed):
            await pool.all(b"SELECT 1")


class TestConflicts:
    """What the server gives up for the sake of another is done again."""

    @pytest.fixture
    async def accounts(self, pool: PostgresPool) -> AsyncIterator[None]:
        await pool.all(b"CREATE TABLE pair (id int PRIMARY KEY, n int)")
        await pool.all(b"INSERT INTO pair VALUES (1, 0), (2, 0)")
        yield
        await pool.all(b"DROP TABLE pair")

    @pytest.mark.usefixtures("accounts")
    async def test_of_two_that_wait_for_each_other_both_come_through_once(self, pool: PostgresPool) -> None:
        def one_after_the_other(first: int, second: int) -> bytes:
            one, then = (f"UPDATE pair SET n = n + 1 WHERE id = {number};" for number in (first, second))  # noqa: S608
            return f"DO $$ BEGIN {one} PERFORM pg_sleep(0.1); {then} END $$".encode()

        before = await pool.all(b"SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        for times in range(1, 11):  # one whose connection has first to be made comes too late to be waited for
            await asyncio.gather(pool.all(one_after_the_other(1, 2)), pool.all(one_after_the_other(2, 1)))
            assert await pool.all(b"SELECT n FROM pair ORDER BY id") == [(2 * times,), (2 * times,)]
            # Each of the two connections tells for itself, when it is asked.
            await asyncio.gather(*(pool.all(b"SELECT pg_stat_force_next_flush(), pg_sleep(0.2)") for _ in range(2)))
            if await pool.all(b"SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") > before:
                return
        pytest.fail("they never waited for each other")

    @pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
    @pytest.mark.parametrize("failures", [1, TRIES - 1, TRIES])
    async def test_a_conflict_is_tried_again_so_many_times(self, pool: PostgresPool, state: str, failures: int) -> None:
        await pool.all(b"CREATE SEQUENCE tries")
        statement = f"""DO $$ BEGIN IF nextval('tries') <= {failures} THEN
            RAISE EXCEPTION USING ERRCODE = '{state}'; END IF; END $$"""
        try:
            if failures < TRIES:
                await pool.all(statement.encode())
            else:
                with pytest.raises(StoreUnavailable, match=state):
                    await pool.all(statement.encode())
            assert await pool.all(b"SELECT last_value FROM tries") == [(min(failures + 1, TRIES),)]
        finally:
            await pool.all(b"DROP SEQUENCE tries")


class TestAddresses:
    """Whoever gives a wrong address is told what is wrong with it, and nobody else is told the password."""

    @pytest.mark.parametrize(
        ("address", "problem", "words"),
        [
            ("postgresql://ann:{secret}wrong@127.0.0.1:{port}/postgres", StoreDenied, "user or the password"),
            ("postgresql://nobody_here:{secret}@127.0.0.1:{port}/postgres", StoreDenied, "user or the password"),
            ("postgresql://ann:{secret}@127.0.0.1:{port}/not_there", StoreDenied, "createdb"),
            ("postgresql://ann:{secret}@127.0.0.1:1/postgres", StoreUnavailable, "can't be reached"),
            ("postgresql://ann:{secret}@no-such-host.invalid:{port}/postgres", StoreUnavailable, "can't be reached"),
            ("postgresql://ann:{secret}@127.0.0.1:{port}x/postgres", StoreDenied, "not an address"),
            ("postgresql://ann:{secret}@127.0.0.1:{port}/postgres?sslmodus=none", StoreDenied, "not an address"),
            ("postgresql://ann:{secret}@127.0.0.1:{port}/postgres?sslmode=require", StoreUnavailable, "can't be reached"),
            ("postgresql://ann:{secret}@127.0.0.1:{port}/postgres", StoreDenied, "may not be written"),
        ],
    )
    async def test_a_wrong_address_is_told_without_its_password(
        self, server: PostgresServer, address: str, problem: type[StoreError], words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        secret = PASSWORD.replace(" ", "%20")
        with pytest.raises(problem, match=words) as refused:
            await open_store(address.format(secret=secret, port=server.port))
        told = "".join(traceback.format_exception(refused.value)) + caplog.text
        assert secret not in told
        assert PASSWORD not in told
        assert "ann:" not in str(refused.value)

    async def test_what_an_address_asks_for_is_kept_beside_the_guards(self, url: str) -> None:
        pool = await PostgresPool.open(f"{url}?options=-c%20work_mem%3D123kB&application_name=mine")
        assert await pool.all(b"SHOW work_mem") == [("123kB",)]
        assert await pool.all(b"SHOW application_name") == [("mine",)]
        assert await pool.all(b"SHOW statement_timeout") == [("5s",)]
        await pool.aclose()

    async def test_a_user_with_a_password_who_owns_the_database_is_served(self, server: PostgresServer) -> None:
        server.execute("CREATE DATABASE anns OWNER ann")
        store = await open_store(f"postgresql://ann:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{server.port}/anns")
        assert (await store.get_or_create(ROOM, at=message().at)).key == ROOM
        status = await store.status()
        assert (status.engine.split()[0], status.place) == ("PostgreSQL", f"PostgreSQL at 127.0.0.1:{server.port}/anns")
        await store.aclose()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://bot:secret@one:5433/parley", "PostgreSQL at one:5433/parley"),
        (
            "postgresql://bot:secret@one:5433,[::1],two/parley?target_session_attrs=read-write",
            "PostgreSQL at one:5433 or ::1 or two/parley",
        ),
        ("postgresql:///parley?host=/run/postgresql", "PostgreSQL at this machine/parley"),
    ],
)
def test_a_database_is_named_by_all_its_servers_and_without_its_user(url: str, place: str) -> None:
    assert place_of(url) == place


def test_an_address_with_a_port_that_is_none_is_refused_unseen() -> None:
    with pytest.raises(StoreDenied) as refused:
        place_of("postgresql://bot:secret@one:5433,two:many/parley")
    assert "secret" not in str(refused.value)
