"""Signals to a chat in a pipe: a polite stop gives the answer its time, Ctrl-C keeps what was said so far."""

import os
import signal

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.shell import Shell


def test_a_polite_stop_lets_the_answer_come_to_its_end(talk: Shell, model: Model) -> None:
    model.plan({"say": ["slow", " but", " sure"], "pause_ms": 700})
    life = talk.start("chat")
    life.say("are you sure?", "this one is not read any more")
    assert life.read_until(lambda life: "slow" in life.text)
    os.kill(life.pid, signal.SIGTERM)
    assert life.ended() == 0
    assert life.text.rstrip("\n").endswith("slow but sure")
    ledger = read_ledger(talk.store)
    assert [(said.text, said.answers) for said in ledger.said] == [("are you sure?", (("slow but sure", "complete"),))]
    assert ledger.open == []


def test_an_answer_that_takes_longer_than_the_drain_is_finished_by_the_next_life(talk: Shell, model: Model) -> None:
    model.plan({"say": ["never"], "then": "stall"})
    life = talk.start("chat", env={"DRAIN_SECONDS": "1"})
    life.say("are you there?")
    assert life.read_until(lambda life: "never" in life.text)
    os.kill(life.pid, signal.SIGTERM)
    assert life.ended() == 0
    (turn,) = read_ledger(talk.store).turns
    assert (turn.open, turn.attempts) == (True, 0)

    assert talk.chat("and now?").out == "You asked: are you there?\nYou asked: and now?\n"


def test_an_interrupt_keeps_what_was_said_and_marks_it(talk: Shell, model: Model) -> None:
    model.plan({"say": ["half", " of"], "then": "stall"})
    life = talk.start("chat")
    life.say("tell me everything", "and then?")
    assert life.read_until(lambda life: "half of" in life.text)
    os.kill(life.pid, signal.SIGINT)
    assert life.ended() == 0
    assert life.text == "half of\n\n*(stopped)*\nYou asked: and then?\n"
    assert read_ledger(talk.store).said[0].answers == (("half of", "stopped"),)


def test_an_interrupt_with_nothing_under_way_ends_the_chat(shell: Shell) -> None:
    life = shell.start("chat")
    life.say("hello")
    assert life.read_until(lambda life: life.text == "You said: hello\n")
    while life.read(0.2) and read_ledger(shell.store).open:
        pass
    os.kill(life.pid, signal.SIGINT)
    life.read_until(lambda life: not life.read(0.1))
    assert life.ended() == 0
