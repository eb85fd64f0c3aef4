"""One call to a model over HTTP, whatever the dialect: request, deadlines, bounds, and what can break on the way.

Redirects and the environment's proxies are not followed, bodies are never decompressed, and at most `MAX_BYTES` are read:
a model's address is configured, but what stands behind it is not trusted.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import httpcore
import httpx

from bot.clock import Clock
from bot.llm import failures
from bot.llm.answer import ALIVE, Answer, Feed
from bot.llm.connections import Connections
from bot.llm.deadlines import Deadlines, Watch
from bot.llm.protocol import Delta, LLMError, LLMRejected, LLMTimeout, LLMUnavailable, StreamBroken
from bot.llm.sse import BodyDecoder, Comment, Decoder, SseDecoder

MAX_BYTES = 8 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
# After the answer is delivered: how long to wait for the end of the body, so that the connection can be used again. Servers
# send it together with the end mark; to wait for longer than a handshake takes would gain nothing.
_DRAIN = timedelta(milliseconds=50)

Compose = Callable[[frozenset[str]], Mapping[str, object]]
"""How a dialect writes a request, given the parameters that the server has refused before."""


class Wire:
    """The way to one model."""

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        headers: Mapping[str, str],
        clock: Clock,
        deadlines: Deadlines,
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self._model = model
        self._base_url = _checked_url(base_url)
        self._clock = clock
        self._deadlines = deadlines
        self._optional = optional
        self._refused: frozenset[str] = frozenset()
        self._http = httpx.AsyncClient(
            headers={
                "accept": "text/event-stream, application/json",
                "accept-encoding": "identity",
                "content-type": "application/json",
                "user-agent": "parley",
                **_checked_headers(headers),
            },
            timeout=None,  # noqa: S113 - the deadlines are ours, see `deadlines`
            trust_env=False,
            follow_redirects=False,
            transport=Connections(clock),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def stream(self, path: str, compose: Compose, feed: Feed) -> AsyncIterator[AsyncIterator[Delta]]:
        """Make one call.

        Raises:
            LLMError: on entering or while iterating.
        """
        if self._http.is_closed:
            raise LLMUnavailable(f"{self._model}: the client is closed")
        async with Watch(self._model, self._clock, self._deadlines) as watch:
            response = await self._open(watch, path, compose)
            try:
                async with aclosing(self._read(watch, response, feed)) as deltas:
                    yield deltas
            finally:
                await _close(response)

    async def _open(self, watch: Watch, path: str, compose: Compose) -> httpx.Response:
        """Send the request, without the parameters that the server turns out not to know."""
        while True:
            body = compose(self._refused)
            response = await self._post(watch, path, body)
            if response.is_success:
                return response
            error = await self._read_refusal(watch, response)
            if not isinstance(error, failures.ParameterRefused) or error.parameter not in body:
                raise error
            self._refused |= {error.parameter}  # for the client's life, so that it costs one call and not one each time

    async def _post(self, watch: Watch, path: str, body: Mapping[str, object]) -> httpx.Response:
        half_open: list[httpcore.AsyncNetworkStream] = []

        async def trace(event: str, info: Mapping[str, object]) -> None:
            if event == "connection.connect_tcp.complete" and isinstance(
                stream := info["return_value"], httpcore.AsyncNetworkStream
            ):
                half_open.append(stream)
            elif event.endswith("send_request_headers.started"):
                half_open.clear()
                watch.connected()

        request = self._http.build_request(
            "POST", self._base_url + path, content=json.dumps(body).encode(), extensions={"trace": trace}
        )
        watch.connecting()
        try:
            return await watch.within(lambda: self._http.send(request, stream=True))
        except httpx.ConnectError as exc:
            raise LLMUnavailable(f"{self._model}: can't connect to {request.url.host}; check LLM_BASE_URL ({exc})") from exc
        except (httpx.HTTPError, OSError) as exc:
            raise LLMUnavailable(f"{self._model}: the connection broke before the answer ({type(exc).__name__})") from exc
        finally:
            for stream in half_open:  # httpcore forgets its socket when it is cancelled in the TLS handshake
                await stream.aclose()

    async def _read_refusal(self, watch: Watch, response: httpx.Response) -> LLMError:
        body = b""
        try:
            if _is_plain(response):
                chunks = response.aiter_raw()
                while (
                    len(body) < _MAX_ERROR_BYTES and (chunk := await watch.within(lambda: anext(chunks, None))) is not None
                ):
                    body += chunk
        except (httpx.HTTPError, OSError, LLMTimeout):
            pass  # the status alone says enough
        finally:
            await _close(response)
        return failures.refusal(
            self._model,
            status=response.status_code,
            headers=response.headers,
            body=body[:_MAX_ERROR_BYTES],
            now=self._clock.now(),
            optional=self._optional,
        )

    async def _read(self, watch: Watch, response: httpx.Response, feed: Feed) -> AsyncGenerator[Delta, None]:
        chunks = self._chunks(watch, response)
        decoder = self._decoder(response)
        answer = Answer(self._model)
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    for frame in decoder.feed(chunk) if chunk else decoder.end():
                        watch.alive()
                        if isinstance(frame, Comment):
                            yield ALIVE
                            continue
                        for delta in feed(answer, frame):
                            yield delta
                    if answer.complete:
                        break
                    if answer.stopped:
                        watch.ending()
            except LLMError as exc:
                if not answer.stopped:  # else the answer is whole, and only its tail is missing
                    if answer.spoke and not isinstance(exc, StreamBroken | LLMTimeout):
                        raise StreamBroken(str(exc)) from exc
                    raise
            try:
                for delta in answer.end():
                    yield delta
            finally:  # whoever has the last delta reads no further
                await self._drain(watch, chunks)

    async def _chunks(self, watch: Watch, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Give the body as it arrives, and an empty chunk for its end."""
        size = 0
        raw = response.aiter_raw()
        while True:
            try:
                chunk = await watch.within(lambda: anext(raw, b""))
            except (httpx.HTTPError, OSError) as exc:
                raise StreamBroken(f"{self._model}: the connection broke in the answer ({type(exc).__name__})") from exc
            size += len(chunk)
            if size > MAX_BYTES:
                raise StreamBroken(f"{self._model}: the answer is larger than {MAX_BYTES // 1024**2} MiB")
            yield chunk
            if not chunk:
                return

    def _decoder(self, response: httpx.Response) -> Decoder:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _is_plain(response):
            raise StreamBroken(f"{self._model}: the answer is compressed although that was not asked for")
        if kind in ("text/html", "application/xhtml+xml"):
            raise LLMRejected(f"{self._model}: a web page answers instead of a model; check LLM_BASE_URL")
        return BodyDecoder() if kind == "application/json" else SseDecoder()

    @staticmethod
    async def _drain(watch: Watch, chunks: AsyncIterator[bytes]) -> None:
        watch.ending(_DRAIN)
        try:
            async for _ in chunks:
                pass
        except LLMError:
            pass  # the answer is whole; only this connection can't be used again


async def _close(response: httpx.Response) -> None:
    await response.aclose()
    response.stream = httpx.ByteStream(b"")  # httpx's own holds its response, and would keep it in memory


def _is_plain(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() in ("", "identity")


def _checked_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as exc:
        raise ValueError("the model's base URL is not a URL") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the model's base URL must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the model's base URL must not hold a user, a query or a fragment; keys go into LLM_API_KEY")
    return base_url.rstrip("/")


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse here what the HTTP library would refuse later, quoting the key in its message."""
    for value in headers.values():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError("the model's key holds characters that no HTTP header can carry")
    return headers
