"""Python in another process, for what one process cannot do to itself: die, hold a lock, have fewer rights."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_PRELUDE = """
import json, os, sys
def tell(**values):
    print(json.dumps(values), flush=True)
"""


def run_python(code: str, *arguments: object) -> dict[str, Any]:
    """Run `code` to its end and return what it told."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def run_at_once(times: int, code: str, *arguments: object) -> list[dict[str, Any]]:
    """Run `code` to its end in so many processes that begin together, and return what each told."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: run_python(code, *arguments), range(times)))


@contextlib.contextmanager
def python(code: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run `code` until it has told something, and meanwhile; it ends at the latest when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
