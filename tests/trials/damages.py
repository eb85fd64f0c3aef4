"""Files of a store that are damaged as disks, copies and people do it, and what `parley chat` makes of each."""

import asyncio
import hashlib
import os
import random
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bot import exits
from bot.chat.words import TurnError, shown
from store import StoreDamaged, open_store
from store.sealing import key_of
from tests.e2e.shell import Shell
from tests.e2e.zygote import Zygote
from tests.trials.tally import Tally

PAGE = 4096
USERS = ("ada", "ben", "cid")
LINES = 14
KEY = hashlib.sha256(b"a trial").hexdigest()
CANT_BE_READ = shown(None, TurnError.DAMAGED)
PARTS = ("", "-wal", "-shm")
REFUSALS = (exits.DATA, exits.BUSY, exits.CONFIG)
STARTS = 2
"""How often Parley is started on each damaged file."""


@dataclass
class Counts(Tally):
    """What was seen in all files."""

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    served: int = 0
    sealed: int = 0
    touched: int = 0
    crashed: int = 0
    loops: int = 0
    answered_wrongly: int = 0
    lost: int = 0
    changed_sealed: int = 0
    changed_plain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The files of a store before the damage, by their suffixes, and all that was said and answered."""

    parts: dict[str, bytes]
    texts: Counter[str]
    sealed: bool

    @property
    def env(self) -> dict[str, str]:
        return {"ENCRYPTION_KEY": KEY} if self.sealed else {}


def make_whole(helper: Zygote, home: Path, rng: random.Random, *, sealed: bool, killed: bool) -> Whole:
    """Let people talk to a bot, which then ends in good order or is `killed`, and leaves its journal."""
    home.mkdir(parents=True)
    env = {"ENCRYPTION_KEY": KEY} if sealed else {}
    shell = Shell(helper, home, LLM_PROVIDER="echo", **env)
    texts: Counter[str] = Counter()
    for user in USERS:
        lines = [f"{user} {number} {rng.randbytes(rng.choice((5, 150, 900))).hex()}" for number in range(LINES)]
        texts.update(lines + [f"You said: {line}" for line in lines])
        life = shell.start("chat", "--user", user)
        life.say(*lines)
        assert life.read_until(lambda life: life.text.count("You said: ") == LINES), "the store can't be made"
        if killed and user == USERS[-1]:
            os.kill(life.pid, signal.SIGKILL)
        life.ended()
    return Whole(parts=_parts(shell.store), texts=texts, sealed=sealed)


def _parts(store: Path) -> dict[str, bytes]:
    paths = {suffix: store.with_name(store.name + suffix) for suffix in PARTS}
    return {suffix: path.read_bytes() for suffix, path in paths.items() if path.exists()}


def _flipped(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _zeroed(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(0, max(len(data) // PAGE, 1)) * PAGE
    data[start : start + PAGE] = bytes(len(data[start : start + PAGE]))


def _garbled(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(0, max(len(data) - 512, 1))
    data[start : start + 512] = rng.randbytes(len(data[start : start + 512]))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def _swapped(data: bytearray, rng: random.Random) -> None:
    if len(data) < 2 * PAGE:
        return _flipped(data, rng)
    one, two = rng.sample(range(len(data) // PAGE), 2)
    first, second = slice(one * PAGE, one * PAGE + PAGE), slice(two * PAGE, two * PAGE + PAGE)
    data[first], data[second] = data[second], data[first]
    return None


WAYS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flipped bits": _flipped,
    "a zeroed page": _zeroed,
    "a garbled sector": _garbled,
    "cut short": _cut,
    "swapped pages": _swapped,
}


class Damaged:
    """One damaged file."""

    def __init__(self, helper: Zygote, home: Path, whole: Whole, rng: random.Random, counts: Counts) -> None:
        home.mkdir()
        self._shell = Shell(helper, home, LLM_PROVIDER="echo", **whole.env)
        self._whole = whole
        self._counts = counts
        way = rng.choice(list(WAYS))
        suffix = rng.choice(list(whole.parts)) if rng.random() < 0.7 else ""
        self.what = f"{way} in parley.db{suffix}{', sealed' if whole.sealed else ''}"
        for name, data in whole.parts.items():
            damaged = bytearray(data)
            if name == suffix:
                WAYS[way](damaged, rng)
            self._path(name).write_bytes(damaged)
        counts.files += 1
        counts.kinds[f"{way} in parley.db{suffix}"] += 1
        counts.sealed += whole.sealed

    def _path(self, suffix: str) -> Path:
        return self._shell.store.with_name(self._shell.store.name + suffix)

    def _hashes(self) -> dict[str, str]:
        # The index is no original: SQLite makes it anew whenever nobody else has the file open.
        return {
            suffix: hashlib.sha256(data).hexdigest()
            for suffix, data in _parts(self._shell.store).items()
            if suffix != "-shm"
        }

    def try_it(self) -> None:
        """Start Parley on it, `STARTS` times, and look at what it did, said and left."""
        before = self._hashes()
        codes = [self._start(number) for number in range(STARTS)]
        if codes[0] == 0:
            self._counts.served += 1
            if codes[1] != 0:
                self._wrong("loops", f"served once, then {codes[1]}")
            self._read_back()
            return
        self._counts.refused += 1
        if codes[1] != codes[0]:
            self._wrong("loops", f"ended with {codes}")
        if self._hashes() != before:
            self._wrong("touched", "refused, and its bytes were changed")

    def _start(self, number: int) -> int:
        line = f"new {number}"
        done = self._shell.chat(line, options=("--user", USERS[0]))
        plain = len(done.err.splitlines()) <= 1 and "Traceback" not in done.err + done.out
        if done.code == 0:
            # Beside it stands the answer that a kill cut short. Who speaks where nothing can be read is told so.
            if not {f"You said: {line}", CANT_BE_READ} & set(done.out.splitlines()) or not plain:
                self._wrong("answered_wrongly", f"{done.out!r} {done.err!r}")
        elif done.code not in REFUSALS or not plain or not (done.err or done.out).startswith(("parley: ", "Your message")):
            self._wrong("crashed", f"ended with {done.code}: {done.out[-300:]!r} {done.err[-300:]!r}")
        return done.code

    def _read_back(self) -> None:
        found = asyncio.run(self._texts())
        if found is None:
            return  # it was noticed after all, and whoever reads it is told
        new = Counter(f"{said}new {number}" for number in range(2) for said in ("", "You said: "))
        there = found - new
        missing, changed = self._whole.texts - there, there - self._whole.texts
        if found & new != new or missing.total() > changed.total():
            self._wrong("lost", f"served, and {missing.total()} of what was said is not there")
        elif changed:
            if self._whole.sealed:
                self._wrong("changed_sealed", "served, and a sealed text says something else")
            else:
                self._counts.changed_plain += 1

    async def _texts(self) -> Counter[str] | None:
        store = await open_store(f"sqlite:///{self._shell.store}", keys=[key_of(KEY)] if self._whole.sealed else [])
        try:
            with closing(sqlite3.connect(f"file:{self._shell.store}?mode=ro", uri=True)) as db:
                ids = [id for (id,) in db.execute("SELECT id FROM conversation")]
            return Counter([message.text for id in ids for message in await store.recent(id, 10_000)])
        except StoreDamaged:
            return None
        finally:
            await store.aclose()

    def _wrong(self, count: str, words: str) -> None:
        self._counts.wrong(count, f"{self.what} ({self._shell.home}): {words}")

    def remove(self) -> None:
        shutil.rmtree(self._shell.home)


def damage(helper: Zygote, home: Path, number: int, rng: random.Random, counts: Counts, done: Callable[[], None]) -> None:
    """Damage so many files, whole ones of every sort in turn."""
    home.mkdir()
    sorts = [(False, True), (True, False), (False, False), (True, True)][: max(2, number // 5)]
    wholes = [
        make_whole(helper, home / f"whole-{sealed}-{killed}", rng, sealed=sealed, killed=killed) for sealed, killed in sorts
    ]
    for tried in range(number):
        damaged = Damaged(helper, home / f"damaged-{tried}", wholes[tried % len(wholes)], rng, counts)
        seen = len(counts.seen)
        damaged.try_it()
        if len(counts.seen) == seen:
            damaged.remove()
        done()
