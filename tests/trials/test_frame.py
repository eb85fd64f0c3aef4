"""The frame of the trials: what they count is judged, told, repeated by its seed, and published once each."""

import io
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from tests.trials import __main__ as command
from tests.trials.every import every, named
from tests.trials.machine import this_machine
from tests.trials.publishing import BEGIN, END, published
from tests.trials.running import Outcome, run_trial
from tests.trials.table import cells, lines
from tests.trials.trial import Figure, Ground, Trial

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LOST = Figure(name="lost", value=0, at_most=0, of=1000)
DOCUMENT = f"# Reliability\n\n{BEGIN}\n\n{END}\n\nWhat people wrote.\n"


def trial(name: str = "storm", number: int = 3, run: Callable[[Ground], list[Figure]] = lambda ground: [LOST]) -> Trial:
    return Trial(number=number, name=name, what="It storms.", run=run)


def outcome(name: str = "storm", number: int = 3, *, seed: int = 7, **changes: object) -> Outcome:
    took, figures = timedelta(seconds=90), (LOST,)
    made = Outcome(trial=trial(name, number), seed=seed, long=True, began=NOON, took=took, figures=figures)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "held"),
    [
        (0, None, 0, True),
        (1, None, 0, False),
        (30, 30, None, True),
        (29, 30, None, False),
        (99, None, None, True),
        (5, 1, 4, False),
    ],
)
def test_a_figure_holds_within_its_gates(value: float, at_least: float | None, at_most: float | None, held: bool) -> None:
    assert Figure(name="n", value=value, at_least=at_least, at_most=at_most, of=1000).held is held


def test_beside_a_zero_stands_how_rare_it_must_be() -> None:
    assert cells(LOST) == ("lost", "0 of 1,000", "at most 0", "below 0.3 %")
    assert Figure(name="n", value=0, of=2).bound == 1.0, "two tries prove nothing"


def test_one_failure_or_no_tries_have_no_such_bound() -> None:
    assert replace(LOST, value=1).bound is None
    assert replace(LOST, of=0).bound is None
    assert Figure(name="n", value=0).bound is None


def test_a_count_that_must_be_0_says_out_of_how_many() -> None:
    with pytest.raises(ValueError, match="'lost' must be 0"):
        replace(LOST, of=None)
    assert Figure(name="exit code", value=0, at_least=0, at_most=0).bound is None, "one number is no count"


def test_a_figure_beyond_its_gate_says_so_in_its_unit() -> None:
    late = Figure(name="resumed, longest", value=5.125, unit="s", at_most=5)
    assert cells(late) == ("resumed, longest", "5.12 s, NOT HELD", "at most 5 s", "")
    assert lines((LOST, late))[2].startswith("resumed, longest  5.12 s, NOT HELD")


def test_a_seed_repeats_its_choices_and_another_makes_others(tmp_path: Path) -> None:
    def choices(seed: int, *names: object) -> list[int]:
        rng = Ground(directory=tmp_path, seed=seed, long=False).rng(*names)
        return [rng.randrange(1000) for _ in range(10)]

    assert choices(1, "kills") == choices(1, "kills")
    assert choices(1, "kills") != choices(2, "kills")
    assert choices(1, "kills", 1) != choices(1, "kills", 2)


def test_a_trial_gets_an_empty_directory_that_is_gone_when_it_held() -> None:
    seen = []

    def run(ground: Ground) -> list[Figure]:
        seen.append((ground.directory, list(ground.directory.iterdir()), ground.long))
        (ground.directory / "parley.db").touch()
        return [LOST]

    assert run_trial(trial(run=run), seed=1, long=False).held
    ((directory, files, long),) = seen
    assert (files, long) == ([], False)
    assert not directory.exists()


def test_a_trial_that_fails_tells_what_it_saw_how_to_repeat_it_and_keeps_what_it_left() -> None:
    def run(ground: Ground) -> list[Figure]:
        raise AssertionError("two answers to one question")

    failed = run_trial(trial(run=run), seed=4711, long=False)
    assert not failed.held
    assert failed.failure == "AssertionError: two answers to one question"
    assert failed.again == "python -m tests.trials storm --seed 4711 --short"
    assert failed.left is not None
    shutil.rmtree(failed.left)


def test_what_a_trial_logs_stands_in_a_file_beside_it_and_our_own_log_goes_on_as_before() -> None:
    before = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level

    def run(ground: Ground) -> list[Figure]:
        structlog.get_logger("bot.chat").warning("turn.lost")
        raise AssertionError

    failed = run_trial(trial(run=run), seed=1, long=False)
    assert failed.left is not None
    assert '"turn.lost"' in (failed.left / "log").read_text()
    assert (structlog.get_config(), logging.getLogger().handlers, logging.getLogger().level) == before
    shutil.rmtree(failed.left)


