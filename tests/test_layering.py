"""Who may import whom (DESIGN §3), read from the source: also inside functions and for type hints only.

The tables come first. A room is a module or package with all that begins with its name (`bot.config` is also
`bot.config_forms`); a module that stands in no room fails the test, so the house can't grow a floor unseen.
"""

import ast
import fnmatch
import graphlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GROUND = ("bot.clock", "bot.durations", "bot.exits", "bot.findings", "bot.hosts", "bot.tracebacks")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # room            may import of our own
    "store":          ("store",),
    "bot.clock":      (),
    "bot.durations":  (),
    "bot.exits":      (),
    "bot.findings":   (),
    "bot.hosts":      (),
    "bot.tracebacks": (),
    "bot.config":     ("bot.config", *GROUND),
    "bot.telemetry":  ("bot.telemetry",),
    "bot.progress":   ("bot.progress", "bot.llm", *GROUND),
    "bot.llm":        ("bot.llm", *GROUND),
    "bot.chat":       ("bot.chat", "bot.llm", "store", *GROUND),
    "bot.adapters":   ("bot.adapters", "bot.chat", "store", *GROUND),
    "bot.web":        ("bot.web", "bot.chat", "bot.adapters.web", "store", *GROUND),
    "bot.app":        ("bot", "store"),
    "bot.__main__":   ("bot", "store"),
    "bot":            (),  # the package itself, which is empty
}  # fmt: skip

ONLY_IN: dict[str, tuple[str, ...]] = {
    # library         the files that may import it
    "sqlalchemy":     ("store/schema.py", "store/migrate.py", "store/migrations/*"),
    "alembic":        ("store/schema.py", "store/migrate.py", "store/migrations/*"),
    "aiosqlite":      ("store/*",),
    "psycopg":        ("store/*",),
    "psycopg_pool":   ("store/*",),
    "discord":        ("bot/adapters/discord*",),
    "slack_bolt":     ("bot/adapters/slack*",),
    "slack_sdk":      ("bot/adapters/slack*",),
    "rich":           (TERMINAL := ("bot/__main__.py", "bot/app*", "bot/adapters/console*", "bot/progress*",
                                    "bot/llm/weights_progress.py")),
    "typer":          TERMINAL,
    "prompt_toolkit": TERMINAL,
}  # fmt: skip

NO_NAME = {"util", "utils", "helper", "helpers", "manager", "managers"}


class Import(NamedTuple):
    target: str
    line: int
    at_start: bool
    """It is carried out when the module is imported."""


def modules() -> dict[str, Path]:
    """Return every module of ours by its dotted name."""
    files = [file for package in ("bot", "store") for file in sorted((ROOT / package).rglob("*.py"))]
    return {dotted(file.relative_to(ROOT).as_posix()): file for file in files}


def dotted(path: str) -> str:
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: str, source: str) -> Iterator[Import]:
    """Yield what the source imports, with `from a import b` as `a.b`: the caller knows whether that is a module."""
    package = dotted(path) if path.endswith("/__init__.py") else dotted(path).rpartition(".")[0]
    yield from _walk(ast.parse(source), package, at_start=True)


def _walk(node: ast.AST, package: str, *, at_start: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            yield from (Import(alias.name, node.lineno, at_start) for alias in names)
        case ast.ImportFrom(names=names, module=module, level=level):
            above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            base = ".".join([*above, *([module] if module else [])])
            yield from (Import(f"{base}.{alias.name}", node.lineno, at_start) for alias in names)
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"), args=[first, *_]
        ):
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno, at_start)
    for child in ast.iter_child_nodes(node):
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and child in node.body
        )
        yield from _walk(child, package, at_start=at_start and not later)


def belongs(module: str, room: str) -> bool:
    return module == room or module.startswith((f"{room}.", f"{room}_"))


def room_of(module: str) -> str | None:
    """Return the room that a module stands in; `bot` alone is the empty package, not all that is below it."""
    fitting = [room for room in MAY_IMPORT if (module == room if room == "bot" else belongs(module, room))]
    return max(fitting, key=len, default=None)


def violations(path: str, source: str) -> list[str]:
    """Return what is wrong with a module, one line each."""
    wrong = []
    module = dotted(path)
    room = room_of(module)
    if room is None:
        wrong.append(f"{path}: stands in no room of MAY_IMPORT")
    if NO_NAME & {word for part in PurePosixPath(path).with_suffix("").parts for word in part.split("_")}:
        wrong.append(f"{path}: is named for no subject")
    for target, line, _ in imports_of(path, source):
        library = target.partition(".")[0]
        allowed = MAY_IMPORT.get(room or "", ())
        if library in ("bot", "store") and not any(belongs(target, free) for free in allowed):
            wrong.append(f"{path}:{line}: {room} may not import {target}")
        if library in ONLY_IN and not any(fnmatch.fnmatch(path, pattern) for pattern in ONLY_IN[library]):
            wrong.append(f"{path}:{line}: {library} is imported in {', '.join(ONLY_IN[library])} only")
    return wrong


