"""How the figures of a run get into `docs/reliability.md`: each trial has one section there, of its latest published run.

What stands outside the two markers is people's, and stays.
"""

import re
from collections.abc import Iterable
from datetime import timedelta

from tests.trials.running import Outcome
from tests.trials.table import markdown

BEGIN, END = "<!-- trials: `make trials` writes what follows -->", "<!-- the end of the trials -->"
_HEAD = re.compile(r"### (\d+) (\w+)\n")


def published(document: str, outcomes: Iterable[Outcome], *, machine: str) -> str:
    """Return the document with the figures of these runs in the place of older ones of the same trials.

    Raises:
        ValueError: the document has not exactly the two markers, in their order.
    """
    before, begin, rest = document.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise ValueError(f"the document must have the lines {BEGIN!r} and {END!r} once each, in this order")
    sections = _sections(old) | {
        (outcome.trial.number, outcome.trial.name): section(outcome, machine=machine)
        for outcome in outcomes
        if outcome.figures
    }
    written = "".join(f"\n{text}\n" for _, text in sorted(sections.items()))
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def section(outcome: Outcome, *, machine: str) -> str:
    """Write what was done, when, from which seed and on what, and what came of it."""
    form = "long form" if outcome.long else "short form"
    run = f"{outcome.began:%-d %B %Y, %H:%M} UTC, {form}, seed {outcome.seed}, {_length(outcome.took)}; {machine}."
    head = [f"### {outcome.trial.number} {outcome.trial.name}", "", outcome.trial.what, "", run, ""]
    return "\n".join([*head, *markdown(outcome.figures)])


def _sections(text: str) -> dict[tuple[int, str], str]:
    found = ((_HEAD.match(part), part.strip()) for part in re.split(r"^(?=### )", text, flags=re.MULTILINE))
    return {(int(head[1]), head[2]): part for head, part in found if head is not None}


def _length(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
