"""Trial 8: the disk is full, the file locked, read-only or damaged, the database stopped, and people go on talking."""

import contextlib
import itertools
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bot import exits
from bot.chat.words import STORE_AWAY
from tests.e2e.bots import Bot, bot_in
from tests.e2e.ledger import Ledger, read_database, read_ledger
from tests.e2e.servers import Model, model_server
from tests.e2e.shell import Shell, locked, unprivileged
from tests.e2e.zygote import Zygote, zygote
from tests.engines.postgres import PostgresServer, Shutdown
from tests.trials.damages import STARTS, damage
from tests.trials.damages import Counts as Damages
from tests.trials.rooms import DiscordRooms, Rooms, SlackRooms, begin
from tests.trials.tally import Tally
from tests.trials.trial import Figure, Ground, Trial

PLACES = 3
GATE = timedelta(seconds=10)
"""So long after a trouble is over somebody is answered, at the latest."""
ROOM_LEFT = 40_000
"""Bytes that a full disk has left, at most."""
LINES = 30

Trouble = AbstractContextManager[None]


@dataclass
class Counts(Tally):
    """What was seen in all troubles."""

    troubles: Counter[str] = field(default_factory=Counter)
    said: int = 0
    not_kept: int = 0
    """Answered, or acknowledged to who said it, and not in the store."""
    ill_answered: int = 0
    ends: int = 0
    """Processes that came to their end, and were looked at."""
    crashed: int = 0
    touched: int = 0
    recoveries: list[float] = field(default_factory=list)


def _full_in_a_pipe(helper: Zygote, home: Path, rng: random.Random, counts: Counts) -> None:
    """Let the disk be full at a random write of `parley chat`, then let there be room again."""
    home.mkdir()
    shell = Shell(helper, home, LLM_PROVIDER="echo")
    shell.chat("before")
    lines = [f"{number} " + "x" * rng.choice((10, 3000, 15_000)) for number in range(LINES)]
    room = rng.randrange(sum(map(len, lines)) * 2)
    done = shell.chat(*lines, file_bytes=shell.store.stat().st_size + room)
    counts.troubles["disk full, chat"] += 1
    counts.said += len(lines)
    counts.ends += 1
    if done.code not in (0, exits.BUSY) or "Traceback" in done.err + done.out:
        counts.wrong("crashed", f"full disk with {room} bytes left ({home}): ended with {done.code}: {done.err[-300:]}")
    told = [line.removeprefix("You said: ") for line in done.out.splitlines() if line.startswith("You said: ")]
    kept = read_ledger(shell.store).texts
    if lost := set(told) - set(kept):
        counts.wrong("not_kept", f"full disk with {room} bytes left ({home}): answered and not kept", len(lost))
    if kept[1:] != lines[: len(kept) - 1]:
        counts.wrong("ill_answered", f"full disk with {room} bytes left ({home}): not kept in order")
    began = time.monotonic()
    after = shell.chat("after")
    counts.recoveries.append(time.monotonic() - began)
    ledger = read_ledger(shell.store)
    whole = ledger.texts[-1] == "after" and all(
        said.answers == ((f"You said: {said.text}", "complete"),) for said in ledger.said
    )
    if after.code != 0 or ledger.open or not whole:
        counts.wrong("ill_answered", f"full disk with {room} bytes left ({home}): not all answered afterwards, {after.code}")


def _refused(helper: Zygote, home: Path, counts: Counts) -> None:
    """Start on a file that may not be written, and on one that another program keeps locked."""
    home.mkdir()
    shell = Shell(helper, home, LLM_PROVIDER="echo")
    shell.chat("before")
    with locked(shell.store):
        before = shell.store.read_bytes()
        done = shell.chat("hello")
        _check_refusal("locked, chat", done.code, done.out + done.err, exits.BUSY, counts)
        if shell.store.read_bytes() != before:
            counts.wrong("touched", "a locked file was written to")
    shell.give_away()
    shell.store.chmod(0o444)
    before = shell.store.read_bytes()
    for _ in range(2):
        done = shell.chat("hello", uid=unprivileged())
        _check_refusal("read-only, chat", done.code, done.err, exits.CONFIG, counts)
    if shell.store.read_bytes() != before:
        counts.wrong("touched", "a read-only file was written to")
    shell.store.chmod(0o644)
    began = time.monotonic()
    if shell.chat("after").out.splitlines()[-1:] != ["You said: after"]:
        counts.wrong("ill_answered", "not answered once the file may be written")
    counts.recoveries.append(time.monotonic() - began)


