"""`parley run` on a platform, as a process that is killed again and again while people write."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tests.e2e.ledger import Ledger, read_ledger
from tests.e2e.zygote import Life, Zygote

WITHIN = timedelta(seconds=30)
"""How long something is waited for that must come; only a failing test waits that long."""
PLACES = 5
"""Channels that a kill trial talks in, one person each."""
LONGEST_LIFE_SECONDS = 4.0
"""Within it a life connects, reads what was missed and answers some of it. Slack lets an app connect and edit 50 times a
minute, so lives must be two seconds on average."""
SHARE = 20
"""One kill of so many that `--trial-kills` asks for: a life on a platform takes longer than one at the terminal."""


class Bot:
    """`parley run` with its store, which lives on when the process ends."""

    def __init__(self, helper: Zygote, directory: Path, env: dict[str, str]) -> None:
        self._helper = helper
        self._directory = directory
        self._env = env
        self._started = 0
        self.life: Life | None = None

    @property
    def store(self) -> Path:
        return self._directory / "parley.db"

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.store)

    @property
    def errors(self) -> str:
        written = self._directory / "stderr"
        return written.read_text() if written.exists() else ""

    def start(self, **env: str) -> Life:
        self._started = self.errors.count('"app.started"')
        self.life = self._helper.start(self._directory, "run", stderr=self._directory / "stderr", env={**self._env, **env})
        return self.life

    def kill(self) -> None:
        assert self.life is not None
        self.life.kill()

    def stop(self) -> int:
        assert self.life is not None
        # Before that it is no more than a Python that starts, and dies of the signal as such.
        assert self.life.read_until(lambda life: self.errors.count('"app.started"') > self._started)
        os.kill(self.life.pid, signal.SIGTERM)
        return self.life.ended()


@contextmanager
def bot_in(helper: Zygote, directory: Path, env: dict[str, str]) -> Iterator[Bot]:
    """Make a bot that lives in `directory`; what still runs in the end is killed."""
    directory.mkdir()
    running = Bot(helper, directory, {**env, "HTTP_PORT": "0", "LOG_LEVEL": "INFO"})
    try:
        yield running
    finally:
        if running.life is not None and not running.life._ended:
            running.kill()


def kill_at_random(bot: Bot, say: Callable[[int, str], None], *, kills: int, seed: int) -> list[str]:
    """Say something in one of `PLACES` and kill the bot at a random moment, again and again; return what was said."""
    rng = random.Random(seed)
    said = []
    for number in range(kills):
        said.append(f"question {number}")
        say(rng.randrange(PLACES), said[-1])
        assert bot.life is not None
        bot.life.read_for(rng.uniform(0, LONGEST_LIFE_SECONDS))
        bot.kill()
        bot.start()
    return said


def settled(bot: Bot, said: list[str]) -> bool:
    """Tell whether everything that was said is stored, and no turn is open."""
    ledger = bot.ledger
    return sorted(ledger.texts) == sorted(said) and not ledger.open


def kill_report(platform: str, bot: Bot, said: list[str], shown: list[str], *, seed: int, began: float) -> str:
    """Say in a line what a trial came to; `shown` are the answers that people see."""
    kept = [text for line in bot.ledger.said for text, _ in line.answers]
    lost, missing, twice = set(said) - set(bot.ledger.texts), set(kept) - set(shown), len(shown) - len(set(shown))
    return (
        f"kill trial on {platform}, --trial-seed {seed}: {len(said)} kills and questions, {len(bot.ledger.turns)} turns, "
        f"{len(lost)} lost, {len(missing)} answers not shown, {twice} shown twice, {time.monotonic() - began:.0f} s"
    )
