"""What a move carries from one store to another: tables and columns, in an order in which each row finds what it belongs to.

All SQL of a move that reads stands here. It is the same on both engines, and has no parameters but whole numbers.
`tests/store/test_moving.py` proves that nothing of `store.schema` is left out.
"""
# ruff: noqa: S608 - names come from the tables below, and numbers are numbers

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from store.errors import StoreDenied

MARK = "\x1fmoving"
"""The name of the note, in a target, of the move that is under way; what it says is the place of the source."""
MARKED = f"SELECT text FROM note WHERE name = '{MARK}'"
"""Asks for that note."""
UNMARK = f"DELETE FROM note WHERE name = '{MARK}'"
"""Removes it: the move is done."""
ROWS = 2000
"""Rows of one transaction: some hundredths of a second, so little is lost to a kill and commits cost little."""
FILES = 16
"""The same for files, which are of 5 MiB at most."""

_MARKED = f"name <> '{MARK}'"
_QUEUED_IN = (
    "CASE WHEN state = 'queued' THEN (SELECT {0} FROM conversation c WHERE c.id = conversation_id) ELSE queued_{0} END"
)
_WHOLE_ACCOUNT = "CASE WHEN payer IN ('workspace', 'all') THEN '' ELSE subject END"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, and how its rows are moved."""

    name: str
    columns: tuple[str, ...]
    by: str = ""
    """The whole number that its primary key begins with: rows are moved in its order, and the largest was moved last.
    "": there is none, the table is small and is moved in one transaction."""
    page: int = ROWS
    numbered: bool = False
    """Its store gives it its numbers."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """What is read instead of a column, since it holds for one store only."""
    but: str = ""
    """Which rows are the move's, where some are not."""
    folded: tuple[str, ...] = ()
    """Columns that are added up over rows that are the same in all others but `told`."""

    def select(self, after: int = 0, last: int | None = None) -> str:
        """Read rows, all or those of a page."""
        where = [f'"{self.by}" > {after:d} AND "{self.by}" <= {last:d}'] if last is not None else []
        where += [self.but] if self.but else []
        group = [self._read(name) for name in self.columns if name not in self.folded and name != "told"]
        return (
            f'SELECT {", ".join(map(self._read, self.columns))} FROM "{self.name}"'
            + (f" WHERE {' AND '.join(where)}" if where else "")
            + (f" GROUP BY {', '.join(group)}" if self.folded else "")
        )

    def end_of_page(self, after: int) -> str:
        """Ask for the number that the page behind `after` ends with: rows of one number are never in two pages."""
        return (
            f'SELECT max("{self.by}") FROM (SELECT "{self.by}" FROM "{self.name}" WHERE "{self.by}" > {after:d} '
            f'ORDER BY "{self.by}" LIMIT {self.page:d}) AS page'
        )

    def last(self) -> str:
        """Ask for the largest number."""
        return f'SELECT max("{self.by}") FROM "{self.name}"'

    def count(self) -> str:
        """Ask how many rows there are to move."""
        return f"SELECT count(*) FROM ({self.select()}) AS moved"

    def clear(self) -> str:
        """Remove what was moved."""
        return f'DELETE FROM "{self.name}"' + (f" WHERE {self.but}" if self.but else "")

    def _read(self, name: str) -> str:
        if name in self.folded:
            return f'CAST(sum("{name}") AS bigint)'
        if self.folded and name == "told":
            return "max(told)"  # it stands on one of the rows
        return self.instead.get(name, f'"{name}"')


def refuse_half_moved(marks: Sequence[str], place: str) -> None:
    """Raise `StoreDenied` for a store that a move is under way to; `marks` is what `MARKED` finds there."""
    if marks:
        raise StoreDenied(
            f"{place} is half moved from {marks[0]}: do the same `parley migrate-store` again, and it goes on to its end"
        )


def _table(name: str, columns: str, **how: object) -> Table:
    return Table(name=name, columns=tuple(columns.split()), **how)  # type: ignore[arg-type]


TABLES = (
    _table(
        "conversation",
        "id platform workspace channel thread user_id created_at active_at ended_at expired_at last_position epoch "
        "lease_until persona sealed holder",
        by="id",
        numbered=True,
        instead={"lease_until": "0", "holder": "''"},  # whoever held it is not there any more
    ),
    _table("participant", "conversation_id author_id", by="conversation_id"),
    _table(
        "message",
        "id conversation_id position role turn_id platform_id author_id author_name text ending at from_bot files sealed",
        by="id",
        numbered=True,
    ),
    _table("attachment", "message_id number name media_type size url data problem sealed", by="message_id", page=FILES),
    _table(
        "turn",
        "id conversation_id state attempts stop since until messages answered address error model prompt_tokens "
        "completion_tokens queued_at settled_at started_at shown_at money queued_platform queued_workspace "
        "queued_channel",
        by="id",
        numbered=True,
        # A program from before these columns leaves them empty in a rolling deploy; SQLite has no such programs beside it.
        instead={f"queued_{name}": _QUEUED_IN.format(name) for name in ("platform", "workspace", "channel")},
    ),
    _table("part", "turn_id number platform_id", by="turn_id"),
    _table("feedback", "turn_id user_id value at", by="turn_id"),
    _table("seen", "id name at", by="id", numbered=True),
    _table("watermark", "platform workspace channel thread position at"),
    _table("setting", "platform workspace channel subject name value at"),
    _table(
        "audit",
        "id platform workspace channel author_id action target before after allowed at",
        by="id",
        numbered=True,
    ),
    _table(
        "account",
        "period platform workspace payer subject turns prompt_tokens completion_tokens money reserved_turns "
        "reserved_tokens reserved_money told",
        # PostgreSQL keeps a workspace's and everybody's account on several rows; one is right for both engines.
        instead={"subject": _WHOLE_ACCOUNT},
        folded=(
            "turns",
            "prompt_tokens",
            "completion_tokens",
            "money",
            "reserved_turns",
            "reserved_tokens",
            "reserved_money",
        ),
    ),
    _table("reservation", "turn_id epoch platform workspace channel user_id minute day tokens money at", by="turn_id"),
    _table("forgotten", "name until at"),
    _table("seal", "number proof at"),
    _table("note", "name text", but=_MARKED),
    _table("installation", "platform workspace user_id data at"),
)
NOTE = next(table for table in TABLES if table.name == "note")
MAY_BE_THERE = ("seal",)
"""What an empty store may hold: the proof of a key under which nothing was said yet."""
