"""The kill trial: somebody talks to `parley chat` and kills it at random moments; nothing may be lost, doubled or left half.

A life is one run of the command. What is not in the store after a kill was never taken and is said again, as a person would.
A turn that was killed twice is let finish: three crashes of one turn set it aside, which is a promise of its own
(`test_kills.py`). The seed decides all choices; how far a life has come when it is killed is up to the machine.
"""

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import ne
from pathlib import Path

from tests.e2e.ledger import Ledger, read_ledger
from tests.e2e.zygote import Life, Zygote

NOT_TAKEN, WAITING, THINKING, STREAMING, DELIVERING, DELIVERED = PHASES = (
    "before the message is taken",
    "taken, before its turn begins",
    "before the first word is recorded",
    "in the middle of the answer",
    "finished, not yet delivered",
    "after the delivery",
)
LONGEST_LIFE_SECONDS = 0.2
"""Within it a life on an idle machine opens the store, takes a message and answers it."""


def answer_to(text: str) -> str:
    return f"You asked: {text}"


@dataclass
class Trial:
    """One conversation, and what the person in it knows."""

    name: str
    zygote: Zygote
    directory: Path
    seed: int
    said: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    resumed: list[float] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/{self.name}")
        self._seen: set[str] = set()

    @property
    def kills(self) -> int:
        return self.phases.total()

    def run(self, kills: int) -> None:
        """Live and die until there were so many kills, then answer what is left."""
        while self.kills < kills:
            assert self.lives < 20 * kills, "hardly a life can be killed"
            self._live()
        self._live(in_peace=True)

    def _live(self, *, in_peace: bool = False) -> None:
        unsaid = self._choose_lines(in_peace=in_peace)
        resumes = [said.text for said in self.ledger.said if said.turn in {turn.id for turn in self.ledger.open}]
        tired = any(turn.attempts >= 2 for turn in self.ledger.open)
        expected = "".join(f"{answer_to(text)}\n" for text in [*resumes, *unsaid])
        self.lives += 1
        life = self.zygote.start(self.directory, "chat")
        life.say(*unsaid)
        close_at_once = self._rng.random() < 0.7
        if close_at_once or in_peace or tired:
            life.no_more()
        if in_peace or tired or self._rng.random() < 0.1:
            killed = self._let_finish(life, answer_to(resumes[0]) if resumes else "")
        else:
            killed = self._kill(life, len(expected))
        self._check(life, expected, killed=killed)

    def _choose_lines(self, *, in_peace: bool) -> list[str]:
        """Say again what was not taken, and mostly something new besides."""
        news = 0 if in_peace else self._rng.choices((0, 1, 2), (20, 70, 10))[0]
        for _ in range(news):
            self.said.append(f"question {self.name}{len(self.said) + 1}: what is {self._rng.randrange(10**6)} to you?")
        return self.said[len(self.ledger.said) :]

    def _let_finish(self, life: Life, resumed: str) -> bool:
        life.no_more()
        if resumed:
            life.read_until(lambda life: resumed in life.text)
            self.resumed.append(life.seconds)
        code = life.ended()
        assert code == 0, f"a life that was let finish ended with {code}"
        return False

    def _kill(self, life: Life, characters: int) -> bool:
        """Wait for a random moment: one of its whole life, or one around a random word of its answers."""
        if self._rng.random() < 0.4 or not characters:
            life.read_for(self._rng.uniform(0, LONGEST_LIFE_SECONDS))
        else:
            enough = self._rng.randrange(characters)
            life.read_until(lambda life: len(life.output) > enough)
            life.read_for(self._rng.choice((0, self._rng.uniform(0, 0.06))))
        return life.kill()

    def _check(self, life: Life, expected: str, *, killed: bool) -> None:
        """Hold the store against what was said and seen; `expected` is what a whole life would have written."""
        before, after = self.ledger, read_ledger(self.directory / "parley.db")
        self.ledger = after
        where = f"(seed {self.seed}, life {self.name}{self.lives})"
        assert after.texts == self.said[: len(after.said)], f"lost, doubled or out of order {where}"
        assert len(after.said) >= len(before.said), f"lost {where}"
        assert after.strays == 0, f"an answer stands behind no message {where}"
        assert len(after.open) <= 1, f"two turns of one conversation are open {where}"
        for said in after.said:
            turn = next(turn for turn in after.turns if turn.id == said.turn)
            answered = said.answers == ((answer_to(said.text), "complete"),)
            assert answered or (turn.state in ("queued", "running") and not said.answers), f"{said} {turn} {where}"
            assert turn.open or turn.state == "done", f"{turn} {where}"
        assert expected.startswith(life.text), f"{life.text!r} is not the beginning of {expected!r} {where}"
        self._seen.update(life.text.splitlines(keepends=True))
        whole = {line.removeprefix(answer_to("")).rstrip("\n") for line in self._seen if line.endswith("\n")}
        assert whole <= set(after.texts), f"answered and not kept {where}"
        if killed:
            self.phases[self._phase(before)] += 1
        else:
            assert life.text == expected, f"{life.text!r} is not {expected!r} {where}"
            assert not after.open, f"left open by a life that finished {where}"
            assert after.texts == self.said, f"not taken by a life that finished {where}"

    def _phase(self, before: Ledger) -> str:
        """Tell from the store how far the newest message had come."""
        if self.ledger.open:
            turn = self.ledger.open[0]
            if turn.state == "delivering":
                return DELIVERING
            if turn.attempts == 0:
                return WAITING
            return STREAMING if turn.shown else THINKING
        if len(self.ledger.said) < len(self.said):
            return NOT_TAKEN
        return DELIVERED

    @property
    def orphans(self) -> list[str]:
        """The messages that have not exactly their one whole answer."""
        return [said.text for said in self.ledger.said if said.answers != ((answer_to(said.text), "complete"),)]


def table(trials: Sequence[Trial], *, calls: int, seed: int) -> str:
    """Sum up what can be read from the stores; `calls` is how often the model was asked by its own account."""
    phases = sum((trial.phases for trial in trials), Counter[str]())
    resumed = [seconds for trial in trials for seconds in trial.resumed] or [0.0]
    texts = [trial.ledger.texts for trial in trials]
    turns = sum(len(trial.ledger.turns) for trial in trials)
    rows: list[tuple[str, object]] = [
        ("kills", phases.total()),
        *((f"  {phase}", phases[phase]) for phase in PHASES),
        ("lives", sum(trial.lives for trial in trials)),
        ("turns", turns),
        ("lost", sum(len({*trial.said} - {*trial.ledger.texts}) for trial in trials)),
        ("duplicated", sum(len(said) - len(set(said)) for said in texts)),
        ("out of order", sum(map(ne, chain(*texts), chain(*(trial.said for trial in trials))))),
        ("orphans: messages without their one whole answer", sum(len(trial.orphans) for trial in trials)),
        ("model calls beyond one a turn", calls - turns),
        ("restart to resumed answer, median", f"{statistics.median(resumed):.3f} s"),
        ("restart to resumed answer, longest", f"{max(resumed):.3f} s"),
    ]
    return "\n".join([f"kill trial, --trial-seed {seed}", *(f"  {name:<50}{value:>9}" for name, value in rows)])
