"""Discord's rate limits: one bucket per route and channel or token, and one for everything."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

Json = Any

GLOBAL_PER_SECOND = 50
CHANNEL_WINDOW = timedelta(seconds=5)
"""Discord's window for writes to a channel. A fake whose window is shorter has shorter seconds, too."""


@dataclass(slots=True)
class Bucket:
    """A number of requests per window; the window opens with the first request."""

    limit: int
    window: float
    name: str
    opened: float = float("-inf")
    used: int = 0

    def take(self, now: float) -> bool:
        if now - self.opened >= self.window:
            self.opened, self.used = now, 0
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def reset_after(self, now: float) -> float:
        return max(0.0, self.opened + self.window - now)

    def headers(self, now: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self.used),
            "X-RateLimit-Reset": f"{time.time() + self.reset_after(now):.3f}",
            "X-RateLimit-Reset-After": f"{self.reset_after(now):.3f}",
            "X-RateLimit-Bucket": self.name,
        }


@dataclass(slots=True)
class Verdict:
    """Whether a request may pass, and the headers that say how many more may."""

    allowed: bool
    headers: dict[str, str] = field(default_factory=dict)
    body: Json = None


class Limits:
    """Which request counts against which bucket. Only writing of messages is limited, and everything together."""

    def __init__(self, *, writes: int, window: timedelta) -> None:
        self.writes = writes
        self.window = window.total_seconds()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._everything = Bucket(GLOBAL_PER_SECOND, window / CHANNEL_WINDOW, "global")

    def admit(self, method: str, template: str, major: str) -> Verdict:
        """Count a request on a route like "/channels/{channel_id}/messages" with its major parameter."""
        now = time.monotonic()
        outside = template.startswith(("/interactions", "/webhooks"))
        if not outside and not self._everything.take(now):
            headers = {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
            return self._refuse(self._everything.reset_after(now), headers, everything=True)
        bucket = self._bucket(method, template, major)
        if bucket is None:
            return Verdict(True)
        if bucket.take(now):
            return Verdict(True, bucket.headers(now))
        return self._refuse(bucket.reset_after(now), bucket.headers(now) | {"X-RateLimit-Scope": "user"})

    def _bucket(self, method: str, template: str, major: str) -> Bucket | None:
        if template.startswith("/webhooks"):
            name = "webhook"
        elif template in ("/channels/{channel_id}/messages", "/channels/{channel_id}/messages/{message_id}"):
            name = {"POST": "message-create", "PATCH": "message-edit"}.get(method, "")
        else:
            name = ""
        if not name:
            return None
        return self._buckets.setdefault((name, major), Bucket(self.writes, self.window, f"fake-{name}"))

    @staticmethod
    def _refuse(seconds: float, headers: dict[str, str], *, everything: bool = False) -> Verdict:
        body = {"message": "You are being rate limited.", "retry_after": round(seconds, 3) + 0.001, "global": everything}
        return Verdict(False, headers | {"Retry-After": str(int(seconds) + 1), "Via": "1.1 google"}, body)