def _check_refusal(kind: str, code: int, told: str, expected: int, counts: Counts) -> None:
    counts.troubles[kind] += 1
    counts.ends += 1
    if code != expected or len(told.splitlines()) != 1 or "Traceback" in told:
        counts.wrong("crashed", f"{kind}: ended with {code}: {told[-300:]}")


class Talk:
    """`parley run` on a platform, with troubles while people talk to it."""

    def __init__(self, platform: Rooms, bot: Bot, ledger: Callable[[], Ledger], counts: Counts) -> None:
        self._platform = platform
        self._bot = bot
        self._ledger = ledger
        self._counts = counts
        self._numbers = itertools.count(1)
        self._rooms = [platform.room(f"room{number}") for number in range(PLACES)]
        self._said: list[list[str]] = [[] for _ in self._rooms]

    def begin(self) -> None:
        begin(self._bot, self._platform)
        self._speak()
        self._wait_answered("at the beginning")

    def go_through(self, kind: str, trouble: Trouble, lasting: float) -> None:
        """Talk while something is wrong, and a last time when it is over."""
        self._counts.troubles[kind] += 1
        with trouble:
            self._speak()
            assert self._bot.life is not None
            if not self._bot.life.read_for(lasting):
                self._counts.wrong("crashed", f"{kind}: parley run ended: {self._bot.errors[-500:]}")
                self._bot.life.ended()
                begin(self._bot, self._platform)
        over, news = time.monotonic(), [text for said in self._said for text in said[-1:]]
        self._speak()
        news += [text for said in self._said for text in said[-1:]]
        self._platform.until(lambda: any(text in shown for text in news for shown in self._shown()))
        self._counts.recoveries.append(time.monotonic() - over)
        self._wait_answered(kind)

    def end(self) -> None:
        """Stop it, and compare what was said, kept and shown."""
        code = self._bot.stop()
        self._counts.ends += 1
        if code != 0 or "Traceback" in self._bot.errors:
            self._counts.wrong("crashed", f"parley run ended with {code}, or told a traceback: {self._bot.errors[-500:]}")
        ledger = self._ledger()
        if missing := Counter(text for said in self._said for text in said) - Counter(ledger.texts):
            self._counts.wrong("not_kept", f"not kept: {sorted(missing)}", missing.total())
        if len(ledger.texts) > len(set(ledger.texts)) or ledger.open:
            self._counts.wrong("ill_answered", "kept twice, or a turn is open in the end")
        # What was said while an answer was on its way is answered together, behind the last of it.
        answered = {said.turn for said in ledger.said if said.answers}
        answers = Counter(text for said in ledger.said for text, _ in said.answers)
        without = [said.text for said in ledger.said if said.turn not in answered]
        shown = Counter(self._shown())
        if without or answers != shown or any(number > 1 for number in answers.values()):
            odd = (answers - shown) + (shown - answers)
            self._counts.wrong("ill_answered", f"without an answer {without}, not shown as kept {dict(odd)}")

    def _shown(self) -> list[str]:
        """All that the bot shows but that it can't keep anything, which it may say."""
        return [shown for room in self._rooms for shown in room.shown() if shown != STORE_AWAY]

    def _speak(self) -> None:
        for place, said in enumerate(self._said):
            said.append(f"question {next(self._numbers)}.")
            self._rooms[place].say(said[-1])
            self._counts.said += 1

    def _wait_answered(self, when: str) -> None:
        said = {text for said in self._said for text in said}

        def all_settled() -> bool:
            with contextlib.suppress(AssertionError):  # a file that is written to while it is copied
                ledger = self._ledger()
                return said <= set(ledger.texts) and not ledger.open
            return False

        try:
            self._platform.until(all_settled)
        except (AssertionError, TimeoutError):
            self._counts.wrong("ill_answered", f"{when}: not all were answered: {self._bot.errors[-1500:]}")


