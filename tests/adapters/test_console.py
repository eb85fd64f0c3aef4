"""The terminal is a surface like any other, as far as a screen can be; what a model says can't drive it."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.console import ConsoleSurface, address_of, clean
from bot.adapters.console_input import piped_lines
from bot.chat.protocol import MessageGone
from tests.contracts.surface_laws import SurfaceLaws

pytestmark = pytest.mark.anyio

HERE = address_of(user="ada", channel="terminal")


class TestConsole(SurfaceLaws):
    edits_in_place = False
    deletes = False
    has_files = False
    takes_files = False

    @pytest.fixture
    def address(self):
        return HERE

    @pytest.fixture
    def surface(self):
        return ConsoleSurface(io.StringIO(), at=HERE)

    async def see(self, surface, address):
        written = surface._out.getvalue()
        return written.split("\n\n") if written else []


async def test_an_edit_writes_on_what_is_there() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    shown = await surface.post(HERE, "Hello", nonce="n")
    await surface.edit(HERE, shown, "Hello Ada.")
    assert out.getvalue() == "Hello Ada."


async def test_an_edit_that_changes_what_is_there_begins_anew() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    shown = await surface.post(HERE, "Hello Bob", nonce="n")
    await surface.edit(HERE, shown, "Hello Ada.")
    assert out.getvalue() == "Hello Bob\n\nHello Ada."


async def test_what_an_earlier_process_wrote_is_gone_with_its_screen() -> None:
    with pytest.raises(MessageGone):
        await ConsoleSurface(io.StringIO(), at=HERE).edit(HERE, "earlier", "text")


async def test_an_answer_to_somebody_else_says_for_whom_it_is() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    await surface.post(address_of(user="bob", channel="garden"), "Hi", nonce="n")
    assert out.getvalue() == "(for bob in garden)\nHi"


def test_a_model_can_not_drive_the_terminal() -> None:
    assert clean("\x1b[2Jno\x07 \x9b1mbell\r\n\tkept") == "[2Jno 1mbell\n\tkept"


@given(st.text())
def test_cleaning_loses_nothing_that_can_be_read(text: str) -> None:
    kept = clean(text)
    assert clean(kept) == kept
    assert [sign for sign in text if sign >= " " and not "\x7f" <= sign <= "\x9f"] == [
        sign for sign in kept if sign not in "\n\t"
    ]


async def test_piped_lines_come_one_by_one_and_the_last_needs_no_line_feed() -> None:
    read, write = os.pipe()
    os.write(write, b"one\ntwo \xf0\x9f\x98\x80\n\xff\nlast")
    os.close(write)
    with os.fdopen(read) as source:
        assert [line async for line in piped_lines(source)] == ["one\n", "two 😀\n", "\udcff\n", "last"]


async def test_a_file_is_read_like_a_pipe(tmp_path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    with path.open() as source:
        assert [line async for line in piped_lines(source)] == ["one\n", "two\n"]
