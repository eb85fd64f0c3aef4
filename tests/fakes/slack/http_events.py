"""HTTP mode: signed requests to the app's one address."""

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from tests.fakes.slack.dispatch import EVENTS, SLASH, Attempt

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

Json = Any


class HttpEvents:
    """Signs with the real time of day, because the app checks against its own."""

    def __init__(self, slack: "FakeSlack") -> None:
        self._slack = slack
        self._session: aiohttp.ClientSession | None = None
        self.url: str | None = None

    def start(self) -> None:
        limit = aiohttp.ClientTimeout(total=self._slack.ack_limit.total_seconds())
        self._session = aiohttp.ClientSession(timeout=limit, trust_env=False)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def sign(self, body: bytes, timestamp: str | None = None) -> dict[str, str]:
        """Make the two headers that prove who sends this."""
        stamp = timestamp or str(int(time.time()))
        digest = hmac.new(self._slack.signing_secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256)
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest.hexdigest()}"}

    async def carry(self, attempt: Attempt) -> None:
        attempt.body, content_type = self._body(attempt)
        attempt.headers = {"Content-Type": content_type, "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)"}
        attempt.headers |= self.sign(attempt.body)
        if attempt.number:
            attempt.headers |= {"X-Slack-Retry-Num": str(attempt.number), "X-Slack-Retry-Reason": attempt.reason}
        clock = self._slack.clock
        attempt.sent_at = clock.monotonic()
        try:
            attempt.status, text, headers = await self.send(attempt.body, attempt.headers)
        except (TimeoutError, aiohttp.ClientError) as error:
            timed_out = isinstance(error, TimeoutError)
            attempt.failure = "http_timeout" if timed_out else "connection_failed"
            return
        if 200 <= attempt.status < 300:
            attempt.acked_after = clock.monotonic() - attempt.sent_at
            attempt.answer = _read(text, headers.get("Content-Type", ""))
        else:
            attempt.failure = "http_error"
            attempt.stop = headers.get("X-Slack-No-Retry") == "1"

    async def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, dict[str, str]]:
        """Post exactly this, and give the answer's status, text and headers."""
        assert self._session is not None
        assert self.url is not None
        async with self._session.post(self.url, data=body, headers=headers) as response:
            return response.status, await response.text(), dict(response.headers)

    @staticmethod
    def _body(attempt: Attempt) -> tuple[bytes, str]:
        delivery = attempt.delivery
        if delivery.kind == EVENTS:
            return json.dumps(delivery.payload).encode(), "application/json"
        form = delivery.payload if delivery.kind == SLASH else {"payload": json.dumps(delivery.payload)}
        return urlencode(form).encode(), "application/x-www-form-urlencoded"


def _read(text: str, content_type: str) -> Json:
    if not text:
        return None
    return json.loads(text) if content_type.startswith("application/json") else {"text": text}