def test_a_trial_that_counted_nothing_did_not_hold() -> None:
    empty = run_trial(trial(run=lambda ground: []), seed=1, long=True)
    assert not empty.held
    assert empty.left is not None
    shutil.rmtree(empty.left)


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_when_one_does_not_hold_the_others_go_on_and_the_command_fails(
    monkeypatch: pytest.MonkeyPatch, screen: Console, tmp_path: Path
) -> None:
    def raises(ground: Ground) -> list[Figure]:
        raise AssertionError("lost [a message]")

    bad = Figure(name="late", value=9, unit="s", at_most=5, seen=("turn 7 took 9 s",))
    trials = [trial("flood", 1, raises), trial("frost", 2, lambda ground: [bad]), trial()]
    monkeypatch.setattr(command, "every", lambda: trials)
    monkeypatch.setattr(command, "DOCUMENT", tmp_path / "reliability.md")
    command.DOCUMENT.write_text(DOCUMENT)
    assert command.main(["--seed", "5", "--publish"], screen) == 1
    text = shown(screen)
    assert "lost [a message]" in text
    assert "late: turn 7 took 9 s" in text
    assert "python -m tests.trials flood --seed 5\n" in text
    assert "python -m tests.trials frost --seed 5\n" in text
    assert "python -m tests.trials storm" not in text
    assert "0 of 1,000" in text
    assert "### 1" not in command.DOCUMENT.read_text(), "what has no figures has nothing to publish"
    assert "| late | 9 s, NOT HELD | at most 5 s |  |" in command.DOCUMENT.read_text()


def test_when_all_hold_the_command_succeeds(monkeypatch: pytest.MonkeyPatch, screen: Console) -> None:
    monkeypatch.setattr(command, "every", lambda: [trial()])
    assert command.main(["--short"], screen) == 0


def test_a_name_that_is_none_is_refused(screen: Console) -> None:
    assert command.main(["nonesuch"], screen) == 64
    assert "there is no trial 'nonesuch'" in shown(screen)


def test_publishing_names_date_length_seed_and_machine() -> None:
    text = published(DOCUMENT, [outcome()], machine="2 cores")
    assert "### 3 storm\n\nIt storms.\n\n21 November 2026, 12:00 UTC, long form, seed 7, 90 s; 2 cores.\n" in text
    assert "| lost | 0 of 1,000 | at most 0 | below 0.3 % |" in text


def test_publishing_twice_changes_nothing_and_leaves_alone_what_people_wrote() -> None:
    once = published(DOCUMENT, [outcome()], machine="2 cores")
    assert published(once, [outcome()], machine="2 cores") == once
    assert published(once, [], machine="4 cores") == once
    assert once.startswith("# Reliability\n\n")
    assert once.endswith("\n\nWhat people wrote.\n")


def test_a_run_of_some_replaces_their_sections_and_keeps_the_others_in_order() -> None:
    text = published(DOCUMENT, [outcome("storm", 3), outcome("flood", 12), outcome("frost", 1)], machine="2 cores")
    text = published(text, [outcome("flood", 12, seed=8)], machine="4 cores")
    assert [line for line in text.splitlines() if line.startswith("### ")] == ["### 1 frost", "### 3 storm", "### 12 flood"]
    assert text.count("seed 7, 90 s; 2 cores.") == 2
    assert text.count("seed 8, 90 s; 4 cores.") == 1


def test_a_table_before_the_sections_tells_of_each_how_many_of_its_gates_held() -> None:
    broken = replace(
        outcome("flood", 12), figures=(LOST, replace(LOST, name="doubled", value=2), Figure(name="kills", value=9))
    )
    rows = published(DOCUMENT, [broken, outcome()], machine="2 cores").split("### ")[0].splitlines()[-4:-1]
    run = "21 November 2026, 12:00 UTC, long form, seed 7, 90 s"
    assert rows[1:] == [
        f"| [3 storm](#3-storm) | It storms. | 1 of 1 | {run} |",
        f"| [12 flood](#12-flood) | It storms. | 1 of 2 | {run} |",
    ]


@pytest.mark.parametrize("document", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_document_without_its_markers_is_not_touched(document: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        published(document, [outcome()], machine="2 cores")


def test_the_document_of_this_repository_takes_figures() -> None:
    assert published(command.DOCUMENT.read_text(), [outcome()], machine=this_machine())


def test_a_machine_is_named_by_what_it_can_and_not_by_whose_it_is() -> None:
    assert " cores, " in this_machine()
    assert "PostgreSQL 1" in this_machine()


def test_every_trial_has_the_name_of_its_module_and_says_what_it_does() -> None:
    trials = every()
    assert [named(found.name) for found in trials] == trials
    one_sentence = re.compile(r"[A-Z][^\n]*[^\n.]\.")
    assert [found.name for found in trials if not one_sentence.fullmatch(found.what)] == []
