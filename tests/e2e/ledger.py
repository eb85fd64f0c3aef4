"""What a store's file holds, read behind Parley's back, from a copy: looking changes nothing of what a crash left."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

OPEN = ("queued", "running", "delivering")


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a user, and the answers that stand behind it with their endings."""

    text: str
    turn: int | None
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn; `shown` tells whether a part of its reply is recorded."""

    id: int
    state: str
    attempts: int
    shown: bool

    @property
    def open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Ledger:
    """All conversations of a file in the order of their messages, and all turns."""

    said: tuple[Said, ...] = ()
    turns: tuple[TurnRow, ...] = ()
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
            return _read(db)


def _read(db: sqlite3.Connection) -> Ledger:
    columns = "conversation_id, position, role, turn_id, text, ending"
    rows = db.execute(f"SELECT {columns} FROM message ORDER BY conversation_id, position, role").fetchall()  # noqa: S608
    answers: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for conversation, position, role, _, text, ending in rows:
        if role == 1:
            answers.setdefault((conversation, position), []).append((text, ending))
    said = tuple(
        Said(text, turn, tuple(answers.pop((conversation, position), ())))
        for conversation, position, role, turn, text, _ in rows
        if role == 0
    )
    turns = db.execute("SELECT id, state, attempts, id IN (SELECT turn_id FROM part) FROM turn ORDER BY id").fetchall()
    return Ledger(
        said, tuple(TurnRow(id, state, attempts, bool(shown)) for id, state, attempts, shown in turns), len(answers)
    )
