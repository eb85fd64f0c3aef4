"""How the figures of a run get into `docs/reliability.md`: each trial has one section there, of its latest published run,
and a row of the table before them.

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
    texts = [text for _, text in sorted(sections.items())]
    written = "".join(f"\n{text}\n" for text in (_overview(texts), *texts)) if texts else ""
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def section(outcome: Outcome, *, machine: str) -> str:
    """Write what was done, when, from which seed and on what, and what came of it."""
    form = "long form" if outcome.long else "short form"
    run = f"{outcome.began:%-d %B %Y, %H:%M} UTC, {form}, seed {outcome.seed}, {_length(outcome.took)}; {machine}."
    head = [f"### {outcome.trial.number} {outcome.trial.name}", "", outcome.trial.what, "", run, ""]
    return "\n".join([*head, *markdown(outcome.figures)])


def _overview(sections: Iterable[str]) -> str:
    """Write a table with a row for each section: what is done there, how many gates it has, and how many held."""
    rows = ["| trial | what is done | gates held | run |", "| --- | --- | --- | --- |"]
    for text in sections:
        head, _, what, _, run, *_ = text.splitlines()
        title = head.removeprefix("### ")
        values = [row.split(" | ")[1] for row in text.splitlines() if row.startswith("| ") and _has_gate(row)]
        held = sum(not value.endswith("NOT HELD") for value in values)
        row = (f"[{title}](#{title.replace(' ', '-')})", what, f"{held} of {len(values)}", run.partition(";")[0])
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def _has_gate(row: str) -> bool:
    return " | at most " in row or " | at least " in row


def _sections(text: str) -> dict[tuple[int, str], str]:
    found = ((_HEAD.match(part), part.strip()) for part in re.split(r"^(?=### )", text, flags=re.MULTILINE))
    return {(int(head[1]), head[2]): part for head, part in found if head is not None}


def _length(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
