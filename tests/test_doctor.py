"""The doctor tells what is wrong, whatever it is, and never falls ill itself."""

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from bot.app_doctor import examine_installation
from bot.config import load_settings
from bot.llm.weights import CATALOGUE
from tests.fakes.slack import FakeSlackThread


def test_a_model_cache_that_can_not_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "parley" / "models" / CATALOGUE[0].filename).mkdir(parents=True)
    settings = load_settings({"LLM_PROVIDER": "local", "DATABASE_URL": f"sqlite:///{tmp_path / 'parley.db'}"}, None)
    out = io.StringIO()
    assert not examine_installation(settings, Console(file=out, width=300))
    assert "can't be read" in out.getvalue()


def examined(tmp_path: Path, **env: str) -> tuple[bool, str]:
    settings = load_settings({"LLM_PROVIDER": "echo", "DATABASE_URL": f"sqlite:///{tmp_path / 'parley.db'}"} | env, None)
    out = io.StringIO()
    return examine_installation(settings, Console(file=out, width=300)), out.getvalue()


def test_models_without_a_price_are_named(tmp_path: Path) -> None:
    env = {"LLM_PROVIDER": "openai", "LLM_API_KEY": "key-1", "LLM_MODEL": "large", "LLM_FALLBACKS": "small"}
    _, text = examined(tmp_path, **env)
    assert "none of large, small: limits in money count them as free; name them in LLM_PRICES" in text
    fine, text = examined(tmp_path, **env, LLM_PRICES="large=1/2")
    assert fine
    assert "none of small: limits" in text
    assert "LLM_PRICES" not in examined(tmp_path, **env, LLM_PRICES="large=1/2,small=1/2")[1]


def test_slack_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    fine, text = examined(tmp_path)
    assert fine
    assert "off: set SLACK_BOT_TOKEN and SLACK_APP_TOKEN to switch it on" in text


def test_slack_is_asked_by_the_address_that_is_set(tmp_path: Path) -> None:
    with FakeSlackThread() as slack:
        env = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_BASE_URL": slack.api_url,
        }
        fine, text = examined(tmp_path, **env)
        assert fine
        assert "Acme: the bot token is good, it is @parley" in text
        slack.do(slack.revoked.add, slack.bot_token)
        fine, text = examined(tmp_path, **env)
        assert not fine
        assert "SLACK_BOT_TOKEN is not accepted (token_revoked)" in text


def test_what_a_platform_needs_besides_itself_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bot.app_doctor._platforms", lambda settings, console: iter(()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {
            "LLM_PROVIDER": "echo",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'parley.db'}",
            "SLACK_BOT_TOKEN": "xoxb-1-made-up",
            "SLACK_SIGNING_SECRET": "0123456789abcdef",
            "HTTP_PORT": str(taken.getsockname()[1]),
        }
        out = io.StringIO()
        assert examine_installation(load_settings(env, None), Console(file=out, width=300))
        assert "OPERATORS is empty: who owns a server or workspace may use /parley there" in out.getvalue()
        assert "set HTTP_PORT to a free port" in out.getvalue()
        assert "set HTTP_NAMES" in out.getvalue()
    out = io.StringIO()
    assert examine_installation(load_settings(env | {"OWNERS_OPERATE": "off"}, None), Console(file=out, width=300))
    assert "OPERATORS is empty and OWNERS_OPERATE is off, so nobody may use /parley" in out.getvalue()
    out = io.StringIO()
    assert examine_installation(
        load_settings(env | {"OPERATORS": "slack:T1/U1", "HTTP_NAMES": "parley.example.com"}, None),
        Console(file=out, width=300),
    )
    assert "OPERATORS" not in out.getvalue()
    assert "HTTP_" not in out.getvalue()


def test_a_database_without_its_driver_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.open.find_spec", lambda name: None)
    fine, text = examined(tmp_path, DATABASE_URL="postgresql://parley:hunter2@127.0.0.1:1/parley")
    assert not fine
    assert "pip install 'parley[postgres]'" in text
    assert "hunter2" not in text


def test_a_database_that_is_away_is_a_finding_and_the_backups_are_not_asked_for(tmp_path: Path) -> None:
    fine, text = examined(tmp_path, DATABASE_URL="postgresql://parley:hunter2@127.0.0.1:1/parley")
    assert not fine
    assert "PostgreSQL at 127.0.0.1:1/parley can't be reached: check the server and the network" in text
    assert "hunter2" not in text
    assert "backups" not in text
