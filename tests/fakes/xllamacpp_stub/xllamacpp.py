"""Stands in for the real `xllamacpp` in a child process: the same calls, and a server that does what its model file says.

The model file is JSON, all of it optional:

    words           what an answer is made of, one event each
    die_after       kill the process after so many words, as long as there is no `<model>.reborn`
    gate            true: after its first word an answer waits until there is a `<model>.gate`
    complaints      lines for standard error; the load fails
    load_seconds    how long the load takes
    drops           how many requests find their connection closed

What was asked of it stands in `<model>.log`, one JSON object a line.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace


class CommonParams(SimpleNamespace):
    def __init__(self):
        threads = SimpleNamespace(n_threads=0), SimpleNamespace(n_threads=0)
        super().__init__(model=SimpleNamespace(path=""), sampling=SimpleNamespace(), cpuparams=threads[0])
        self.cpuparams_batch = threads[1]


class Server:
    def __init__(self, params):
        self._path = Path(params.model.path)
        self._does = json.loads(self._path.read_text())
        self._lock = threading.Lock()
        self._streams = 0
        self.drops = self._does.get("drops", 0)
        plain = {name: value for name, value in vars(params).items() if isinstance(value, str | int | list)}
        self.log(event="load", pid=os.getpid(), argv=sys.argv, environment=dict(os.environ), parameters=plain)
        time.sleep(self._does.get("load_seconds", 0))
        if complaints := self._does.get("complaints"):
            os.write(2, "\n".join(complaints).encode())
            raise RuntimeError("Failed to init server")
        os.write(1, b"chatter that is not for the parent\n")
        http = ThreadingHTTPServer((params.hostnames[0], params.port), _handler(self, params.api_keys[0]))
        self.listening_address = f"http://127.0.0.1:{http.server_address[1]}"
        threading.Thread(target=http.serve_forever, daemon=True).start()

    def log(self, **fields):
        with self._path.with_suffix(".log").open("a") as file:
            file.write(json.dumps(fields) + "\n")

    def answer(self, write):
        with self._lock:
            self._streams += 1
            self.log(event="answer", at_once=self._streams)
        try:
            words = self._does.get("words", ["Hello", " there"])
            for number, word in enumerate(words):
                if number == self._does.get("die_after") and not self._path.with_suffix(".reborn").exists():
                    os.kill(os.getpid(), signal.SIGKILL)
                if number == 1 and self._does.get("gate"):
                    while not self._path.with_suffix(".gate").exists():
                        time.sleep(0.01)
                        write(": waiting\n\n")  # fails once the client is gone
                write(_event({"choices": [{"delta": {"content": word}}]}))
            write(_event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
            write(_event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}}))
            write("data: [DONE]\n\n")
        finally:
            with self._lock:
                self._streams -= 1


def _event(chunk):
    return f"data: {json.dumps({'model': 'stub', **chunk})}\n\n"


def _handler(server, key):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._head(200, "application/json")
            self.wfile.write(b'{"status": "ok"}')

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("Authorization") != f"Bearer {key}":
                return self._head(401, "application/json")
            server.log(event="asked", body=asked)
            if server.drops > 0:
                server.drops -= 1
                self.close_connection = True
                return None
            self._head(200, "text/event-stream")
            try:
                server.answer(lambda text: self.wfile.write(text.encode()))
            except OSError:
                server.log(event="left")

        def _head(self, status, kind):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *args):
            pass

    return Handler
