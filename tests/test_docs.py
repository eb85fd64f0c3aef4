"""The documents say what the code says: every setting and its default, every command of chat and shell."""

import importlib
import re
from pathlib import Path

import pytest

from bot.config import SettingDescription, describe_settings

ROOT = Path(__file__).parents[1]
SETTINGS = describe_settings()


def table_rows(text: str, word: str) -> list[str]:
    """Return the rows of Markdown tables whose first cell holds `word` as code."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if re.search(rf"`[^`]*(?<![\w/-]){re.escape(word)}(?![\w-])[^`]*`", row.split("|")[1])]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_env_example_shows_every_setting_with_its_meaning_and_default(setting: SettingDescription) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert lines.count(f"#{setting.name}={setting.default}") == 1
    assert lines[lines.index(f"#{setting.name}={setting.default}") - 1] == f"# {setting.meaning}"


def test_env_example_shows_no_other_setting() -> None:
    shown = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert shown == [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_readme_lists_every_setting_with_its_default(setting: SettingDescription) -> None:
    rows = table_rows((ROOT / "README.md").read_text(), setting.name)
    assert len(rows) == 1
    assert setting.default in rows[0]


def test_readme_lists_no_setting_that_is_gone() -> None:
    names = {setting.name for setting in SETTINGS}
    rows = [line.split("|")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    assert not {name for row in rows for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", row)} - names


def test_readme_lists_every_chat_command() -> None:
    table = importlib.import_module("bot.chat.commands").TABLE
    readme = (ROOT / "README.md").read_text()
    typed = [f"/{command.group.value} {command.name}" for command in table.values()]
    assert typed
    assert [command for command in typed if not table_rows(readme, command)] == []


def test_readme_lists_every_shell_command() -> None:
    shell = importlib.import_module("bot.__main__")
    names = [command.name or command.callback.__name__.replace("_", "-") for command in shell.app.registered_commands]
    readme = (ROOT / "README.md").read_text()
    assert names
    assert [name for name in names if f"parley {name}" not in readme] == []
