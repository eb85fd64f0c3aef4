"""The doctor tells what is wrong, whatever it is, and never falls ill itself."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from bot.app_doctor import examine_installation
from bot.config import load_settings
from bot.llm.weights import CATALOGUE


def test_a_model_cache_that_can_not_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "parley" / "models" / CATALOGUE[0].filename).mkdir(parents=True)
    settings = load_settings({"LLM_PROVIDER": "local", "DATABASE_URL": f"sqlite:///{tmp_path / 'parley.db'}"}, None)
    out = io.StringIO()
    assert not examine_installation(settings, Console(file=out, width=300))
    assert "can't be read" in out.getvalue()
