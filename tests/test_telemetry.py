"""The log: one chain, no secret in any rendering, no forged line, nothing too long; and metrics counted from its events."""

import io
import json
import logging
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from bot.telemetry import EVENT_BYTES, Metrics, configure_logging
from bot.telemetry_metrics import MOST_VALUES, RULES
from store import TurnState

FORMATS = ("json", "console")


@pytest.fixture(autouse=True)
def leave_no_trace() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    quiet = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "aiohttp.access", "slack_bolt")}
    yield
    root.handlers.clear()
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(format: str | None = "json", *, level: str = "INFO", secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()  # pytest's own raise what a library logs wrongly
    configure_logging(level, format, secrets, stream)  # type: ignore[arg-type]
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_name_its_fields_and_the_turn() -> None:
    stream = configured()
    with structlog.contextvars.bound_contextvars(turn_id=7, conversation_id=3):
        structlog.get_logger("bot.chat.turns").info(
            "turn.finished", state=TurnState.DONE, took=timedelta(seconds=2), at=Path("a")
        )
        logging.getLogger("some.library").warning("low on %s", "fuel")
    ours, theirs = lines(stream)
    assert ours | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "logger": "bot.chat.turns",
        "event": "turn.finished",
        "turn_id": 7,
        "conversation_id": 3,
        "state": "done",
        "took": 2.0,
        "at": "a",
    }
    assert datetime.fromisoformat(str(ours["timestamp"])).tzinfo == UTC
    assert (theirs["logger"], theirs["event"], theirs["level"], theirs["turn_id"]) == (
        "some.library",
        "low on fuel",
        "warning",
        7,
    )


def test_console_is_for_terminals() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logging("INFO", None, (), terminal)
    structlog.get_logger().info("turn.finished")
    assert "turn.finished" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    plain = configured(None)
    structlog.get_logger().info("turn.finished")
    assert lines(plain)[0]["event"] == "turn.finished"


def test_configuring_again_replaces_and_level_holds_for_libraries_too() -> None:
    first, second = configured(), configured(level="WARNING")
    for log in (structlog.get_logger("bot"), logging.getLogger("library")):
        log.info("quiet")
        log.warning("loud")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["loud", "loud"]


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_request_lines_of_libraries_are_not_logged(level: str) -> None:
    stream = configured(level=level)
    for name in ("httpx", "httpcore.connection", "aiohttp.access", "slack_bolt.AsyncApp"):
        logging.getLogger(name).info("GET https://example.com/?token=x")
    assert stream.getvalue() == ""


def test_what_people_wrote_is_logged_below_info_only() -> None:
    stream = configured(level="DEBUG")
    log = structlog.get_logger("bot")
    log.info("message.accepted", text="my diary", prompt=["my diary"])
    log.debug("message.accepted", text="my diary")
    at_info, at_debug = lines(stream)
    assert (at_info["text"], at_info["prompt"]) == ("[8 characters]", "[list]")
    assert at_debug["text"] == "my diary"


