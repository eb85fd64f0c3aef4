"""`python -m tests.trials`: run trials, with a bar and a table each, and say how to repeat what did not hold.

python -m tests.trials                                   # all of them, in their long forms
python -m tests.trials poison --short --seed 4711
python -m tests.trials hostile_text --publish            # its figures go into docs/reliability.md
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bot.progress import progress_bar
from tests.trials.every import every, named
from tests.trials.machine import this_machine
from tests.trials.publishing import published
from tests.trials.running import Outcome, any_seed, run_trial
from tests.trials.table import lines
from tests.trials.trial import Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main(arguments: Sequence[str], console: Console) -> int:
    """Run what is asked for; return 1 when something did not hold."""
    asked = _read(arguments)
    try:
        trials = [named(name) for name in asked.names] or every()
    except LookupError as exc:
        console.print(str(exc.args[0]), markup=False, soft_wrap=True)
        return os.EX_USAGE
    if asked.list:
        for trial in trials:
            console.print(
                f"{trial.number:>3}  {trial.name:<20}  {trial.what}", markup=False, highlight=False, soft_wrap=True
            )
        return 0
    seed = any_seed() if asked.seed is None else asked.seed
    outcomes = [_run(trial, console, seed=seed, long=not asked.short) for trial in trials]
    if asked.publish:
        document = published(DOCUMENT.read_text(), outcomes, machine=this_machine())
        DOCUMENT.write_text(document)
    broken = [outcome for outcome in outcomes if not outcome.held]
    for outcome in broken:
        _say(console, f"{outcome.trial.name} did not hold; what it left: {outcome.left}; once more: {outcome.again}")
    return 1 if broken else 0


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="python -m tests.trials", description="Do harm to Parley and count what comes of it."
    )
    options.add_argument("names", nargs="*", metavar="NAME", help="which trials; all by default")
    options.add_argument("--list", action="store_true", help="name them, and run none")
    length = options.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help="as in `make test`")
    length.add_argument("--long", action="store_true", help="the default")
    options.add_argument("--seed", type=int, help="the seed of a run to repeat; a new one each time by default")
    options.add_argument("--publish", action="store_true", help="write the figures into docs/reliability.md")
    return options.parse_args(arguments)


def _run(trial: Trial, console: Console, *, seed: int, long: bool) -> Outcome:
    _say(console, f"{trial.number} {trial.name}: {trial.what}")
    with progress_bar(trial.name, console) as progress:
        outcome = run_trial(trial, seed=seed, long=long, progress=progress)
    if outcome.figures:
        _say(console, "\n".join(f"  {line}" for line in lines(outcome.figures)))
    if outcome.seen:
        _say(console, outcome.seen)
    _say(console, f"  seed {seed}, {outcome.took.total_seconds():.0f} s\n")
    return outcome


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    # Platforms stand in this process, with up to 100,000 messages: its own garbage would be looked for at the bot's expense.
    gc.set_threshold(100_000, 50, 50)
    sys.exit(main(sys.argv[1:], Console()))
