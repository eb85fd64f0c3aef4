"""From the settings to what governs: the defaults of the rules, the terms of turns, prices, and how the store is opened."""

from collections.abc import Callable
from datetime import datetime

from bot.chat.limits import parse_amount
from bot.chat.models import Models
from bot.chat.money import Price, Prices
from bot.chat.policy import CONSOLE, Rules
from bot.chat.rules import Defaults, RuleBook
from bot.chat.run import TurnSettings
from bot.chat.spending import ANSWER_TOKENS
from bot.chat.terms import Terms, TermsOf
from bot.config import Settings
from bot.llm.anthropic import DEFAULT_MAX_TOKENS
from bot.llm.local import LOCAL_MAX_TOKENS
from store import WORKSPACE_RUNNING, ConversationKey, Store, open_store

LONGEST_ANSWERS = {"anthropic": DEFAULT_MAX_TOKENS, "local": LOCAL_MAX_TOKENS}
"""The bound of an answer in tokens where `LLM_MAX_TOKENS` sets none, of the providers that are always given one."""
PLATFORMS = (CONSOLE, "discord", "slack")
"""All platforms that a store may hold something of: its rules are known for each, whichever of them runs."""


def defaults_of(settings: Settings, models: tuple[str, ...]) -> Defaults:
    """Return what holds where operators chose nothing."""
    limits = {limit.name: parse_amount(limit.name, limit.amount) for limit in settings.limits}
    return Defaults(
        rules=Rules(persona=settings.system_prompt, ttl=settings.conversation_ttl),
        models=models,
        limits=limits,
        admit=frozenset(settings.admit),
        direct=settings.direct_messages,
    )


async def rules_of(settings: Settings, store: Store, models: tuple[str, ...]) -> RuleBook:
    """Read the rules of every platform.

    Raises:
        StoreUnavailable.
    """
    rules = RuleBook(store, defaults_of(settings, models))
    for platform in PLATFORMS:
        await rules.load(platform)
    return rules


def prices_of(settings: Settings) -> dict[str, Price]:
    """Return the prices of `LLM_PRICES`, by the models' names."""
    return {price.model: Price.written(price.prompt, price.completion) for price in settings.llm_prices}


def turn_settings(settings: Settings, models: Models) -> TurnSettings:
    """Return what turns are carried out with."""
    running = next((limit.amount for limit in settings.limits if limit.name == WORKSPACE_RUNNING), None)
    return TurnSettings(
        system_prompt=settings.system_prompt,
        history_messages=settings.history_messages,
        history_tokens=settings.history_tokens,
        steady_window=settings.provider == "local",
        concurrent=settings.max_concurrent_turns,
        sees_images=settings.sees_images,
        per_workspace=None if running is None else int(running),
        answer_tokens=settings.llm_max_tokens or LONGEST_ANSWERS.get(settings.provider or "", ANSWER_TOKENS),
        prices=Prices(by_model=prices_of(settings)).only(models.names),
    )


def terms_of(rules: RuleBook, models: Models) -> TermsOf:
    """Tell what holds for the turns of a conversation, by the rules of its place."""

    def terms(key: ConversationKey) -> Terms:
        place = (key.platform, key.workspace, key.channel)
        here = rules.of(*place)
        return Terms(
            model=models.named(here.model),
            persona=here.persona,
            limits=lambda payer: rules.limits(*place, payer),
        )

    return terms


async def open_configured_store(
    settings: Settings, clock: Callable[[], datetime], progress: Callable[[int, int], None] = lambda done, total: None
) -> Store:
    """Open the store that the settings name, with the keys that they give.

    Raises:
        StoreRefused, StoreUnavailable.
    """
    url = settings.database_url.get_secret_value()
    return await open_store(url, clock=clock, keys=keys_of(settings), progress=progress)


def keys_of(settings: Settings) -> list[bytes]:
    """Read the keys that the settings give, the newest first."""
    if not settings.encryption_keys:
        return []
    from store.sealing import key_of  # the cipher's library takes 7 MB that nobody needs without a key

    return [key_of(key) for key in settings.encryption_keys]
