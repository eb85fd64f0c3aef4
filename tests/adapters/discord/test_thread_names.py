"""What threads are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.thread_names import LENGTH, thread_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is a monad?", "What is a monad?"),
        ("<@123> <@!123> <@&5> what  is\nthis?", "what is this?"),
        ("look at <#77> <:wave:12> <a:wave:12> </chat new:9> <t:1618953630:R>", "look at"),
        ("# **Bold** `code` ~~no~~ @everyone", "Bold code no everyone"),
        ("<@123>", ""),
        ("", ""),
        ("word " * 40, "word " * 15 + "word…"),
        ("x" * 81, "x" * 79 + "…"),
        ("a < b and 1 <2> 3", "a < b and 1 <2 3"),
        ("\x1b[2Jgone \u202egnp.exe\x00 a👩\u200d💻b", "[2Jgone gnp.exe a👩\u200d💻b"),
    ],
)
def test_a_thread_is_called_by_the_first_words_of_its_question(text, name):
    assert thread_name(text) == name


@given(st.text())
def test_a_name_fits_pings_nobody_and_stands_on_one_line(text):
    name = thread_name(text)
    assert len(name) <= LENGTH
    assert "@" not in name
    assert name == " ".join(name.split())
