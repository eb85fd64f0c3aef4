"""The web side: whether Parley lives, whether it is ready, and what it counts; others mount their routes here.

Nothing is answered to a host name that is not ours: a page in somebody's browser can give its own name this machine's
address (DNS rebinding), but not change the `Host` that the browser sends.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

import structlog
from aiohttp import web, web_response
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bot.hosts import is_address, is_loopback

Check = Callable[[], Awaitable[bool | None]]
"""Says whether a part is ready: it is not when the check raises, returns False or takes too long."""
Mount = Callable[[web.Application], None]
"""Adds routes to the application before it starts."""

CHECK_LIMIT = timedelta(seconds=2)
BODY_BYTES = 1024 * 1024
SHUTDOWN_SECONDS = 2.0
HEADERS = {
    "Server": "parley",  # a version would tell which holes to try
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = structlog.get_logger(__name__)


class WebError(Exception):
    """The web side can't start; the message names the remedy."""


class WebSide:
    """Serves `/healthz`, `/readyz`, `/metrics` and what is mounted, between `start` and `aclose`.

    `names` are further host names that it is reached by, such as a proxy's. `token` guards `/metrics`; without one they are
    shown only to who asks this machine by its own name.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        registry: CollectorRegistry,
        checks: Mapping[str, Check],
        *,
        mounts: Sequence[Mount] = (),
        names: Collection[str] = (),
    ) -> None:
        self._host = host.strip("[]")
        self._port = port
        self._token = token
        self._registry = registry
        self._checks = dict(checks)
        self._mounts = tuple(mounts)
        self._names = frozenset(name.lower() for name in (self._host, *names))
        self._runner: web.AppRunner | None = None
        self._asking: asyncio.Task[list[str]] | None = None
        self._overdue: set[asyncio.Task[bool | None]] = set()
        self._missing: list[str] = []
        self._told_of_strangers = False

    @property
    def port(self) -> int:
        """The port that is listened on; the system's choice when 0 was asked for and `start` has returned."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            WebError: the port is taken, the address is not this machine's, or it is open to others without a token.
        """
        if not is_loopback(self._host) and not self._token:
            raise WebError("the web side would be open to other machines: set HTTP_TOKEN, or HTTP_HOST=127.0.0.1")
        # aiohttp answers requests that are no HTTP by itself, with its version and past every hook of the application.
        web_response.SERVER_SOFTWARE = HEADERS["Server"]  # type: ignore[attr-defined]
        runner = web.AppRunner(self._build(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as exc:
            await runner.cleanup()
            raise WebError(
                f"can't listen on {self._host} port {self._port} ({exc.strerror or 'no such address'}): "
                "set HTTP_PORT to a free port (0 takes any), or HTTP_HOST to an address of this machine"
            ) from exc
        self._runner = runner
        log.info("web.started", host=self._host, port=self.port)

    async def aclose(self) -> None:
        """Stop listening and end what is open; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        for task in (*self._overdue, *([self._asking] if self._asking is not None else [])):
            task.cancel()

    def _build(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES)
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        for mount in self._mounts:
            mount(app)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn away strange hosts and bodies that are too long before anything is read."""
        if not self._is_ours(request.headers.getall("Host", [])):
            if not self._told_of_strangers:
                self._told_of_strangers = True
                log.warning("web.strange_host", remedy="name the host by which a proxy reaches us in HTTP_NAMES")
            raise web.HTTPMisdirectedRequest(text="this is not the host that you asked for\n")
        if request.content_length is not None and request.content_length > BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=BODY_BYTES, actual_size=request.content_length)
        return await handler(request)

    def _is_ours(self, hosts: list[str]) -> bool:
        """Tell whether the `Host` headers, of which there must be one, name us.

        Any address will do when we listen on all of them: a rebound name is a name.
        """
        if len(hosts) != 1:
            return False
        name = _without_port(hosts[0])
        return is_loopback(name) or name in self._names or (self._host in ("0.0.0.0", "::") and is_address(name))  # noqa: S104

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        # However many ask at once, the parts are asked once: a check of the store writes.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="readyz")
        missing = await asyncio.shield(self._asking)
        return web.json_response({"ready": not missing, "not_ready": missing}, status=503 if missing else 200)

    async def _ask(self) -> list[str]:
        """Return the names of what is not ready."""
        tasks = {name: asyncio.create_task(_run(check), name=f"readyz {name}") for name, check in self._checks.items()}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=CHECK_LIMIT.total_seconds())
        reasons = {}
        for name, task in sorted(tasks.items()):
            if not task.done():
                task.cancel()  # one that does not listen goes on, and is not waited for
                self._overdue.add(task)
                task.add_done_callback(self._forget)
                reasons[name] = "too slow"
            elif task.cancelled():
                reasons[name] = "cancelled"
            elif (error := task.exception()) is not None:
                reasons[name] = type(error).__name__
            elif task.result() is False:
                reasons[name] = "not yet"
        missing = list(reasons)
        if missing != self._missing:  # said when it changes, not at every probe
            self._missing = missing
            (log.warning if missing else log.info)("web.readiness_changed", not_ready=reasons)
        return missing

    def _forget(self, task: "asyncio.Task[bool | None]") -> None:
        self._overdue.discard(task)
        if not task.cancelled():
            task.exception()  # seen: it was reported as too slow

    async def _metrics(self, request: web.Request) -> web.Response:
        # A proxy on this machine listens for others: that we listen on loopback says nothing about who asks.
        here = self._token is None and is_loopback(_without_port(request.headers.get("Host", "")))
        if not here and not self._may(request):
            raise web.HTTPUnauthorized(
                text="needs Authorization: Bearer <HTTP_TOKEN>\n", headers={"WWW-Authenticate": "Bearer"}
            )
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _may(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = (self._token or "").encode()
        # The comparison takes the same time wherever the first difference is.
        return (
            self._token is not None
            and hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected)
            and scheme.lower() == "bearer"
        )


async def _run(check: Check) -> bool | None:
    return await check()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add what a mounted route has not set itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _without_port(host: str) -> str:
    """Return the name of a `Host` header; an IPv6 address stands in brackets there."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")
