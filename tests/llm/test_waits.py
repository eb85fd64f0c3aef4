"""How long a server asks to wait: every form that is in use, and nothing raises."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.waits import asked_wait

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "60"}, 60),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:20 GMT"}, 20),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:20 -0000"}, 20),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, 366 * 86400),
        ({"retry-after": "Sat, 99 Nov 2026"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12ms"}, 0.012),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "45"}, 45),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, None),
        ({"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "6m"}, None),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:09Z"}, 9),
    ],
)
def test_the_known_forms_are_read(headers: dict[str, str], seconds: float | None) -> None:
    wait = asked_wait(httpx.Headers(headers), NOW)
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


NAMES = [
    "retry-after-ms",
    "retry-after",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
]
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    *[st.sampled_from(["Mon", "Nov", "1", "31", "0", "99999", "-1", "+9999", "GMT", ""])] * 8,
)


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.one_of(st.text(), st.just("0"), DATES, st.floats().map(str), st.datetimes().map(str))
    )
)
def test_nothing_that_a_server_sends_raises(headers: dict[str, str]) -> None:
    wait = asked_wait(headers, NOW)
    assert wait is None or timedelta() <= wait <= timedelta(days=366)