class Hostile:
    """An object whose text is dangerous, or can't be made."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        raise RuntimeError(self.secret)


def fail(message: str) -> None:
    raise ValueError(message)


def fail_twice(first: str, second: str) -> None:
    try:
        fail(first)
    except ValueError as exc:
        raise RuntimeError(second) from exc


# The brackets and letters of what replaces a secret, and the words of every line, can't be told from a secret like them.
SECRETS = st.text(
    st.characters(codec="ascii", min_codepoint=33, max_codepoint=126, exclude_characters="[]"), min_size=8, max_size=40
)


@settings(deadline=None)  # the machine may be busy
@given(SECRETS, SECRETS, st.text(max_size=8), st.sampled_from(FORMATS))
@example("pa\"ss\\wo'rd", "x/y+z=?&%20", "", "json")
@example("12345678901234", "aaaaaaaaaaaa", "a", "console")
def test_no_secret_survives_in_any_rendering(secret: str, other: str, around: str, format: str) -> None:
    stream = configured(format, level="DEBUG", secrets=(secret, other))
    log = structlog.get_logger("bot")
    log.info("t.before")
    assume(secret not in stream.getvalue() and other not in stream.getvalue())
    spellings = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret), repr(secret)]
    in_base64 = [
        b64encode(text.encode()).decode() for text in (secret, f"user:{secret}", f"bot:{secret}:", f"Bearer {secret}")
    ]
    everything = [f"{around}{text}{around}" for text in (*spellings, *in_base64, other)]
    log.info(secret, **{f"f{number}": text for number, text in enumerate(everything)})
    log.info(
        "t.nested",
        deep={"list": [{"set": {secret}}, (secret.encode(),)], secret: 1},
        error=ValueError(secret),
        odd=Hostile(secret),
    )
    log.info("t.number", number=int(secret) if secret.isdigit() else 0, path=Path("a") / secret.replace("\0", ""))
    library = logging.getLogger("library")
    library.warning("sent %s to %r", secret, {"authorization": secret})
    library.warning("sent %d", secret)
    library.warning("sent %r", Hostile(secret))
    try:
        fail_twice(secret, f"{around}{quote(secret)} {other}")
    except RuntimeError:
        log.exception("t.failed", stack_info=True)
        library.exception("failed with %s", secret)
    shown = stream.getvalue()
    values = [shown]
    if format == "json":
        values += [str(value) for line in lines(stream) for value in line.items()]
    for text in (secret, other, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert not any(text in value for value in values)
    for offset in range(3):
        core = b64encode(b"\0" * offset + secret.encode()).decode()[(0, 2, 3)[offset] : (offset + len(secret)) * 8 // 6]
        assert not any(core in value for value in values)


def test_a_secret_at_the_cut_of_a_long_text_leaves_no_half() -> None:
    secret = "abcdefghijklmnop"
    for start in range(64 * 1024 - len(secret) - 1, 64 * 1024 + 1):
        stream = configured(secrets=(secret,))
        structlog.get_logger().info("t.long", note="x" * start + secret)
        assert "abc" not in stream.getvalue()


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Cs", "L"]), min_size=1), st.sampled_from(FORMATS))
@example("\x1b]0;owned\x07\r\n2026 [info] forged\x9b31m\u202egnp.exe\u2066\ud800", "json")
@example("\x1b]0;owned\x07\r\n2026 [info] forged\x9b31m\u202egnp.exe\u2066\ud800", "console")
def test_no_sign_drives_the_terminal_or_forges_a_line(text: str, format: str) -> None:
    stream = configured(format)
    structlog.get_logger("bot").info("t.said", note=text, **{"k" + text: 1})
    logging.getLogger("library").warning("%s", text)
    shown = stream.getvalue()
    assert shown.count("\n") == 2
    assert len(shown.splitlines()) == 2
    driving = {
        *map(chr, range(0x20)),
        *map(chr, range(0x7F, 0xA0)),
        *"\u061c\u200e\u200f\u202a\u202d\u202e\u2066\u2067\u2069\ud800",
    }
    assert not driving & set(shown.replace("\n", ""))


def test_a_forged_line_in_an_exception_is_indented() -> None:
    stream = configured("console")
    try:
        fail("x\n2026-01-01T00:00:00Z [info] forged")
    except ValueError:
        structlog.get_logger().exception("t.failed")
    first, *rest = stream.getvalue().splitlines()
    assert "t.failed" in first
    assert rest
    assert all(line.startswith("    | ") for line in rest)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "fields",
    [
        {"note": "x" * 1_000_000},
        {"note": "ü" * 100_000},
        {f"k{number}": "y" * 300 for number in range(500)},
        {"note": [["z" * 1000] * 100] * 100},
        {"k" * 20_000: 1},
    ],
)
def test_an_event_is_never_longer_than_allowed(format: str, fields: dict[str, object]) -> None:
    stream = configured(format)
    structlog.get_logger("bot").info("t.long", turn_id=7, **fields)
    assert len(stream.getvalue().encode()) <= EVENT_BYTES + 1
    assert "t.long" in stream.getvalue()
    assert "cut" in stream.getvalue()
    assert "turn_id" in stream.getvalue()


def test_a_long_traceback_keeps_its_end() -> None:
    stream = configured()
    try:
        fail("x" * 50_000 + " the reason")
    except ValueError:
        structlog.get_logger().exception("t.failed")
    assert str(lines(stream)[0]["exception"]).endswith("the reason")


def test_a_library_that_logs_wrongly_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured()
    logging.getLogger("library").warning("%d and %s", "one")
    logging.getLogger("library").warning("%r", Hostile("x"))
    assert [line["event"] for line in lines(stream)] == ["%d and %s", "log.failed"]
    assert capsys.readouterr().err == ""


def test_a_stream_that_is_gone_harms_nobody() -> None:
    stream = configured()
    stream.close()
    structlog.get_logger().info("t.said")
    logging.getLogger("library").warning("said")


def test_threads_do_not_mix_their_lines() -> None:
    stream = configured()
    log = structlog.get_logger()
    threads = [threading.Thread(target=lambda: [log.info("t.said", note="x" * 200) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 200


def counted(*events: tuple[str, Mapping[str, object]], level: str = "ERROR") -> str:
    registry = CollectorRegistry()
    configure_logging(level, "json", (), io.StringIO(), metrics=Metrics(registry))
    for name, fields in events:
        structlog.get_logger("bot").debug(name, **fields)
    logging.getLogger("library").error("failed")
    return generate_latest(registry).decode()


def test_every_rule_counts_its_event_below_the_log_level() -> None:
    fields = {rule.field: 2 for rule in RULES if rule.field} | {rule.label: "word" for rule in RULES if rule.label}
    metrics = counted(*((event, fields) for event in {rule.event for rule in RULES}))
    for rule in RULES:
        label = f'{{{rule.label}="word"}}' if rule.label else ""
        expected = {
            "count": f"{rule.metric}_total{label} 1.0",
            "sum": f"{rule.metric}_total{label} 2.0",
            "time": f"{rule.metric}_sum{label} 2.0",
        }
        assert expected[rule.kind] in metrics
    assert 'parley_log_lines_total{level="error"} 1.0' in metrics
    assert 'parley_events_total{event="turn.claimed"} 1.0' in metrics


def test_turns_are_counted_by_state() -> None:
    metrics = counted(
        *(("turn.finished", {"state": state, "seconds": timedelta(seconds=3)}) for state in TurnState if state.final)
    )
    for state in (state for state in TurnState if state.final):
        assert f'parley_turns_finished_total{{state="{state}"}} 1.0' in metrics
        assert f'parley_turn_seconds_sum{{state="{state}"}} 3.0' in metrics


def test_amounts_that_are_none_are_not_counted() -> None:
    for amount in (None, -1, float("nan"), float("inf"), "many"):
        metrics = counted(("sweep.finished", {"expired": amount, "purged": 1}))
        assert "parley_conversations_expired_total 0.0" in metrics
        assert "parley_purged_rows_total 1.0" in metrics


def test_labels_hold_no_free_text_and_do_not_grow_for_ever() -> None:
    metrics = counted(
        *(("llm.retry_scheduled", {"model": f"m{number}"}) for number in range(MOST_VALUES + 60)),
        ("llm.retry_scheduled", {"model": "Ada Lovelace said:\n hello"}),
        ("Somebody wrote this.", {}),
    )
    assert 'parley_llm_retries_total{model="other"} 61.0' in metrics
    assert metrics.count("parley_llm_retries_total{") == MOST_VALUES + 1
    assert "Ada" not in metrics
    assert "Somebody" not in metrics


def test_two_registries_share_nothing() -> None:
    assert "parley_sweeps_failed_total 1.0" in counted(("sweep.failed", {}))
    assert "parley_sweeps_failed_total 0.0" in counted()


HARDENED = """
import resource, sys, threading
from bot.telemetry import configure_logging, harden_process
configure_logging("INFO", "json", ("hunter22hunter",), sys.stdout)
harden_process()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
def fail():
    raise ValueError("hunter22hunter")
thread = threading.Thread(target=fail); thread.start(); thread.join()
fail()
"""


def test_a_hardened_process_dumps_nothing_and_crashes_without_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", HARDENED], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == ""
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["process.crashed"] * 2
    assert "hunter22" not in done.stdout
