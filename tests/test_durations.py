"""Durations and hosts: what a text means, and that it is not repeated when it means nothing."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.durations import format_duration, parse_duration
from bot.hosts import is_address, is_loopback, is_private


@given(st.integers(0, 36500 * 86400))
def test_durations_come_back_as_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, 999_999_999), st.sampled_from("smhd"))
def test_every_duration_of_the_form_is_read(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * seconds)


def test_a_duration_beyond_all_time_is_refused() -> None:
    with pytest.raises(ValueError, match="million years"):
        parse_duration("999999999999999d")


@given(st.text(max_size=12))
def test_any_other_text_is_no_duration_and_is_not_repeated(text: str) -> None:
    if text[:-1].isascii() and text[:-1].isdigit() and text[-1:] in tuple("smhd"):
        return
    with pytest.raises(ValueError, match="whole number") as caught:
        parse_duration(text)
    assert len(text) < 3 or text in "90s, 30m, 12h or 30d" or text not in str(caught.value)


def test_hosts_are_told_apart_by_name_alone() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]))
    assert not any(
        map(
            is_loopback, ["192.0.2.1", "::", "example.com", "127.0.0.1.example.com", "127.1", "2130706433", "localhost.evil"]
        )
    )
    assert all(map(is_private, ["10.0.0.1", "172.16.0.1", "fd00::1", "db", "host.docker.internal", "localhost"]))
    assert not any(map(is_private, ["8.8.8.8", "134744072", "0x08080808", "example.com", "", "evil.local.example"]))


def test_addresses_are_no_names() -> None:
    assert all(map(is_address, ["127.0.0.1", "::1", "[::1]", "8.8.8.8"]))
    assert not any(map(is_address, ["localhost", "example.com", "", "8.8.8.8.example.com"]))
