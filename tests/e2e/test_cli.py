"""The command line as a user sees it: lines through a pipe, one conversation, plain answers to bad input."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.shell import Shell
from tests.e2e.zygote import ROOT

HELP_LINE = "Write me something and I will answer; the command `help` lists what else I can do.\n"
COMMANDS = ("run", "chat", "migrate", "sweep", "doctor", "backup", "restore")
SECRET = "hunter2-very-secret"


def test_two_starts_of_the_command_are_one_conversation(model: Model, tmp_path: Path) -> None:
    env = model.env | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for said in ("I am Ada.\n", "Who am I?\n"):
        command = [sys.executable, "-m", "bot", "chat"]
        done = subprocess.run(
            command, input=said, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == f"You asked: {said}"
        assert done.stderr == ""
    prompt = [message["content"] for message in model.prompts()[-1]]
    assert prompt[-3:] == ["I am Ada.", "You asked: I am Ada.", "Who am I?"]


def test_a_module_and_a_script_are_the_same_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("parley")
    if not script.exists():
        pytest.skip("Parley is not installed here")
    for command in ([str(script)], [sys.executable, "-m", "bot"]):
        env = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60, check=True
        )
        assert re.fullmatch(r"parley \d+\.\d+\.\d+\n", done.stdout)


def test_user_channel_and_new_choose_another_conversation(talk: Shell, model: Model) -> None:
    for options in ((), ("--user", "bob"), ("--channel", "kitchen"), ("--new",)):
        talk.chat("I am here.", options=options)
        assert [message["content"] for message in model.prompts()[-1]][1:] == ["I am here."], options
    talk.chat("And now?")
    assert [message["content"] for message in model.prompts()[-1]][1:] == ["I am here.", "You asked: I am here.", "And now?"]


def test_a_file_is_answered_like_a_pipe(shell: Shell, tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("one\ntwo\nthree")
    expected = "You said: one\nYou said: two\nYou said: three\n"
    assert shell.run("chat", stdin=questions).out == expected
    assert shell.run("chat", stdin="one\ntwo\nthree").out == expected


def test_no_input_at_all_ends_at_once(shell: Shell) -> None:
    for nothing in (b"", Path("/dev/null")):
        done = shell.run("chat", stdin=nothing)
        assert (done.code, done.out, done.err) == (0, "", "")


def test_a_reader_that_leaves_ends_the_chat_and_keeps_the_answer(shell: Shell) -> None:
    life = shell.start("chat", stderr=shell.home.with_suffix(".err"))
    life.deaf()
    life.say("one", "two")
    assert life.ended() == 75
    assert "nothing more can be written" in shell.home.with_suffix(".err").read_text()
    assert read_ledger(shell.store).texts == ["one"]
    assert shell.chat("two").out == "You said: two\n"


def test_help_lists_the_commands_and_an_unknown_one_is_told(shell: Shell) -> None:
    done = shell.chat("/help", "/histroy", "/xyzzy")
    for name in ("new", "stop", "retry", "undo", "history", "export", "forget", "help", "parley status", "parley sweep"):
        assert re.search(rf"^{name} ", done.out, re.MULTILINE)
    assert done.out.endswith(
        "There is no such command; did you mean `history`?\nThere is no such command; `help` lists them.\n"
    )
    assert done.code == 0


def test_history_and_forget_do_what_they_say(shell: Shell) -> None:
    done = shell.chat("hello", "/history", "/forget", "/history", options=("--user", "ada"))
    lines = done.out.splitlines()
    assert lines[:3] == ["You said: hello", "ada: hello", "Parley: You said: hello"]
    assert lines[3].startswith("Kept until ")
    assert re.fullmatch(r"Forgotten for good at .* UTC: 1 conversation, 2 messages\. Receipt [0-9A-F]{8}\.", lines[4])
    assert lines[5:] == ["Nothing has been said here yet."]
    assert b"hello" not in shell.store.read_bytes()


def test_what_is_said_while_paused_is_kept_and_answered_when_that_is_over(shell: Shell) -> None:
    done = shell.chat("/pause everything", "are you there?")
    assert done.code == 0
    assert done.out.splitlines()[1:] == ["I am paused just now; your message is kept, and I answer it when I go on."]
    done = shell.chat("/resume everything", "and now?")
    assert done.out.splitlines()[1:] == ["You said: are you there?", "You said: and now?"]


def test_an_empty_line_gets_the_help_line_and_no_model_is_asked(talk: Shell, model: Model) -> None:
    before = len(model.prompts())
    assert talk.chat("", "   ").out == HELP_LINE * 2
    assert len(model.prompts()) == before
    assert read_ledger(talk.store).texts == []


def test_a_message_over_the_limit_is_refused_with_the_limit(shell: Shell) -> None:
    limit = {"MESSAGE_CHARACTERS": "10"}
    done = shell.chat("x" * 11, "y" * 10, env=limit)
    refused = "Your message has 11 characters and I read at most 10; please shorten it or send it in pieces.\n"
    assert done.out == refused + "You said: yyyyyyyyyy\n"
    assert read_ledger(shell.store).texts == ["y" * 10]


def test_a_line_beyond_all_limits_ends_the_pipe(shell: Shell) -> None:
    done = shell.chat("x" * (9 << 20))
    assert done.code == 65
    assert done.err == "parley: a line has more than 8 MiB: send it in pieces\n"


@pytest.mark.parametrize("bad", [b"nul \0 in it", b"broken \xff utf-8", b"half \xed\xa0\x80 of a pair"])
def test_what_is_no_text_is_refused_and_the_next_line_answered(shell: Shell, tmp_path: Path, bad: bytes) -> None:
    lines = tmp_path / "lines"
    lines.write_bytes(bad + b"\nfine\n")
    for stdin in (lines, lines.read_bytes()):
        done = shell.run("chat", stdin=stdin)
        assert done.code == 0
        assert re.fullmatch(r"Your message holds a character that is no valid text .*\nYou said: fine\n", done.out)
    assert read_ledger(shell.store).texts == ["fine", "fine"]


@pytest.mark.parametrize(
    "text",
    ["\u202eesrever", "👩‍👩‍👧‍👦" * 1400 + "!", "😀" * 10_000, "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞a", "'; DROP TABLE message; --", "%s {} $x", "a\tb"],
    ids=["override", "families", "emoji", "zalgo", "sql", "format", "tab"],
)
def test_any_other_text_comes_back_unchanged(shell: Shell, text: str) -> None:
    assert shell.chat(text).out == f"You said: {text}\n"
    assert read_ledger(shell.store).texts == [text]


def test_what_a_model_says_does_not_drive_the_terminal(shell: Shell) -> None:
    assert shell.chat("\x1b]0;owned\x07\x1b[2Jhello").out == "You said: ]0;owned[2Jhello\n"


@pytest.mark.parametrize(
    "wrong", [("--nope",), ("nope",), ("chat", "--nope"), ("chat", "--user"), ("backup",), ("restore",), ()], ids=" ".join
)
def test_a_usage_error_ends_with_64(shell: Shell, wrong: tuple[str, ...]) -> None:
    done = shell.run(*wrong)
    assert done.code == 64
    assert "Usage:" in done.out or "Error" in done.err
    assert shell.contents() == {}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_every_command(shell: Shell, command: str) -> None:
    done = shell.run(*command.split(), "--help")
    assert done.code == 0
    assert "Usage:" in done.out
    assert done.err == ""
    assert shell.contents() == {}


@pytest.mark.parametrize("command", ["run", "chat", "migrate", "sweep", "doctor"])
def test_all_bad_settings_are_told_at_once_and_no_value_is_shown(shell: Shell, command: str) -> None:
    bad = {
        "DISCORD_TOKEN": f"Bot {SECRET}",
        "SLACK_BOT_TOKEN": f"xoxp-{SECRET}",
        "CONVERSATION_TTL": "7 fortnights",
        "HISTORY_MESSAGES": "0",
        "DATABASE_URL": f"mysql://root:{SECRET}@db/x",
        "LLM_PROVIDER": "skynet",
    }
    done = shell.run(command, env=bad)
    assert done.code == 78
    assert done.out == ""
    for name in bad:
        assert f"  {name}: " in done.err
    for value in (SECRET, "fortnights", "skynet", "mysql", "root"):
        assert value not in done.err
    assert shell.contents() == {}


def test_a_misspelt_setting_in_the_file_is_told_with_its_line(shell: Shell) -> None:
    (shell.home / ".env").write_text(f"LLM_PROVIDER=echo\nLLM_API_KEX={SECRET}\n")
    done = shell.chat("hello")
    assert done.code == 78
    assert "line 2" in done.err
    assert SECRET not in done.err


def test_no_word_of_a_talk_and_no_secret_stands_in_the_log(talk: Shell) -> None:
    env = {"LOG_LEVEL": "INFO", "LLM_API_KEY": SECRET, "HTTP_TOKEN": SECRET}
    done = talk.chat("my pin is 31337", "/history", env=env)
    assert "31337" in done.out
    assert '"event": "turn.finished"' in done.err
    for hidden in ("31337", "my pin", "You asked", SECRET):
        assert hidden not in done.err


def test_a_model_that_is_down_costs_one_sentence_and_retry_asks_again(talk: Shell) -> None:
    gone = {"LLM_BASE_URL": "http://127.0.0.1:9/v1"}
    done = talk.chat("are you there?", env=gone)
    assert done.out == "The model can't be reached right now; your question is kept, the command `retry` asks it again.\n"
    assert read_ledger(talk.store).texts == ["are you there?"]

    assert talk.chat("/retry").out == "Asking again.\nYou asked: are you there?\n"
    ledger = read_ledger(talk.store)
    assert [said.answers for said in ledger.said] == [(("You asked: are you there?", "complete"),)]


def test_where_nobody_can_type_and_no_platform_is_configured_it_says_so(shell: Shell) -> None:
    done = shell.run("run", stdin=Path(os.devnull))
    assert done.code == 78
    assert "set DISCORD_TOKEN or SLACK_BOT_TOKEN" in done.err
