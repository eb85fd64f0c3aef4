"""How a trial is run: in a directory of its own, from a seed, and whatever happens to it comes out as an outcome."""

import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.trials.logged import logged_to
from tests.trials.trial import Figure, Ground, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run: its figures, or why there are none, with the trace of where."""

    trial: Trial
    seed: int
    long: bool
    began: datetime
    took: timedelta
    figures: tuple[Figure, ...] = ()
    failure: str = ""
    trace: str = ""
    left: Path | None = None
    """What a run that did not hold worked with and logged, for whoever looks into it."""

    @property
    def held(self) -> bool:
        """It came to its end, and every figure stays within its gates."""
        return not self.failure and all(figure.held for figure in self.figures)

    @property
    def seen(self) -> str:
        """What was seen of what did not hold, line by line."""
        lines = [f"{figure.name}: {text}" for figure in self.figures if not figure.held for text in figure.seen]
        return "\n".join([*filter(None, (self.trace, self.failure)), *lines])

    @property
    def again(self) -> str:
        """The command that makes the same choices again."""
        return f"python -m tests.trials {self.trial.name} --seed {self.seed}{'' if self.long else ' --short'}"


def any_seed() -> int:
    """Choose a seed that is easy to type."""
    return random.randrange(10**9)


def run_trial(
    trial: Trial, *, seed: int, long: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> Outcome:
    """Run a trial to its end; nothing that it raises comes out, but what the user does."""
    began, clock, home = datetime.now(UTC), time.monotonic(), Path(tempfile.mkdtemp(prefix=f"parley-{trial.name}-"))
    (directory := home / "ground").mkdir()
    figures: tuple[Figure, ...] = ()
    failure = trace = ""
    try:
        with (home / "log").open("w") as log, logged_to(log):
            figures = tuple(trial.run(Ground(directory=directory, seed=seed, long=long, progress=progress)))
    except Exception as exc:  # noqa: BLE001 - the other trials go on
        failure, trace = f"{type(exc).__name__}: {exc}", traceback.format_exc()
    else:
        if not figures:
            failure = "it counted nothing"
    broken = bool(failure) or not all(figure.held for figure in figures)
    if not broken:
        shutil.rmtree(home, ignore_errors=True)
    return Outcome(
        trial=trial,
        seed=seed,
        long=long,
        began=began,
        took=timedelta(seconds=time.monotonic() - clock),
        figures=figures,
        failure=failure,
        trace=trace,
        left=home if broken else None,
    )
