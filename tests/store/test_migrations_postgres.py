"""On PostgreSQL the revisions and `store/schema.py` say the same; many processes at once may bring a database to them."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

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
from tests.engines.postgres import PostgresServer
from tests.store.other_process import run_python
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


@pytest.fixture
def template(postgres: PostgresServer, postgres_template: str) -> str:
    """The address of an empty store of its own."""
    return postgres.database(like=postgres_template)


def run(url: str, statement: str) -> Sequence[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def things_in(url: str) -> set[tuple[str, ...]]:
    """Every column, index and constraint of ours. A table in another one's place has a number behind its key's name."""
    rows = {tuple(re.sub(r"_pkey1\b", "_pkey", str(value)) for value in row) for row in run(url, MADE)}
    return {row for row in rows if row[1] != "alembic_version"}


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def test_the_revisions_make_what_the_schema_says(template: str) -> None:
    engine = engine_of(template)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [metadata, passing]) == []
    engine.dispose()


def test_the_revisions_make_the_very_columns_and_indexes_of_the_schema(template: str, empty: str) -> None:
    """Alembic compares neither partial indexes nor defaults."""
    engine = engine_of(empty)
    metadata.create_all(engine)
    passing.create_all(engine)
    engine.dispose()
    made, migrated = things_in(empty), things_in(template)
    assert migrated ^ made == set()
    assert sum(" WHERE " in definition for *_, definition in made) >= 7, "the partial indexes are among them"


def test_where_a_turn_is_queued_stands_beside_it_afterwards(empty: str) -> None:
    upgrade("postgresql+psycopg://", revision="0005", connect=lambda: psycopg.connect(empty), first=())
    run(empty, QUEUED_BEFORE)
    setup.make_tables(empty)
    places = run(empty, "SELECT state, queued_platform, queued_workspace, queued_channel FROM turn ORDER BY id")
    assert places == [("done", None, None, None), ("queued", "slack", "T1", "C1")]


def test_every_function_is_well_formed(template: str) -> None:
    """They are made without a look inside, since they call each other."""
    kinds = run(
        template, "SELECT p.oid, lanname FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE proname LIKE 'parley%'"
    )
    assert len(kinds) > 30
    for oid, language in kinds:
        run(template, f"SELECT {'fmgr_sql' if language == 'sql' else language}_validator({oid})")


def test_processes_that_open_an_empty_database_at_once_share_one_store(empty: str) -> None:
    prelude = "import json, sys\ndef tell(**values):\n    print(json.dumps(values), flush=True)\n"
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + OPEN, empty],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(4)
    ]
    told = [process.communicate(timeout=60) for process in starting]
    assert [process.returncode for process in starting] == [0] * 4, [errors for _, errors in told]
    assert sum('"first": true' in out for out, _ in told) == 1
    assert run(empty, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert run(empty, VERSIONS_THERE) == [(setup.version(),)]


def test_a_store_that_is_up_to_date_is_opened_without_alembic(template: str) -> None:
    assert run_python(OPEN, template) == {"first": True, "alembic": False}


async def test_a_database_of_a_newer_program_is_refused(template: str) -> None:
    run(template, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match=r"has schema 9999.*install the newer Parley"):
        await open_store(template)


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE message (mine int)",
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('1975ea83b712')",
    ],
)
async def test_another_programs_database_is_refused_and_left_as_it_is(empty: str, theirs: str) -> None:
    run(empty, theirs)
    before = run(empty, MADE)
    with pytest.raises(NotOurs, match="belongs to another program"):
        await open_store(empty)
    assert run(empty, MADE) == before


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
    run(empty, "CREATE TABLE part (mine int)")
    before = run(empty, MADE)
    with pytest.raises(Exception, match="42P07"):
        await open_store(empty)
    assert run(empty, MADE) == before


async def test_programs_of_two_versions_work_side_by_side(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    older = await open_store(template)
    text = setup._text()
    monkeypatch.setattr(setup, "_text", lambda: text + "\n-- newer")
    newer = await open_store(template)
    assert [older._version, newer._version] == [row[0] for row in run(template, VERSIONS_THERE)]  # type: ignore[attr-defined]
    conversation_id = await say(older, "from the older")
    assert await newer.accept(message("from the newer")) == conversation_id
    assert await read(older, conversation_id) == ["from the older", "from the newer"]
    await older.aclose()
    await newer.aclose()


async def test_functions_of_programs_long_gone_are_dropped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = setup._text()
    versions = [setup.version()]
    for number in range(setup.VERSIONS + 2):
        with monkeypatch.context() as newer:
            newer.setattr(setup, "_text", lambda number=number: f"{text}\n-- {number}")
            await (await open_store(template)).aclose()
            versions.append(setup.version())
    assert [row[0] for row in run(template, VERSIONS_THERE)] == versions[-setup.VERSIONS :]
    left = run(template, "SELECT typname FROM pg_type WHERE typname LIKE 'parley%' AND typtype = 'c'")
    assert {re.sub(r".*_", "", str(name)) for (name,) in left} == set(versions[-setup.VERSIONS :])


async def test_a_database_that_was_opened_with_a_key_is_opened_with_no_other(template: str) -> None:
    store = await open_store(template, keys=[b"k" * 32])
    conversation_id = await say(store, "hello")
    await store.aclose()
    assert "hello" not in str(run(template, "SELECT text FROM message"))
    for keys in ([], [b"x" * 32]):
        with pytest.raises(KeyRefused):
            await open_store(template, keys=keys)
    store = await open_store(template, keys=[b"k" * 32])
    assert await read(store, conversation_id) == ["hello"]
    await store.aclose()
