"""Laws of people's files: what can be read is known by its bytes, and nothing in a file can pass for something else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.attachments import (
    NAME_LENGTH,
    PICTURE_BYTES,
    Kind,
    clean_name,
    decode,
    excerpt,
    fair_shares,
    fenced,
    kind_of,
    picture_type,
    unreadable_data,
    unreadable_label,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"\0" * 16,
    "image/gif": b"GIF89a" + b"\0" * 16,
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
}
readable = st.text(st.characters(exclude_categories=["C"]) | st.sampled_from("\n\t"))


@pytest.mark.parametrize(
    ("name", "media_type", "kind"),
    [
        ("notes.txt", "", Kind.TEXT),
        ("NOTES.MD", "application/octet-stream", Kind.TEXT),
        ("app.ts", "video/mp2t", Kind.TEXT),
        ("Dockerfile", "application/octet-stream", Kind.TEXT),
        ("data", "text/csv; charset=utf-8", Kind.TEXT),
        ("reply", "application/problem+json", Kind.TEXT),
        ("logo.svg", "image/svg+xml", Kind.TEXT),
        ("photo.JPG", "", Kind.PICTURE),
        ("photo", "image/webp", Kind.PICTURE),
        ("talk.mp3", "audio/mpeg", Kind.OTHER),
        ("paper.pdf", "application/pdf", Kind.OTHER),
        ("all.zip", "application/zip", Kind.OTHER),
        ("", "", Kind.OTHER),
    ],
)
def test_a_label_tells_what_is_worth_reading(name: str, media_type: str, kind: Kind) -> None:
    assert kind_of(name, media_type) is kind
    assert bool(unreadable_label(name, media_type, 10)) is (kind is Kind.OTHER)


def test_a_picture_over_the_limit_is_not_worth_reading_and_a_long_text_is() -> None:
    assert unreadable_label("photo.png", "image/png", PICTURE_BYTES) == ""
    assert "5 MiB" in unreadable_label("photo.png", "image/png", PICTURE_BYTES + 1)
    assert unreadable_label("notes.txt", "text/plain", 1 << 40) == ""


@pytest.mark.parametrize(("media_type", "data"), PICTURES.items())
def test_a_picture_is_known_by_its_first_bytes_whatever_its_label(media_type: str, data: bytes) -> None:
    assert picture_type(data) == media_type
    assert unreadable_data("photo.png", "image/png", len(data), data) == ""


@pytest.mark.parametrize("data", [b"", b"MZ\x90\0", b"<svg></svg>", b"RIFF\x10\0\0\0WAVEfmt "])
def test_what_only_calls_itself_a_picture_is_none(data: bytes) -> None:
    assert picture_type(data) is None
    assert unreadable_data("photo.png", "image/png", len(data), data)


def test_a_picture_of_which_only_a_part_came_is_unreadable() -> None:
    assert unreadable_data("photo.png", "image/png", len(PNG) + 1, PNG)


@pytest.mark.parametrize("data", [*PICTURES.values(), b"PK\x03\x04" + bytes(range(256)), b"\x7fELF\x02\x01\x01\0"])
def test_binary_data_behind_the_name_of_a_text_is_unreadable(data: bytes) -> None:
    assert unreadable_data("notes.txt", "text/plain", len(data), data)


@given(readable, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_text_is_read_as_it_was_written(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text.removeprefix("\ufeff")


@given(readable, st.integers(0, 200), st.sampled_from(["utf-8", "utf-16"]))
def test_a_text_that_is_cut_anywhere_is_read_up_to_there(text: str, length: int, encoding: str) -> None:
    whole = text.encode(encoding)
    read = decode(whole[:length], whole=length >= len(whole))
    if encoding == "utf-8" or length >= 2:
        assert read is not None
        assert text.startswith(read)
        assert len(text) - len(read) <= len(whole) - len(whole[:length])


def test_an_old_code_page_is_read_as_latin_1() -> None:
    assert decode("Grüße aus Köln".encode("latin-1")) == "Grüße aus Köln"


@given(st.binary(max_size=300))
def test_whatever_is_read_can_be_stored_and_sent(data: bytes) -> None:
    text = decode(data)
    if text is not None:
        assert "\0" not in text
        text.encode()


@given(st.text(max_size=300))
def test_a_name_is_one_short_line_that_mentions_nobody(name: str) -> None:
    clean = clean_name(name)
    assert 0 < len(clean) <= NAME_LENGTH
    assert clean.isprintable()
    assert not set(clean) & set('`@<>*"[]/\\')
    assert clean_name(clean) == clean


def test_a_name_keeps_what_names_it() -> None:
    assert clean_name("C:\\Users\\ada\\photo (1) final_v2.png") == "photo (1) final_v2.png"
    assert clean_name("@everyone look\n<@123> `x`.txt") == "everyone look 123 x.txt"


@given(readable, st.integers(0, 400))
def test_an_excerpt_is_the_beginning_within_its_room_and_says_so(text: str, room: int) -> None:
    part = excerpt(text, room=room, size=len(text.encode()), whole=True)
    assert text.startswith(part.text)
    assert len(part.text.encode()) <= room
    assert bool(part.extent) is (part.text != text)
    if part.extent:
        assert part.extent == f"the first {len(part.text):,} of {len(text):,} characters"
        assert len((part.text + text[len(part.text)]).encode()) > room


def test_an_excerpt_of_a_file_that_was_read_in_part_says_how_long_the_file_is() -> None:
    assert excerpt("abc", room=100, size=1 << 20, whole=False).extent == "the first 3 characters of 1,048,576 bytes"


@given(st.text("`~ab\n", max_size=60))
def test_nothing_in_a_text_ends_its_fence(text: str) -> None:
    heading, fence, *inside, end = fenced("notes.txt", excerpt(text, room=1000, size=1000, whole=True)).split("\n")
    assert heading == 'The file "notes.txt":'
    assert re.fullmatch("`{3,}", fence)
    assert end == fence
    assert "\n".join(inside) == text
    assert fence not in text


@given(st.lists(st.integers(0, 1000), max_size=8), st.integers(-10, 3000))
def test_room_is_shared_fairly(sizes: list[int], room: int) -> None:
    shares = fair_shares(sizes, room)
    assert sum(shares) <= max(room, 0)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    cut = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    if cut:
        assert max(cut) - min(cut) <= len(sizes)
        assert sum(shares) > room - len(sizes)
        assert all(share <= max(cut) + 1 for share in shares)
