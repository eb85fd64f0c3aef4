"""The embedded model under test: its made-up server, its processes, and what is asked of it."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.clock import Clock, SystemClock
from bot.llm.local import LocalModel
from bot.llm.protocol import Delta, PromptMessage, PromptRole, Text

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "fakes" / "xllamacpp_stub"
HI = (PromptMessage(role=PromptRole.USER, text="Hi"),)


class Stub:
    """A model file of the made-up server, and the models that were opened on it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "stub-model.gguf"
        self.models: list[LocalModel] = []
        self.does()

    def does(self, **behaviour: object) -> None:
        self.path.write_text(json.dumps(behaviour))

    def model(self, clock: Clock | None = None, **options: object) -> LocalModel:
        model = LocalModel(self.path, clock or SystemClock(), random.Random(1), **options)  # type: ignore[arg-type]
        self.models.append(model)
        return model

    def log(self, event: str) -> list[dict]:
        path = self.path.with_suffix(".log")
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    @property
    def pid(self) -> int:
        return self.log("load")[-1]["pid"]


def exists(pid: int) -> bool:
    """Tell whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lives(pid: int) -> bool:
    """Tell whether the process runs; one whose parent is gone may stay a zombie where nobody adopts it."""
    stat = Path(f"/proc/{pid}/stat")
    return exists(pid) and not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


async def until(is_so: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


async def ask(
    model: LocalModel, prompt: Sequence[PromptMessage] = HI, see: Callable[[Delta], None] | None = None
) -> list[Delta]:
    seen = []
    async with model.stream(prompt) as deltas:
        async for delta in deltas:
            seen.append(delta)
            if see is not None:
                see(delta)
    return seen


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


PARENT = """
import asyncio, random, sys
from pathlib import Path
from bot.clock import SystemClock
from bot.llm.local import LocalModel

async def main():
    model = LocalModel(Path(sys.argv[1]), SystemClock(), random.Random(1))
    starting = asyncio.create_task(model.start())
    if sys.argv[2] == "loaded":
        await starting
    print("there", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def run_parent(model: Path, stage: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(model), stage],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    while "there" not in parent.stdout.readline():
        assert parent.poll() is None
    return parent


def kill_parent(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdout is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
