"""The web side, over a real socket: health, readiness, metrics, and whom it does not answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from bot.web import server
from bot.web.server import BODY_BYTES, Check, Mount, WebError, WebSide

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(
    checks: Mapping[str, Check] | None = None,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    registry: CollectorRegistry | None = None,
    mounts: tuple[Mount, ...] = (),
    names: tuple[str, ...] = (),
) -> AsyncIterator[httpx.AsyncClient]:
    side = WebSide(host, 0, token, registry or CollectorRegistry(), checks or {}, mounts=mounts, names=names)
    await side.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}", trust_env=False) as client:
            yield client
    finally:
        await side.aclose()


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this machine for another one, so that a test need not listen where others can reach it."""
    monkeypatch.setattr(server, "is_loopback", lambda host: False)


async def fine() -> None:
    return None


async def broken() -> None:
    raise ConnectionError("postgresql://bot:hunter22@db is down")


async def not_yet() -> bool:
    return False


async def stuck() -> None:
    await asyncio.Event().wait()


async def stubborn() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0.2)
        raise RuntimeError("woken") from None


async def test_healthz_says_that_the_process_lives() -> None:
    async with serving({"store": broken}) as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert (await client.head("/healthz")).status_code == 200


async def test_readyz_names_what_is_not_ready() -> None:
    async with serving({"store": fine, "discord": fine}) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "not_ready": []})
    async with serving({"store": broken, "slack": not_yet, "discord": fine}) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "not_ready": ["slack", "store"]})
        assert "hunter22" not in answer.text
    async with serving() as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_a_check_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CHECK_LIMIT", server.CHECK_LIMIT / 40)
    async with serving({"store": stuck, "model": stubborn, "discord": fine}) as client:
        async with asyncio.timeout(10):
            answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["not_ready"]) == (503, ["model", "store"])
        await asyncio.sleep(0.3)


async def test_the_limit_of_a_check_is_two_seconds() -> None:
    assert server.CHECK_LIMIT.total_seconds() == 2


async def test_many_who_ask_at_once_cause_one_check() -> None:
    asked = arrived = 0
    go = asyncio.Event()

    async def slow() -> None:
        nonlocal asked
        asked += 1
        await go.wait()

    def counting(app: web.Application) -> None:
        @web.middleware
        async def count(request: web.Request, handler: Any) -> web.StreamResponse:
            nonlocal arrived
            arrived += 1
            return await handler(request)

        app.middlewares.append(count)

    async with serving({"store": slow}, mounts=(counting,)) as client:
        answers = [asyncio.create_task(client.get("/readyz")) for _ in range(20)]
        while arrived < 20:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
        go.set()
        assert {answer.status_code for answer in await asyncio.gather(*answers)} == {200}
        assert asked == 1
        await client.get("/readyz")
        assert asked == 2


async def test_one_who_goes_away_does_not_spoil_the_check_of_others() -> None:
    go = asyncio.Event()

    async def slow() -> None:
        await go.wait()

    async with serving({"store": slow}) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/readyz", timeout=httpx.Timeout(30, read=0.05))
        other = asyncio.create_task(client.get("/readyz"))
        await asyncio.sleep(0.05)
        go.set()
        assert (await other).status_code == 200


async def test_readiness_is_logged_when_it_changes() -> None:
    ready = False

    async def check() -> bool:
        return ready

    with capture_logs() as logs:
        async with serving({"store": check}) as client:
            for _ in range(3):
                await client.get("/readyz")
            ready = True
            for _ in range(3):
                await client.get("/readyz")
    changes = [(entry["log_level"], entry["not_ready"]) for entry in logs if entry["event"] == "web.readiness_changed"]
    assert changes == [("warning", {"store": "not yet"}), ("info", {})]


async def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("parley_turns", "Turns", registry=registry).inc(3)
    async with serving(registry=registry) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert "parley_turns_total 3.0" in answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("Bearer", 401),
        ("Bearer letmein-letmei", 401),
        ("Bearer letmein-letmein2", 401),
        ("Basic letmein-letmein", 401),
        ("letmein-letmein", 401),
        ("Bearer l\xe9tmein", 401),
        ("Bearer letmein-letmein", 200),
        ("bearer letmein-letmein", 200),
    ],
)
async def test_metrics_need_the_token_where_there_is_one(given: str | None, status: int) -> None:
    headers = httpx.Headers({} if given is None else {b"Authorization": given.encode("latin-1")})
    async with serving(token="letmein-letmein") as client:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_without_a_token_metrics_are_shown_to_who_asks_this_machine_by_its_own_name_alone() -> None:
    async with serving(names=("parley.example",)) as client:
        assert (await client.get("/metrics", headers={"Host": "localhost:8080"})).status_code == 200
        assert (await client.get("/metrics", headers={"Host": "parley.example"})).status_code == 401
        assert (await client.get("/metrics", headers={"Host": "evil.example"})).status_code == 421


