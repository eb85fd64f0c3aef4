"""All trials: the modules of this room that have a `TRIAL`."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.trials.trial import Trial


def every() -> list[Trial]:
    """Return all trials in the order of their numbers."""
    found = [trial for trial in map(_trial_in, _modules()) if trial is not None]
    return sorted(found, key=lambda trial: (trial.number, trial.name))


def named(name: str) -> Trial:
    """Return one trial, whatever state the others are in.

    Raises:
        LookupError: there is none of this name.
    """
    trial = _trial_in(name) if name in _modules() else None
    if trial is None:
        raise LookupError(f"there is no trial {name!r}; `python -m tests.trials --list` names them")
    return trial


def _modules() -> Iterator[str]:
    names = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return (name for name in names if not name.startswith(("test_", "__")))


def _trial_in(module: str) -> Trial | None:
    trial: Trial | None = getattr(import_module(f"tests.trials.{module}"), "TRIAL", None)
    return trial
