"""What Prometheus is told of Slack: requests by whether they were acknowledged, redeliveries, waits and sockets."""

from datetime import timedelta

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from bot.telemetry import Metrics
from store import StoreUnavailable
from tests.adapters.slack.listening import HTTP, SOCKET, a_store, listening
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("by", [SOCKET, HTTP])
async def test_what_slack_sends_and_refuses_is_counted(by: str) -> None:
    registry = CollectorRegistry()
    structlog.configure(processors=[Metrics(registry), structlog.processors.JSONRenderer()])
    try:
        async with (
            FakeSlack(retry_after=[timedelta()], ack_limit=timedelta(milliseconds=1500)) as slack,
            a_store() as store,
            listening(slack, store, by=by) as ear,
        ):
            ada = slack.workspace.user("Ada")
            await ear.until(lambda: by == HTTP or slack.sockets)
            ear.failures += [StoreUnavailable("full")]
            slack.fail("users.info", status=429, retry_after=60)
            await ada.say(ada.dm, "hello")
            await ear.until(lambda: ear.taken)
            await ear.heard(slack)
            if by == SOCKET:
                await slack.drop_sockets()
                await ear.until(lambda: slack.sockets)
    finally:
        structlog.reset_defaults()
    metrics = generate_latest(registry).decode()
    assert 'parley_slack_requests_total{outcome="acknowledged"} 1.0' in metrics
    assert 'parley_slack_requests_total{outcome="left"} 1.0' in metrics
    assert "parley_slack_redelivered_total 1.0" in metrics
    assert 'parley_slack_waits_total{method="users.info"} 1.0' in metrics
    if by == SOCKET:
        assert "parley_slack_sockets_opened_total 2.0" in metrics
        assert "parley_slack_sockets_lost_total 1.0" in metrics