@pytest.mark.usefixtures("anywhere")
async def test_an_open_port_without_a_token_is_not_opened() -> None:
    with pytest.raises(WebError, match="HTTP_TOKEN"):
        await WebSide("127.0.0.1", 0, None, CollectorRegistry(), {}).start()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST.:80", 200),
        ("[::1]:8080", 200),
        ("parley.example:443", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("8.8.8.8", 421),
        ("127.0.0.1@evil.example", 421),
        ("", 421),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/nothing"])
async def test_only_our_own_names_are_answered(host: str, status: int, path: str) -> None:
    async with serving(names=("Parley.example",)) as client:
        answer = await client.get(path, headers={"Host": host})
        assert answer.status_code == (404 if path == "/nothing" and status == 200 else status)


async def test_a_wildcard_is_reached_by_address_but_not_by_any_name() -> None:
    side = WebSide("0.0.0.0", 0, "letmein-letmein", CollectorRegistry(), {})  # noqa: S104 - not started
    assert side._is_ours(["10.1.2.3:8080"])
    assert side._is_ours(["localhost"])
    assert not side._is_ours(["evil.example"])
    assert not side._is_ours(["10.1.2.3", "10.1.2.3"])
    assert not side._is_ours([])


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        async with asyncio.timeout(5):
            return await reader.read(65536)
    finally:
        writer.close()


async def test_wrong_requests_get_their_status_and_learn_no_version() -> None:
    def mount(app: web.Application) -> None:
        async def take(request: web.Request) -> web.Response:
            return web.Response(text=str(len(await request.read())))

        async def fail(request: web.Request) -> web.Response:
            raise ValueError("hunter22")

        app.router.add_post("/take", take)
        app.router.add_get("/fail", fail)

    async with serving(mounts=(mount,)) as client:
        host = f"Host: {client.base_url.netloc.decode()}\r\n".encode()
        port = client.base_url.port
        assert port is not None
        answers = {
            405: await client.post("/healthz"),
            404: await client.get("/no-such"),
            413: await client.post("/take", content=b"x" * (BODY_BYTES + 1)),
            500: await client.get("/fail"),
            200: await client.post("/take", content=b"x" * 1000),
        }
        for status, answer in answers.items():
            assert answer.status_code == status
            assert answer.headers["Server"] == "parley"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
            assert "hunter22" not in answer.text
        assert answers[405].headers["Allow"] == "GET,HEAD"

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(BODY_BYTES // 65536 + 2):
                yield b"x" * 65536

        assert (await client.post("/take", content=endless())).status_code == 413
        declared = await raw(port, b"POST /healthz HTTP/1.1\r\n" + host + b"Content-Length: 50000000\r\n\r\n")
        assert b" 413 " in declared.splitlines()[0]
        nonsense = await raw(port, b"\x16\x03\x01 not http\r\n\r\n")
        assert b" 400 " in nonsense.splitlines()[0]
        assert b"aiohttp" not in nonsense.lower()
        assert b"Python" not in nonsense


async def test_mounted_routes_stand_behind_the_same_guard_and_may_set_their_own_headers() -> None:
    def mount(app: web.Application) -> None:
        async def page(request: web.Request) -> web.Response:
            return web.Response(text="hello", headers={"Cache-Control": "max-age=60"})

        app.router.add_get("/page", page)

    async with serving(mounts=(mount,)) as client:
        answer = await client.get("/page")
        assert (answer.text, answer.headers["Cache-Control"]) == ("hello", "max-age=60")
        assert (await client.get("/page", headers={"Host": "evil.example"})).status_code == 421


async def test_a_taken_port_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        side = WebSide("127.0.0.1", taken.getsockname()[1], None, CollectorRegistry(), {})
        with pytest.raises(WebError, match="HTTP_PORT"):
            await side.start()
        await side.aclose()


async def test_an_address_of_another_machine_names_the_setting() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(WebError, match="HTTP_HOST"):
            await WebSide(host, 0, "letmein-letmein", CollectorRegistry(), {}).start()


async def test_close_may_be_called_twice_and_ends_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_SECONDS", 0.1)
    side = WebSide("127.0.0.1", 0, None, CollectorRegistry(), {"store": stuck})
    await side.aclose()
    await side.start()
    port = side.port
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        waiting = asyncio.create_task(client.get("/readyz"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await side.aclose()
            await side.aclose()
        with pytest.raises(httpx.HTTPError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
