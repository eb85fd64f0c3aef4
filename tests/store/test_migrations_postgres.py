"""On PostgreSQL the revisions and `store/schema.py` say the same; many processes at once may bring a database to them."""

import re

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import store.postgres_setup as setup
from store import KeyRefused, NotOurs, SchemaTooNew, open_store
from store.migrate import HEAD, upgrade
from store.schema import metadata, passing
from tests.contracts.store_words import message, read, say
from tests.engines.postgres import PostgresServer, execute
from tests.store.other_process import run_at_once, run_python
from tests.store.test_migrations import QUEUED_BEFORE

pytestmark = pytest.mark.anyio

OPEN = """
import asyncio
from store import open_store
async def main():
    store = await open_store(sys.argv[1])
    told = await store.once("started", at=__import__("datetime").datetime.now(__import__("datetime").UTC))
    await store.aclose()
    tell(first=told, alembic="alembic" in sys.modules)
asyncio.run(main())
"""
MADE = """
SELECT 'table', table_name::text, column_name::text, data_type::text || ' ' || is_nullable || ' '
  || coalesce(column_default, '') || is_identity FROM information_schema.columns WHERE table_schema = 'public' UNION ALL
SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
SELECT 'constraint', conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace UNION ALL
SELECT 'kept in the journal', relname::text, relpersistence::text, '' FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1, 2, 3, 4"""
VERSIONS_THERE = "SELECT right(proname, 8) FROM pg_proc WHERE proname LIKE 'parley\\_now\\_%' ORDER BY oid"


@pytest.fixture
def empty(postgres: PostgresServer) -> str:
    """The address of a database with nothing in it."""
    return postgres.database()


def things_in(url: str) -> set[tuple[str, ...]]:
    """Every column, index and constraint of ours. A table in another one's place has a number behind its key's name."""
    rows = {tuple(re.sub(r"_pkey1\b", "_pkey", str(value)) for value in row) for row in execute(url, MADE)}
    return {row for row in rows if row[1] != "alembic_version"}


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def test_the_revisions_make_what_the_schema_says(own_url: str) -> None:
    engine = engine_of(own_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [metadata, passing]) == []
    engine.dispose()


def test_the_revisions_make_the_very_columns_and_indexes_of_the_schema(own_url: str, empty: str) -> None:
    """Alembic compares neither partial indexes nor defaults."""
    engine = engine_of(empty)
    metadata.create_all(engine)
    passing.create_all(engine)
    engine.dispose()
    made, migrated = things_in(empty), things_in(own_url)
    assert migrated ^ made == set()
    assert sum(" WHERE " in definition for *_, definition in made) >= 7, "the partial indexes are among them"


def test_where_a_turn_is_queued_stands_beside_it_afterwards(empty: str) -> None:
    upgrade("postgresql+psycopg://", revision="0005", connect=lambda: psycopg.connect(empty), first=())
    execute(empty, QUEUED_BEFORE)
    setup.make_tables(empty)
    places = execute(empty, "SELECT state, queued_platform, queued_workspace, queued_channel FROM turn ORDER BY id")
    assert places == [("done", None, None, None), ("queued", "slack", "T1", "C1")]


def test_every_function_is_well_formed(own_url: str) -> None:
    """They are made without a look inside, since they call each other."""
    kinds = execute(
        own_url, "SELECT p.oid, lanname FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE proname LIKE 'parley%'"
    )
    assert len(kinds) > 30
    for oid, language in kinds:
        execute(own_url, f"SELECT {'fmgr_sql' if language == 'sql' else language}_validator({oid})")


def test_processes_that_open_an_empty_database_at_once_share_one_store(empty: str) -> None:
    assert sorted(told["first"] for told in run_at_once(4, OPEN, empty)) == [False, False, False, True]
    assert execute(empty, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert execute(empty, VERSIONS_THERE) == [(setup.version(),)]


def test_a_store_that_is_up_to_date_is_opened_without_alembic(own_url: str) -> None:
    assert run_python(OPEN, own_url) == {"first": True, "alembic": False}


async def test_a_database_of_a_newer_program_is_refused(own_url: str) -> None:
    execute(own_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match=r"has schema 9999.*install the newer Parley"):
        await open_store(own_url)


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE message (mine int)",
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('1975ea83b712')",
    ],
)
async def test_another_programs_database_is_refused_and_left_as_it_is(empty: str, theirs: str) -> None:
    execute(empty, theirs)
    before = execute(empty, MADE)
    with pytest.raises(NotOurs, match="belongs to another program"):
        await open_store(empty)
    assert execute(empty, MADE) == before


async def test_a_schema_may_have_any_name(empty: str) -> None:
    database = psycopg.conninfo.conninfo_to_dict(empty)["dbname"]
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Ada\'s ""own"""')
        connection.execute(f'ALTER DATABASE "{database}" SET search_path = "Ada\'s ""own"""')
    for _ in range(2):
        store = await open_store(empty)
        try:
            await say(store, "hello")
        finally:
            await store.aclose()


async def test_a_migration_that_fails_keeps_nothing(empty: str) -> None:
    execute(empty, "CREATE TABLE part (mine int)")
    before = execute(empty, MADE)
    with pytest.raises(Exception, match="42P07"):
        await open_store(empty)
    assert execute(empty, MADE) == before


async def test_programs_of_two_versions_work_side_by_side(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older = await open_store(own_url)
    text = setup._text()
    monkeypatch.setattr(setup, "_text", lambda: text + "\n-- newer")
    newer = await open_store(own_url)
    assert [older._version, newer._version] == [row[0] for row in execute(own_url, VERSIONS_THERE)]  # type: ignore[attr-defined]
    conversation_id = await say(older, "from the older")
    assert await newer.accept(message("from the newer")) == conversation_id
    assert await read(older, conversation_id) == ["from the older", "from the newer"]
    await older.aclose()
    await newer.aclose()


async def test_functions_of_programs_long_gone_are_dropped(own_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = setup._text()
    versions = [setup.version()]
    for number in range(setup.VERSIONS + 2):
        with monkeypatch.context() as newer:
            newer.setattr(setup, "_text", lambda number=number: f"{text}\n-- {number}")
            await (await open_store(own_url)).aclose()
            versions.append(setup.version())
    assert [row[0] for row in execute(own_url, VERSIONS_THERE)] == versions[-setup.VERSIONS :]
    left = execute(own_url, "SELECT typname FROM pg_type WHERE typname LIKE 'parley%' AND typtype = 'c'")
    assert {re.sub(r".*_", "", str(name)) for (name,) in left} == set(versions[-setup.VERSIONS :])


async def test_a_database_that_was_opened_with_a_key_is_opened_with_no_other(own_url: str) -> None:
    store = await open_store(own_url, keys=[b"k" * 32])
    conversation_id = await say(store, "hello")
    await store.aclose()
    assert "hello" not in str(execute(own_url, "SELECT text FROM message"))
    for keys in ([], [b"x" * 32]):
        with pytest.raises(KeyRefused):
            await open_store(own_url, keys=keys)
    store = await open_store(own_url, keys=[b"k" * 32])
    assert await read(store, conversation_id) == ["hello"]
    await store.aclose()
