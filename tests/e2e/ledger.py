"""What a store holds, read behind Parley's back.

A file is read from a copy: looking changes nothing of what a crash left. A database is read as it is at one moment.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

OPEN = ("queued", "running", "delivering")


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a user, and the answers that stand behind it with their endings."""

    conversation: int
    text: str
    turn: int | None
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn; `shown` tells whether a part of its reply is recorded."""

    id: int
    conversation: int
    state: str
    attempts: int
    shown: bool

    @property
    def open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Ledger:
    """All conversations of a store in the order of their messages, and all turns."""

    said: tuple[Said, ...] = ()
    turns: tuple[TurnRow, ...] = ()
    epochs: tuple[tuple[int, int], ...] = ()
    """How often each conversation was claimed."""
    strays: int = 0
    """Answers that stand behind no message."""

    @property
    def texts(self) -> list[str]:
        return [said.text for said in self.said]

    @property
    def open(self) -> list[TurnRow]:
        return [turn for turn in self.turns if turn.open]

    def turn_of(self, text: str) -> TurnRow | None:
        """The turn that answers the message, when that is stored."""
        ids = [said.turn for said in self.said if said.text == text]
        return next((turn for turn in self.turns if turn.id in ids), None)


def read_ledger(path: Path) -> Ledger:
    """Read the file at `path`, with its journal; nothing when there is none. Nobody may be writing to it."""
    if not path.exists():
        return Ledger()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, path.name)
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(path.name + suffix))
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            return _read(lambda query: db.execute(query).fetchall())


def read_database(url: str) -> Ledger:
    """Read the PostgreSQL database at `url`, whoever is writing to it."""
    with psycopg.connect(url, application_name="ledger") as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return _read(lambda query: db.execute(query.encode()).fetchall())


def _read(select: Callable[[str], list[tuple[Any, ...]]]) -> Ledger:
    columns = "conversation_id, position, role, turn_id, text, ending"
    rows = select(f"SELECT {columns} FROM message ORDER BY conversation_id, position, role")  # noqa: S608
    answers: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for conversation, position, role, _, text, ending in rows:
        if role == 1:
            answers.setdefault((conversation, position), []).append((text, ending))
    said = tuple(
        Said(conversation, text, turn, tuple(answers.pop((conversation, position), ())))
        for conversation, position, role, turn, text, _ in rows
        if role == 0
    )
    turns = select("SELECT id, conversation_id, state, attempts, id IN (SELECT turn_id FROM part) FROM turn ORDER BY id")
    return Ledger(
        said=said,
        turns=tuple(TurnRow(*row[:-1], bool(row[-1])) for row in turns),
        epochs=tuple(tuple(row) for row in select("SELECT id, epoch FROM conversation ORDER BY id")),
        strays=len(answers),
    )
