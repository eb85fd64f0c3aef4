"""A file server on loopback that can be as unhelpful as the ones on the way to a model."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WeightServer:
    """Serves `body` at every path but `/moved/...`, which redirects; what it was asked for stands in `ranges`."""

    body: bytes
    status: int = 200
    honours_ranges: bool = True
    says_length: bool = True
    content_range: str = ""
    """Said in place of the true one."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes each coming response breaks off; then none does."""
    stalls_after: int | None = None
    """After how many bytes every response falls silent, until `go_on` is set."""
    go_on: threading.Event = field(default_factory=threading.Event)
    ranges: list[str] = field(default_factory=list)
    address: str = ""

    @contextmanager
    def serving(self) -> Iterator[str]:
        http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        self.address = f"http://127.0.0.1:{http.server_address[1]}"
        try:
            yield self.address
        finally:
            self.go_on.set()
            http.shutdown()
            thread.join()
            http.server_close()


def _handler(server: WeightServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/moved"))
                self.end_headers()
                return
            asked = self.headers.get("Range", "")
            server.ranges.append(asked)
            body, status = server.body, server.status
            wanted = re.fullmatch(r"bytes=(\d+)-", asked)
            if wanted and server.honours_ranges and status == 200:
                start = int(wanted[1])
                status, body = (206, body[start:]) if start < len(body) else (416, b"")
            self.send_response(status)
            if status == 206:
                true = f"bytes {start}-{len(server.body) - 1}/{len(server.body)}"
                self.send_header("Content-Range", server.content_range or true)
            if server.says_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body)

        def _send(self, body: bytes) -> None:
            cut = server.cuts.pop(0) if server.cuts else len(body)
            try:
                if server.stalls_after is not None and server.stalls_after < cut:
                    self.wfile.write(body[: server.stalls_after])
                    server.go_on.wait(30)
                    self.wfile.write(body[server.stalls_after : cut])
                else:
                    self.wfile.write(body[:cut])
            except OSError:
                pass  # the client has left
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler
