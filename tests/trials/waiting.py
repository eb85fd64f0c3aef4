"""What a trial waits for."""

import time
from collections.abc import Callable
from datetime import timedelta

from tests.trials.stages import PATIENCE, Places


def wait_for(
    holds: Callable[[], object],
    *,
    within: timedelta = PATIENCE,
    pause: float = 0.05,
    told: Callable[[], str] = lambda: "",
) -> float:
    """Wait until something holds, and return how many seconds that took; `told` says what was seen when it never does."""
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        assert waited < within.total_seconds(), f"this did not come to hold within {within}: {told()}"
        time.sleep(pause)
    return time.monotonic() - began


def wait_for_answers(stage: Places) -> None:
    """Wait until whole answers repeat what was said last in each place."""
    wait_for(lambda: not _unanswered(stage), told=lambda: str(_unanswered(stage)))


def _unanswered(stage: Places) -> list[str]:
    last = [(place, said[-1]) for place in range(stage.places) if (said := stage.said(place))]
    return [text for place, text in last if not any(shown.endswith(text) for shown in stage.shown(place))]
