"""Reads a `.env` file: `NAME=value` lines, with the number of every line that is not one or misspells a setting.

A value is taken as it is written, without `${...}` being replaced: passwords hold any sign. What is said about a line is
its number and the setting that was meant, never the line: a secret that was broken over two lines ends up in the name.
"""

import difflib
import io
from collections.abc import Collection
from pathlib import Path

from dotenv.parser import parse_stream

from bot.config_checks import Problem

FILE_BYTES = 1024 * 1024
ALIKE = 0.8
"""How much a name must look like a setting's to be its misspelling: one wrong, missing or swapped letter in five."""
FOREIGN = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"})
"""Names that everybody else reads from such a file too and that look like ours."""


def read_env_file(path: str | Path | None, names: Collection[str]) -> tuple[dict[str, str], list[Problem]]:
    """Return what the file sets of `names`, and what is wrong with it. A file that is missing sets nothing."""
    if path is None:
        return {}, []
    where = Path(path).name
    try:
        with Path(path).open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except OSError:
        return {}, [Problem(setting=where, text="expected a file that Parley may read; check its owner and mode")]
    except UnicodeDecodeError:
        return {}, [Problem(setting=where, text="expected a text in UTF-8; save it as UTF-8")]
    if len(raw) > FILE_BYTES:
        return {}, [Problem(setting=where, text="expected at most 1 MiB; take away what is no setting")]
    return _read(text, where, names)


def _read(text: str, where: str, names: Collection[str]) -> tuple[dict[str, str], list[Problem]]:
    written: dict[str, str] = {}
    problems: list[Problem] = []

    def complain(line: int, said: str) -> None:
        problems.append(Problem(setting=f"{where} line {line}", text=said))

    for binding in parse_stream(io.StringIO(text)):
        # The parser counts the blank lines in front of a statement as part of it.
        line = binding.original.line + _leading_newlines(binding.original.string)
        if binding.error or (binding.key is not None and binding.value is None):
            complain(line, "expected NAME=value; close its quotes, and keep a value on one line")
        elif binding.key is None:
            continue  # a comment or the empty end
        elif binding.key in names:
            if binding.value:
                written[binding.key] = binding.value
        elif (meant := _meant(binding.key, names)) is not None:
            complain(line, f"this is no setting but looks like {meant}; correct its name, or take it away")
    return written, problems


def _leading_newlines(string: str) -> int:
    blank = string[: len(string) - len(string.lstrip())]
    return blank.replace("\r\n", "\n").replace("\r", "\n").count("\n")


def _meant(name: str, names: Collection[str]) -> str | None:
    """Name the setting that `name` was probably meant to be."""
    if name in FOREIGN:
        return None
    near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=ALIKE)
    return near[0] if near else None
