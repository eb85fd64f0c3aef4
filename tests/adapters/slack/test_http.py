"""Requests by HTTP through the real web side: who did not sign is 401 whatever they send, and nothing is ever a 500."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import structlog
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from slack_sdk.signature import SignatureVerifier

from bot.adapters.slack.door import Door, attempt_of
from bot.adapters.slack.http import PATH, is_signed, requests_at
from bot.web.server import BODY_BYTES, WebSide
from store import StoreUnavailable
from tests.adapters.slack.listening import HTTP, Ear, a_store, listening
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
CHALLENGE = b'{"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB"}'


@asynccontextmanager
async def an_ear() -> AsyncIterator[tuple[FakeSlack, Ear]]:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        yield slack, ear


async def test_slack_s_question_whether_the_address_is_ours_is_answered() -> None:
    async with an_ear() as (slack, _):
        status, text = await slack.send_signed(CHALLENGE)
        assert (status, json.loads(text)) == (200, {"challenge": "3eZbrw1aB"})


@pytest.mark.parametrize("body", [CHALLENGE, b"", b"no json", b"[]", b"{", b'{"type": 1}', b"\xff\xfe", b"payload=no"])
@pytest.mark.parametrize(
    "headers",
    [
        {"X_Slack_Signature": "v0=bad"},
        {"X_Slack_Signature": ""},
        {"X_Slack_Signature": "v0=ümlaut"},
        {"X_Slack_Request_Timestamp": "yesterday", "X_Slack_Signature": "v0=bad"},
        {"X_Slack_Request_Timestamp": "１７", "X_Slack_Signature": "v0=bad"},
        {"X_Slack_Request_Timestamp": "9" * 400, "X_Slack_Signature": "v0=bad"},
        {"X_Slack_Request_Timestamp": "-1", "X_Slack_Signature": "v0=bad"},
        {"X_Slack_Request_Timestamp": "NaN", "X_Slack_Signature": "v0=bad"},
    ],
)
async def test_what_slack_did_not_sign_is_401(body: bytes, headers: dict[str, str]) -> None:
    async with an_ear() as (slack, _):
        assert (await slack.send_signed(body, **headers))[0] == 401


@pytest.mark.parametrize("by", [timedelta(minutes=-6), timedelta(minutes=6)])
async def test_a_signature_of_another_time_is_401(by: timedelta) -> None:
    async with an_ear() as (slack, _):
        stamp = str(int((datetime.now(UTC) + by).timestamp()))
        assert (await slack.send_signed(CHALLENGE, X_Slack_Request_Timestamp=stamp))[0] == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b"{", b'"text"', b"payload=no", b"payload=[]", b'{"type": 1}'])
async def test_what_slack_would_not_send_is_refused_and_never_a_500(body: bytes) -> None:
    async with an_ear() as (slack, ear):
        assert 400 <= (await slack.send_signed(body))[0] < 500
        assert ear.offered == []


async def test_strangers_fill_no_log() -> None:
    with structlog.testing.capture_logs() as lines:
        async with an_ear() as (slack, ear):
            for _ in range(20):
                await slack.send_signed(CHALLENGE, X_Slack_Signature="v0=bad")
            await ear.clock.advance(timedelta(minutes=1))
            await slack.send_signed(CHALLENGE, X_Slack_Signature="v0=bad")
    assert [line["requests"] for line in lines if line["event"] == "slack.bad_signature"] == [1, 20]


async def test_a_replay_changes_nothing() -> None:
    async with an_ear() as (slack, ear):
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        (attempt,) = slack.attempts
        assert [await slack.replay(attempt) for _ in range(5)] == [200] * 5
        assert ear.texts == ["hello"]


async def test_while_the_store_fails_slack_is_told_to_come_again_and_the_retry_is_taken() -> None:
    async with (
        FakeSlack(retry_after=[timedelta()] * 2) as slack,
        a_store() as store,
        listening(slack, store, by=HTTP) as ear,
    ):
        ear.failures += [StoreUnavailable("full"), StoreUnavailable("full")]
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        assert [attempt.status for attempt in slack.attempts] == [503, 503, 200]
        assert [attempt.headers.get("X-Slack-Retry-Num") for attempt in slack.attempts] == [None, "1", "2"]
        assert ear.texts == ["hello"]


async def test_a_fault_of_ours_is_one_line_without_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        ear.failures += [RuntimeError("my secret")]
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "my secret")
        await ear.heard(slack)
        assert [attempt.status for attempt in slack.attempts] == [500]
        said = capsys.readouterr()
        (line,) = [line for line in (said.out + said.err).splitlines() if "slack.handler_failed" in line]
        assert "RuntimeError at " in line
        assert "my secret" not in said.out + said.err
        assert "Traceback" not in said.out + said.err


async def test_the_web_side_turns_away_bodies_that_are_too_long_and_names_that_are_not_ours() -> None:
    async with FakeSlack() as slack:
        mount = requests_at(PATH, Door(), slack.signing_secret, FakeClock(start=datetime.now(UTC)))
        web = WebSide("127.0.0.1", 0, None, CollectorRegistry(), {}, mounts=[mount], names=["parley.example.com"])
        await web.start()
        try:
            slack.events_url = f"http://127.0.0.1:{web.port}{PATH}"
            assert (await slack.send_signed(CHALLENGE, Host="evil.example.com"))[0] == 421
            # Behind a proxy that keeps the name; the door is not open yet.
            assert (await slack.send_signed(CHALLENGE, Host="parley.example.com"))[0] == 503
            assert (await slack.send_signed(CHALLENGE, Host="parley.example.com", X_Slack_Signature="v0=0"))[0] == 401
            async with aiohttp.ClientSession() as session:

                async def endless() -> AsyncIterator[bytes]:
                    for _ in range(BODY_BYTES // 65536 + 2):
                        yield b"x" * 65536

                async with session.post(slack.events_url, data=io.BytesIO(b"x" * (BODY_BYTES + 1))) as answer:
                    assert answer.status == 413
                async with session.post(slack.events_url, data=endless()) as answer:
                    assert answer.status == 413
                async with session.get(slack.events_url) as answer:
                    assert answer.status == 405
        finally:
            await web.aclose()


@given(timestamp=st.text(max_size=20), signature=st.text(max_size=80), body=st.binary(max_size=50))
@bounds(deadline=None)
def test_no_header_of_a_stranger_fails_the_check_or_passes_it(timestamp: str, signature: str, body: bytes) -> None:
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}
    assert not is_signed(body, headers.get, SignatureVerifier("8f742231b10e8888abcd99yyyzzz85a5"))


@pytest.mark.parametrize(
    ("written", "attempt"), [("0", 0), ("1", 1), ("3", 3), ("", 0), ("x", 0), ("-1", 0), ("²", 0), ("9" * 99, 0)]
)
def test_only_a_number_above_zero_is_a_repetition(written: str, attempt: int) -> None:
    assert attempt_of({"x-slack-retry-num": [written]}) == attempt
    assert attempt_of({}) == 0
