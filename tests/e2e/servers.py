"""The fake model server as a process of its own, for programs under test that are processes too."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.zygote import PATIENCE_SECONDS, ROOT


class Model:
    """The server, as a test sees it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    @property
    def env(self) -> dict[str, str]:
        """The settings that make Parley use it."""
        return {"LLM_PROVIDER": "openai", "LLM_BASE_URL": f"{self._url}/v1", "LLM_MODEL": "fake-model"}

    def plan(self, *steps: Any) -> None:
        """Say what the next calls get (see `tests.fakes.model_server.planned`)."""
        self._call("/_plan", list(steps))

    def prompts(self) -> list[list[dict[str, str]]]:
        """Every prompt that was sent so far."""
        return [call["body"]["messages"] for call in self.calls()]

    def calls(self) -> list[Any]:
        """Every call so far: `method`, `path`, `headers`, `body`, and `alongside`, the numbers of the earlier ones that were
        still being answered when it came."""
        calls: list[Any] = self._call("/_requests")
        return calls

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._url + path, data, timeout=PATIENCE_SECONDS) as response:  # noqa: S310
            return json.loads(response.read())


@contextlib.contextmanager
def model_server(directory: Path, *, delay_ms: int = 0, port: int = 0) -> Iterator[Model]:
    """Run the server until the end of the block; it answers with the question, word by word, `delay_ms` apart."""
    port_file = directory / "model.port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.fakes.model_server", "--port-file", str(port_file)]
    command += ["--delay-ms", str(delay_ms), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + PATIENCE_SECONDS
        while not port_file.exists():
            assert process.poll() is None, "the model server did not start"
            assert time.monotonic() < limit
            time.sleep(0.01)
        yield Model(int(port_file.read_text()))
    finally:
        process.kill()
        process.wait()