def circle(sources: dict[str, tuple[str, str]]) -> list[str]:
    """Return a circle of imports at module level, [] when there is none; `sources` are path and text by dotted name."""
    graph = {}
    for module, (path, source) in sources.items():
        targets = [target for target, _, at_start in imports_of(path, source) if at_start]
        named = {target if target in sources else target.rpartition(".")[0] for target in targets}
        graph[module] = named & sources.keys() - {module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as exc:
        return list(exc.args[1])
    return []


def test_every_import_points_down() -> None:
    wrong = [line for file in modules().values() for line in violations(file.relative_to(ROOT).as_posix(), file.read_text())]
    assert not wrong, "\n".join(wrong)


def test_there_is_no_circle() -> None:
    assert circle({name: (file.relative_to(ROOT).as_posix(), file.read_text()) for name, file in modules().items()}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/sqlite.py", "import bot"),
        ("store/sqlite.py", "def f():\n    from bot.clock import Clock"),
        (
            "store/sqlite.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bot.chat.protocol import Address",
        ),
        ("store/sqlite.py", "from importlib import import_module\nimport_module('bot.chat')"),
        ("store/sqlite.py", "import importlib\nasync def f():\n    importlib.import_module('bot.chat')"),
        ("store/postgres.py", "import sqlalchemy as sa"),
        ("store/sqlite.py", "try:\n    import alembic.command\nexcept ImportError:\n    pass"),
        ("bot/llm/openai.py", "from store import Store"),
        ("bot/llm/openai.py", "from ..chat import protocol"),
        ("bot/llm/openai.py", "from .. import chat"),
        ("bot/chat/turns.py", "from bot import config"),
        ("bot/chat/turns.py", "from bot.telemetry import Metrics"),
        ("bot/chat/turns.py", "from bot.adapters.console import Console"),
        ("bot/chat/commands.py", "import rich"),
        ("bot/chat/turns.py", "import discord"),
        ("bot/adapters/discord/adapter.py", "from slack_sdk import WebClient"),
        ("bot/adapters/discord/adapter.py", "from bot.llm.protocol import LLMClient"),
        ("bot/adapters/console.py", "from bot.app import run"),
        ("bot/web/server.py", "from bot.adapters.discord import DiscordAdapter"),
        ("bot/web/server.py", "from bot.config_forms import Operator"),
        ("bot/telemetry.py", "from bot.config import Settings"),
        ("bot/clock.py", "import bot.chat"),
        ("bot/cellar.py", ""),
        ("bot/chat/utils.py", ""),
        ("bot/chat/turn_manager.py", ""),
        ("bot/helpers/text.py", ""),
    ],
)
def test_the_checker_sees_what_is_wrong(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/migrations/versions/0001_baseline.py", "import sqlalchemy as sa\nfrom alembic import op"),
        ("store/sqlite.py", "from store.protocol import Store\nimport aiosqlite"),
        (
            "bot/chat/turns.py",
            "from store import Store\nfrom bot.llm.protocol import LLMClient\nfrom . import protocol\nimport structlog",
        ),
        ("bot/adapters/discord/adapter.py", "import discord\nfrom ...chat import protocol\nfrom .surface import Surface"),
        ("bot/adapters/console.py", "import prompt_toolkit\nfrom bot.clock import Clock"),
        ("bot/web/playground.py", "from bot.adapters.web import WebAdapter"),
        ("bot/app_doctor.py", "from bot.config import Settings\nfrom store import Store\nimport rich"),
        ("bot/__main__.py", "from bot import app, config\nimport typer"),
        ("bot/config_file.py", "from bot.config_checks import Problem\nfrom bot.durations import parse_duration"),
    ],
)
def test_the_checker_leaves_alone_what_is_right(path: str, source: str) -> None:
    assert violations(path, source) == []


def test_the_checker_sees_a_circle_but_not_one_of_late_imports() -> None:
    back = "from bot.chat import a"
    forth = {"bot.chat.a": ("bot/chat/a.py", "import bot.chat.b"), "bot.chat": ("bot/chat/__init__.py", "")}
    assert circle(forth | {"bot.chat.b": ("bot/chat/b.py", back)})
    assert circle(forth | {"bot.chat.b": ("bot/chat/b.py", f"class C:\n    {back}")})
    assert not circle(forth | {"bot.chat.b": ("bot/chat/b.py", f"def f():\n    {back}")})
    assert not circle(forth | {"bot.chat.b": ("bot/chat/b.py", f"if TYPE_CHECKING:\n    {back}")})
