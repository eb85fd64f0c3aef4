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
from store import RETRACTED, SchemaTooNew, TurnState, open_store
from store.migrate import HEAD, needs_upgrade, upgrade
from store.schema import metadata
from store.sqlite_file import APPLICATION_ID, revision_of
from tests.contracts.store_words import ROOM, message, named, read, reply, say, take, texts
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
    # SQLite writes an added column behind the rest with a blank before the comma.
    return {
        name: re.sub(r"\s+(?=[,)])", "", re.sub(r"\s+", " ", sql)).strip() for name, sql in rows if "alembic" not in name
    }


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


@pytest.mark.anyio
async def test_a_store_of_the_first_schema_is_migrated_with_nothing_lost(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    make_first(path)
    store = await open_store(f"sqlite:///{path}")
    try:
        conversation = await store.find(ROOM)
        assert conversation is not None
        said = await store.recent(conversation.id, 9)
        assert texts(said) == ["one", "to one", "two"]
        assert {(m.from_bot, m.attachments) for m in said} == {(False, ())}
        assert [m.author_name for m in said] == ["Ann \U0001f408", "", "Ann \U0001f408"]
        assert await store.accept(message("two", event_id="", message_id="M-2")) is None, "it was seen"
        (mine,) = await store.conversations_of("slack", "T1", "U-Ann", limit=9)
        assert (mine.conversation, mine.messages) == (conversation, 3)
        claim = await take(store)
        assert (claim.turn.id, claim.turn.attempts, claim.turn.address) == (2, 3, "under two")
        assert (texts(claim.window), dict(claim.parts), claim.recovered) == (["one", "to one", "two"], {0: "P-2"}, True)
        for name, turn_id in (("M-1", 1), ("P-1", 1), ("M-2", 2)):
            located = await store.locate(named(name))
            assert located is not None
            assert (located.conversation.id, located.turn_id) == (conversation.id, turn_id)
        await store.finish(claim.hold, reply("to two"))
        await store.settle(claim.hold, TurnState.DONE)
        await store.retract([named("M-1")])
        assert await read(store, conversation.id) == ["two", "to two"]
        assert (await take(store)).turn.error == RETRACTED
    finally:
        await store.aclose()
    assert revision_of(path) == HEAD


def test_where_a_turn_is_queued_stands_beside_it_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    upgrade(f"sqlite:///{path}", revision="0005")
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(QUEUED_BEFORE)
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as db:
        places = db.execute(
            "SELECT state, queued_platform, queued_workspace, queued_channel FROM turn ORDER BY id"
        ).fetchall()
    assert places == [("done", None, None, None), ("queued", "slack", "T1", "C1")]


QUEUED_BEFORE = """
INSERT INTO conversation (id, platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
  VALUES (1, 'slack', 'T1', 'C1', '', 'U1', 0, 0, 2);
INSERT INTO turn (id, conversation_id, state, since, until, messages, address, queued_at, settled_at)
  VALUES (1, 1, 'done', 1, 1, 1, '', 0, 0), (2, 1, 'queued', 2, 2, 1, '', 0, NULL);
"""


def make_first(path: Path) -> None:
    """Make a store as the first version did: one turn that went well, and one in the middle of which it was killed."""
    upgrade(f"sqlite:///{path}", revision="0001")
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.executescript(FIRST)


FIRST = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
  VALUES ('slack', 'T1', 'C1', '', '', 1, 2, 2);
INSERT INTO turn (conversation_id, state, attempts, since, until, messages, answered, address, queued_at, settled_at) VALUES
  (1, 'done', 1, 1, 1, 1, 1, 'under one', 1, 2), (1, 'running', 2, 2, 2, 1, NULL, 'under two', 3, NULL);
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at) VALUES
  (1, 1, 0, 1, 'M-1', 'U-Ann', 'Ann \U0001f408', 'one', 'complete', 1),
  (1, 1, 1, 1, '', '', '', 'to one', 'complete', 2),
  (1, 2, 0, 2, 'M-2', 'U-Ann', 'Ann \U0001f408', 'two', 'complete', 3);
INSERT INTO part (turn_id, number, platform_id) VALUES (1, 0, 'P-1'), (2, 0, 'P-2');
INSERT INTO seen (name, at)
  SELECT platform_id || char(31) || 'm' || char(31) || 'C1' || char(31) || 'T1' || char(31) || 'slack', at
  FROM message WHERE role = 0;
"""


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
