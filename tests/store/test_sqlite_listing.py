"""Lists on SQLite: no page of one looks through more than it must."""

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

import pytest

import store.sqlite_listing as listing
import store.sqlite_sql_keeping as sql
from store import ConversationFilter, ConversationState, Store, open_store
from tests.contracts.store_words import Opens, message, room

pytestmark = pytest.mark.anyio

VALUES = {
    "platform": "slack",
    "workspace": "T1",
    "user": "U-Ann",
    "channel": "C1",
    "before": 99,
    "since": 1,
    "after": 0,
    "limit": 9,
}
FILTERS = [
    ConversationFilter(user=user, channel=channel, state=state)
    for user, channel, state in itertools.product(("", "U-Ann"), ("", "C1"), (None, *ConversationState))
]


@pytest.fixture
def opens() -> Opens:
    return partial(open_store, "sqlite:///:memory:")


async def plan(store: Store, statement: str, values: Mapping[str, object] | Sequence[object]) -> list[str]:
    def explain(db: sqlite3.Connection) -> list[str]:
        return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    return await store._writer.alone(explain)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("which", FILTERS)
async def test_a_list_is_read_by_an_index(store: Store, which: ConversationFilter) -> None:
    steps = await plan(store, sql.list_conversations(which), VALUES)
    assert not [step for step in steps if step.startswith("SCAN")]
    assert any("conversation_of_user" in step for step in steps) == bool(which.user)
    if which.channel and not which.user:
        assert [step for step in steps if "conversation_place (platform=? AND workspace=? AND channel=?" in step]
        assert not [step for step in steps if "ORDER BY" in step], "it stands in the index in the order of the list"


async def test_what_is_a_persons_is_found_by_an_index(store: Store) -> None:
    for statement in (sql.WITH_PERSON, sql.TO_FORGET):
        steps = await plan(store, statement, VALUES)
        assert [step for step in steps if "participant_author" in step]
        assert not [step for step in steps if step.startswith("SCAN")]
    for statement, values in ((sql.LAST_SAID, (1, "U")), (sql.ALL_OF_IT, (1, 0, 9)), (sql.SHARE_OF_IT, (1, 0, 9, "U"))):
        assert not [step for step in await plan(store, statement, values) if step.startswith("SCAN")]


async def test_a_small_workspace_in_a_large_store_is_listed_in_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the newest of the whole store do not fill a page, the rest is looked for among all of the workspace's."""
    monkeypatch.setattr(listing, "NEWEST", 3)
    ids = []
    for number in range(24):
        workspace = "T1" if number % 6 == 0 else "T2"
        id_ = await store.accept(message(key=room(f"C{number}", workspace=workspace)))
        ids += [id_] if workspace == "T1" else []
    for limit in (1, 2, 9):
        found, before = [], None
        while page := await store.conversations("slack", "T1", ConversationFilter(), limit=limit, before=before):
            found += [summary.conversation.id for summary in page]
            before = found[-1]
        assert found == ids[::-1]
