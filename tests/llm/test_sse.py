"""Framing: bytes, cut anywhere, become the same events."""

import itertools
import json
from collections.abc import Iterable, Sequence
from functools import partial

import anyio
import httpx
import httpx_sse
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.llm import anthropic, openai
from bot.llm.answer import ALIVE, Answer, Feed
from bot.llm.protocol import Delta
from bot.llm.sse import COMMENT, BodyDecoder, Comment, Event, Frame, SseDecoder
from tests.fakes.model_server import anthropic_stream, chunk, data, openai_stream

PIECES = ("Grüße, ", "日本語 ", "👩‍👩‍👧‍👦", " a\u2028b\u2029c\u0085d\x0be", "\n\nend")
OPENAI = ": PROCESSING\n\n" + "".join(openai_stream(*PIECES))
STREAMS: list[tuple[bytes, Feed]] = [
    (OPENAI.encode(), openai.read_event),
    (b"\xef\xbb\xbf" + OPENAI.replace("\n", "\r\n").encode(), openai.read_event),
    (OPENAI.replace("\n", "\r").encode(), openai.read_event),
    ("".join(anthropic_stream(*PIECES)).encode(), anthropic.read_event),
]


def frames(chunks: Iterable[bytes]) -> list[Frame]:
    decoder = SseDecoder()
    return [frame for piece in chunks for frame in decoder.feed(piece)] + list(decoder.end())


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(stream)]
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]


def deltas(chunks: Iterable[bytes], feed: Feed) -> list[Delta]:
    answer = Answer("model")
    read: list[Delta] = []
    for frame in frames(chunks):
        read += [ALIVE] if isinstance(frame, Comment) else feed(answer, frame)
    return [*read, *answer.end()]


@given(st.data())
def test_every_cut_of_a_stream_gives_the_same_deltas(choice: st.DataObject) -> None:
    stream, feed = choice.draw(st.sampled_from(STREAMS))
    places = choice.draw(st.lists(st.integers(0, len(stream)), max_size=30))
    assert deltas(cut(stream, places), feed) == deltas([stream], feed)


def test_a_stream_byte_by_byte_gives_the_same_deltas() -> None:
    for stream, feed in STREAMS:
        assert deltas((bytes([byte]) for byte in stream), feed) == deltas([stream], feed)


async def _by_httpx_sse(stream: bytes) -> list[tuple[str, str]]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    return [(event.event, event.data) async for event in httpx_sse.EventSource(response).aiter_sse()]


LINES = st.lists(
    st.one_of(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["data", "event", "other"]),
            st.sampled_from([":", ": "]),
            st.text("ab: é\u2028"),
        ),
        st.just(""),
        st.text("ab:", max_size=4).map(": {}".format),
    )
)


@settings(deadline=None)
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_it_reads_what_httpx_sse_reads(lines: list[str], end: str) -> None:
    stream = "".join(line + end for line in [*lines, ""]).encode()
    ours = [(frame.name or "message", frame.data) for frame in frames([stream]) if isinstance(frame, Event)]
    theirs = [(name, read) for name, read in anyio.run(partial(_by_httpx_sse, stream)) if read]
    assert ours == theirs  # but for its events without data, which the standard does not know


@given(st.text("ab\n\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"))
def test_only_cr_and_lf_end_a_line(text: str) -> None:
    (frame,) = frames([data(chunk(text)).encode()])
    assert isinstance(frame, Event)
    assert json.loads(frame.data) == chunk(text)


def test_comments_are_signs_of_life() -> None:
    assert frames([b": OPENROUTER PROCESSING\n\n", b":\n", b"data: x\n\n"]) == [COMMENT, COMMENT, Event(data="x")]


def test_an_event_without_data_is_no_more_than_a_sign_of_life() -> None:
    assert frames([b"data:\n\nevent: ping\n\n"]) == [COMMENT]


def test_data_over_several_lines_is_joined() -> None:
    assert frames([b"event: e\ndata: a\ndata:b\ndata\nid: 7\nretry: x\n\n"]) == [Event(name="e", data="a\nb\n")]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert frames([b"data: a\n\ndata: [DONE]"]) == [Event(data="a"), Event(data="[DONE]")]


def test_bytes_that_are_no_utf8_do_not_end_a_stream() -> None:
    assert frames([b"data: a\xff\n\n"]) == [Event(data="a\ufffd")]


def test_a_whole_body_is_one_event_and_signs_of_life_before() -> None:
    decoder = BodyDecoder()
    assert [frame for piece in (b"\n", b'{"a"', b":1}") for frame in decoder.feed(piece)] == [COMMENT] * 3
    assert list(decoder.end()) == [Event(data='\n{"a":1}')]
