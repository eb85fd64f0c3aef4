"""Every trial in its short form: each of its figures stays within its gates."""

from collections.abc import Callable

import pytest

from tests.trials.every import every
from tests.trials.running import any_seed, run_trial
from tests.trials.table import lines
from tests.trials.trial import Trial

pytestmark = pytest.mark.trial


@pytest.mark.parametrize("trial", every(), ids=lambda trial: trial.name)
def test_every_figure_stays_within_its_gates(
    trial: Trial, request: pytest.FixtureRequest, report: Callable[[str], None]
) -> None:
    given: int | None = request.config.getoption("--trial-seed")
    outcome = run_trial(trial, seed=any_seed() if given is None else given, long=False)
    head = f"{trial.number} {trial.name}, --trial-seed {outcome.seed}, {outcome.took.total_seconds():.0f} s"
    report("\n".join([head, *(f"  {line}" for line in lines(outcome.figures))]))
    assert outcome.held, f"{outcome.seen}\n{outcome.again}; it left {outcome.left}"
