"""Every trial in its short form, as people run it: each of its figures stays within its gates.

They mostly wait, so two of them run at a time: one after the other they took seven minutes.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.trials.every import every
from tests.trials.trial import Trial

pytestmark = pytest.mark.trial

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
PATIENCE_SECONDS = 400

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Mapping[str, "Future[Run]"]]:
    """Begin all that are asked for, and name their ends."""
    seed: int | None = request.config.getoption("--trial-seed")
    asked = [item.callspec.params["trial"] for item in request.session.items if item.path == Path(__file__)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {trial.name: pool.submit(_run, trial, seed) for trial in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("trial", every(), ids=lambda trial: trial.name)
def test_every_figure_stays_within_its_gates(
    trial: Trial, runs: Mapping[str, "Future[Run]"], report: Callable[[str], None]
) -> None:
    run = runs[trial.name].result()
    report(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    assert not run.stderr, "something was not closed, or went wrong unseen"


def _run(trial: Trial, seed: int | None) -> Run:
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.trials", trial.name, "--short"]
    chosen = [] if seed is None else ["--seed", str(seed)]
    return subprocess.run(
        [*command, *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
        check=False,
    )
