"""Whom operators mean, however their platform writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.commands_subjects import Subject, SubjectKind, subject_of

MEANT = {
    "<@123>": "user:123",
    "<@!123>": "user:123",
    "<@&5>": "group:5",
    "<#42>": "channel:42",
    "<@U012AB3CD>": "user:U012AB3CD",
    "<@U012AB3CD|ada>": "user:U012AB3CD",
    "<!subteam^S012AB3CD|@cooks>": "group:S012AB3CD",
    "<!subteam^S012AB3CD>": "group:S012AB3CD",
    "<#C012AB3CD|kitchen>": "channel:C012AB3CD",
    "<#C012AB3CD|>": "channel:C012AB3CD",
    "U012AB3CD": "user:U012AB3CD",
    "S012AB3CD": "group:S012AB3CD",
    "C012AB3CD": "channel:C012AB3CD",
    "user:7": "user:7",
    "category:7": "category:7",
    "Guests": "guests",
    " external ": "external",
}


@pytest.mark.parametrize(("typed", "meant"), MEANT.items())
def test_a_mention_or_an_id_says_whom_it_means(typed: str, meant: str) -> None:
    assert str(subject_of(typed)) == meant


@pytest.mark.parametrize(
    "typed", ["", "123", "@ada", "#kitchen", "ada", "<@>", "<#1", "user:", "user:a b", "<@1><@2>", "x" * 9999]
)
def test_what_could_be_anything_is_nobody(typed: str) -> None:
    assert subject_of(typed) is None


@given(st.text())
def test_any_text_can_be_read(typed: str) -> None:
    subject_of(typed)


IDS = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


@given(st.sampled_from([kind for kind in SubjectKind if kind is not SubjectKind.KIND]), IDS)
def test_a_subject_is_read_as_it_is_shown(kind: SubjectKind, found: str) -> None:
    subject = Subject(kind=kind, id=found)
    assert subject_of(str(subject)) == subject