@contextlib.contextmanager
def _no_room(bot: Bot, rng: random.Random) -> Iterator[None]:
    """Let the process write no file beyond a size that it has almost reached."""
    assert bot.life is not None
    largest = max(path.stat().st_size for path in bot.store.parent.glob("parley.db*"))
    _, hard = resource.prlimit(bot.life.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(bot.life.pid, resource.RLIMIT_FSIZE, (largest + rng.randrange(ROOM_LEFT), hard))
    try:
        yield
    finally:
        resource.prlimit(bot.life.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def _stopped(server: PostgresServer, rng: random.Random) -> Iterator[None]:
    server.stop(rng.choice((Shutdown.FAST, Shutdown.IMMEDIATE)))
    try:
        yield
    finally:
        server.start()


def _on_platforms(
    helper: Zygote, home: Path, model: Model, rng: random.Random, rounds: int, counts: Counts, done: Callable[[], None]
) -> None:
    """Go through troubles of a file, then those of a database."""
    with SlackRooms() as slack, bot_in(helper, home / "file", {**model.env, **slack.env}) as bot:
        talk = Talk(slack, bot, lambda: read_ledger(bot.store), counts)
        talk.begin()
        for number in range(rounds):
            if number % 2:
                talk.go_through("locked, run", locked(bot.store), rng.uniform(0.5, 8))
            else:
                talk.go_through("disk full, run", _no_room(bot, rng), rng.uniform(0.5, 4))
            done()
        talk.end()
    # Synced for each commit, as in earnest: a server that is stopped at once keeps what it has told.
    if rounds < 2:
        return
    with PostgresServer.made() as server, DiscordRooms() as discord:
        url = server.database()
        env = {**model.env, **discord.env, "DATABASE_URL": url}
        with bot_in(helper, home / "server", env) as bot:
            talk = Talk(discord, bot, lambda: read_database(url), counts)
            talk.begin()
            for _ in range(rounds // 2):
                talk.go_through("PostgreSQL stopped, run", _stopped(server, rng), rng.uniform(0.5, 8))
                done()
            talk.end()


def run(ground: Ground) -> Sequence[Figure]:
    """Damaged files, full disks in a pipe, then troubles of a bot that goes on."""
    files, pipes, rounds = (200, 60, 20) if ground.long else (5, 1, 1)
    steps, total = itertools.count(1), files + pipes + rounds + rounds // 2

    def done() -> None:
        ground.progress(next(steps), total)

    counts, damages = Counts(), Damages()
    home = ground.directory
    (home / "helper").mkdir()
    with (
        zygote({"HOME": str(home / "helper")}, stderr=home / "stderr") as helper,
        model_server(home, delay_ms=3) as model,
    ):
        damage(helper, home / "damaged", files, ground.rng("damage"), damages, done)
        for number in range(pipes):
            _full_in_a_pipe(helper, home / f"full-{number}", ground.rng("full", number), counts)
            done()
        if ground.long:  # it takes the 5 s for which another program's lock is waited for
            _refused(helper, home / "refused", counts)
        (home / "run").mkdir()
        _on_platforms(helper, home / "run", model, ground.rng("run"), rounds, counts, done)
    for words in counts.seen + damages.seen:
        print(words)  # noqa: T201 - what a run that did not hold has to say
    return [
        Figure(name="damaged files", value=damages.files, at_least=files),
        Figure(name="  of them refused", value=damages.refused),
        Figure(name="  of them served, since nothing of it matters", value=damages.served),
        Figure(name="originals touched", value=damages.touched + counts.touched, at_most=0, of=damages.files),
        Figure(name="damaged files served with a loss", value=damages.lost, at_most=0, of=damages.files),
        Figure(name="sealed texts changed unnoticed", value=damages.changed_sealed, at_most=0, of=damages.sealed),
        Figure(name="files with an unsealed text changed unnoticed", value=damages.changed_plain),
        *(Figure(name=f"troubles: {kind}", value=number, at_least=1) for kind, number in counts.troubles.items()),
        Figure(name="acknowledged and not kept", value=counts.not_kept, at_most=0, of=counts.said),
        Figure(name="not answered exactly once", value=counts.ill_answered, at_most=0, of=counts.said),
        Figure(name="answered wrongly on a damaged file", value=damages.answered_wrongly, at_most=0, of=damages.files),
        Figure(
            name="ends other than one plain line and its code",
            value=counts.crashed + damages.crashed,
            at_most=0,
            of=counts.ends + STARTS * damages.files,
        ),
        Figure(name="crash loops", value=damages.loops, at_most=0, of=damages.files),
        Figure(
            name="trouble over to the first answer, longest",
            value=max(counts.recoveries),
            unit="s",
            at_most=GATE.total_seconds(),
        ),
    ]


TRIAL = Trial(
    number=8,
    name="store_misbehaves",
    what="The disk is full, the file locked, read-only or damaged, or PostgreSQL stopped, while people talk to the bot.",
    run=run,
)
