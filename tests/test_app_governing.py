"""From the settings to what governs: what turns are reckoned with."""

import pytest

from bot.app_governing import turn_settings
from bot.chat.models import Models
from bot.chat.spending import ANSWER_TOKENS
from bot.config import load_settings
from bot.llm.anthropic import DEFAULT_MAX_TOKENS
from bot.llm.local import LOCAL_MAX_TOKENS
from bot.llm.scripted import ScriptedModel


@pytest.mark.parametrize(
    ("provider", "longest"),
    [("openai", ANSWER_TOKENS), ("anthropic", DEFAULT_MAX_TOKENS), ("local", LOCAL_MAX_TOKENS), ("echo", ANSWER_TOKENS)],
)
def test_budgets_reckon_with_the_longest_answer_that_the_provider_gives(
    provider: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.config.local_is_installed", lambda: True)
    env = {"LLM_PROVIDER": provider, "LLM_MODEL": "m", "LLM_API_KEY": "key-1"}
    models = Models(ScriptedModel([]))
    assert turn_settings(load_settings(env, None), models).answer_tokens == longest
    assert turn_settings(load_settings(env | {"LLM_MAX_TOKENS": "77"}, None), models).answer_tokens == 77
