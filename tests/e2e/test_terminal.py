"""The interactive terminal: a prompt, a spinner, text as it comes, Ctrl-C for the answer and Ctrl-D for the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.terminals import CTRL_C, CTRL_D, ENTER, Terminal
from tests.e2e.zygote import Zygote

PROMPT = "you>"


@pytest.fixture
def terminal(helper: Zygote, tmp_path: Path, model: Model) -> Iterator[Terminal]:
    with Terminal(helper, tmp_path, "chat", env=model.env) as opened:
        opened.wait_for(PROMPT)
        yield opened


def test_a_question_is_typed_and_answered_and_ctrl_d_ends_the_talk(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("Wer bist du, 😀?" + ENTER)
    terminal.wait_for("You asked: Wer bist du, 😀?")
    terminal.wait_for(PROMPT)
    terminal.type(CTRL_D)
    assert terminal.ended() == 0
    (said,) = read_ledger(tmp_path / "parley.db").said
    assert (said.text, said.answers) == ("Wer bist du, 😀?", (("You asked: Wer bist du, 😀?", "complete"),))


def test_a_spinner_turns_while_the_model_thinks_and_goes_when_it_speaks(terminal: Terminal, model: Model) -> None:
    model.plan({"say": ["at", " last"], "pause_ms": 400})
    terminal.type("well?" + ENTER)
    terminal.wait_for("thinking")
    assert "at last" in terminal.wait_for("at last")
    assert "thinking" not in terminal.wait_for(PROMPT)


def test_an_answer_is_shown_while_it_is_being_written(terminal: Terminal, model: Model) -> None:
    model.plan({"say": ["the beginning"], "then": "stall"})
    terminal.type("tell me" + ENTER)
    terminal.wait_for("the beginning")
    terminal.type(CTRL_C)
    terminal.wait_for(PROMPT)


def test_ctrl_c_stops_the_answer_and_keeps_what_was_shown(terminal: Terminal, model: Model, tmp_path: Path) -> None:
    model.plan({"say": ["half", " of"], "then": "stall"})
    terminal.type("tell me everything" + ENTER)
    terminal.wait_for("half of")
    terminal.type(CTRL_C)
    terminal.wait_for("*(stopped)*")
    terminal.wait_for(PROMPT)
    terminal.type("and then?" + ENTER)
    terminal.wait_for("You asked: and then?")
    terminal.wait_for(PROMPT)
    terminal.type(CTRL_D)
    assert terminal.ended() == 0
    ledger = read_ledger(tmp_path / "parley.db")
    assert ledger.said[0].answers == (("half of", "stopped"),)
    assert [turn.state for turn in ledger.turns] == ["cancelled", "done"]


def test_ctrl_c_before_the_first_word_says_that_it_stopped(terminal: Terminal, model: Model, tmp_path: Path) -> None:
    model.plan({"say": [], "then": "stall"})
    terminal.type("are you there?" + ENTER)
    terminal.wait_for("thinking")
    terminal.type(CTRL_C)
    terminal.wait_for("Stopped.")
    terminal.wait_for(PROMPT)
    assert terminal.text.count("Stopped.") == 1


def test_ctrl_c_at_the_prompt_only_empties_the_line(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("never mi" + CTRL_C)
    terminal.wait_for(PROMPT)
    terminal.type("hello" + ENTER)
    terminal.wait_for("You asked: hello")
    terminal.wait_for(PROMPT)
    terminal.type(CTRL_D)
    assert terminal.ended() == 0
    assert read_ledger(tmp_path / "parley.db").texts == ["hello"]


def test_what_was_left_unanswered_is_answered_before_the_prompt(helper: Zygote, tmp_path: Path, model: Model) -> None:
    life = helper.start(tmp_path, "chat", env=model.env)
    model.plan({"say": ["half"], "then": "stall"})
    life.say("are you there?")
    assert life.read_until(lambda life: "half" in life.text)
    assert life.kill()
    with Terminal(helper, tmp_path, "chat", env=model.env) as terminal:
        assert "You asked: are you there?" in terminal.wait_for(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.ended() == 0
