"""Every setting of a place can say what holds in the words that are typed for it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.policy import Rules
from bot.chat.settings_table import SETTINGS, SettingRefused, checked, choices_of, meaning_of, value_of
from store import Setting

WHERE = {"platform": "discord", "workspace": "w", "channel": "kitchen"}


def test_every_setting_can_say_what_holds() -> None:
    assert {name: value_of(Rules(), name) for name in SETTINGS} == {
        "trigger": "mention",
        "scope": "user",
        "placement": "inline",
        "bots": "off",
        "persona": "",
        "model": "",
        "ttl": "off",
    }
    assert choices_of("model", models=("large", "small")) == ("large", "small", "default")
    assert choices_of("colour") == ()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_listed_choice_is_taken_and_means_itself(name: str) -> None:
    for value in choices_of(name, models=("large",)):
        kept = checked(Setting(**WHERE, name=name, value=value), models=("large",))
        if kept:
            assert value_of(Rules(**{name: meaning_of(name, kept)}), name) == value


@given(st.text(max_size=5000))
def test_a_persona_is_refused_or_kept_as_it_is(text: str) -> None:
    try:
        kept = checked(Setting(**WHERE, name="persona", value=text))
    except SettingRefused:
        return
    assert kept == ("" if text == "default" else text)
    assert len(kept) <= 4000


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,9}[smhd]", fullmatch=True))
def test_a_time_is_refused_or_between_a_minute_and_a_hundred_years(text: str) -> None:
    try:
        kept = checked(Setting(**WHERE, name="ttl", value=text))
    except SettingRefused:
        return
    if kept not in ("", "off"):
        assert timedelta(minutes=1) <= meaning_of("ttl", kept) <= timedelta(days=36500)
