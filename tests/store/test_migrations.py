"""The revisions and `store/schema.py` say the same, and an up-to-date file is opened without any of it."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import store.migrate
from store import SchemaTooNew, open_store
from store.migrate import HEAD, needs_upgrade, upgrade
from store.schema import metadata
from tests.contracts.store_words import read, say
from tests.store.other_process import run_python


@pytest.fixture
def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(store.migrate.__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def statements(path: Path) -> dict[str, str]:
    """Every CREATE in a file, by name, with what SQLAlchemy may write in two ways written in one."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(
            "SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    return {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows if "alembic" not in name}


def test_the_head_is_alembics_and_the_revisions_make_one_line(script: ScriptDirectory) -> None:
    assert script.get_heads() == [HEAD]
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)], "numbers tell the newer from the older"


def test_the_revisions_make_what_the_schema_says(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/migrated.db", poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_revisions_make_the_very_statements_of_the_schema(tmp_path: Path) -> None:
    """Alembic compares no partial indexes, defaults, AUTOINCREMENT or WITHOUT ROWID; the texts do."""
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/schema.db", poolclass=sa.NullPool)
    metadata.create_all(engine)
    engine.dispose()
    migrated, made = statements(tmp_path / "migrated.db"), statements(tmp_path / "schema.db")
    assert migrated == made
    assert sum(" WHERE " in sql for sql in made.values()) >= 7, "the partial indexes are among them"


def test_an_upgrade_may_be_repeated(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/x.db")
    before = (tmp_path / "x.db").read_bytes()
    upgrade(f"sqlite:///{tmp_path}/x.db")
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_failed_upgrade_keeps_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("CREATE TABLE part (mine)")
    with pytest.raises(sqlite3.OperationalError, match="part"):
        upgrade(f"sqlite:///{tmp_path}/x.db")
    assert list(statements(tmp_path / "x.db")) == ["table part"]


def test_what_needs_an_upgrade() -> None:
    assert needs_upgrade(None, place="x")
    assert needs_upgrade("0000", place="x")
    assert not needs_upgrade(HEAD, place="x")
    with pytest.raises(SchemaTooNew, match="x has schema 9999"):
        needs_upgrade("9999", place="x")


@pytest.mark.anyio
async def test_an_up_to_date_file_is_opened_without_alembic(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/parley.db")
    conversation_id = await say(store, "hello")
    await store.aclose()
    told = run_python(OPENS, tmp_path / "parley.db")
    assert told["imported"] == []
    store = await open_store(f"sqlite:///{tmp_path}/parley.db")
    assert await read(store, conversation_id) == ["hello"]
    await store.aclose()


OPENS = """
import asyncio
from store import open_store
async def main():
    store = await open_store(f"sqlite:///{sys.argv[1]}")
    await store.check()
    await store.aclose()
asyncio.run(main())
tell(imported=sorted(name for name in sys.modules if name.split(".")[0] in ("alembic", "sqlalchemy", "mako", "discord")))
"""
