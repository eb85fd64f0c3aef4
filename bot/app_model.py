"""Builds the models that the settings name: the list of clients behind the one retry loop, each of them first for once."""

import random
import sys

from rich.console import Console

from bot.chat.models import Models
from bot.clock import Clock
from bot.config import Settings, revealed
from bot.llm.anthropic import AnthropicModel
from bot.llm.echo import EchoModel
from bot.llm.local import LOCAL_MAX_TOKENS, LocalModel, local_unavailable
from bot.llm.openai import OpenAIModel
from bot.llm.protocol import LLMClient
from bot.llm.router import ModelRouter
from bot.llm.weights import ALTERNATIVES, ModelFile, WeightsError, fetch_weights, own_weights
from bot.llm.weights_progress import ProgressBar

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"


def fetch_local_model(settings: Settings) -> ModelFile | None:
    """Have the embedded model's weights at hand, fetched with a progress bar when they are not; None for other providers.

    Blocks; called before anything else starts, so that Ctrl-C simply ends it and what came is kept.

    Raises:
        WeightsError: it can't be had; the message says what was tried and what else can be set.
    """
    if settings.provider is None:
        raise WeightsError(f"No model is set and the embedded one is not installed. {ALTERNATIVES}")
    if settings.provider != "local":
        return None
    if reason := local_unavailable():
        raise WeightsError(f"{reason} {ALTERNATIVES}")
    if settings.llm_local_model is not None:
        return own_weights(settings.llm_local_model)
    return fetch_weights(progress=ProgressBar(Console(file=sys.stderr)))


def build_model(settings: Settings, clock: Clock, rng: random.Random, local: ModelFile | None) -> Models:
    """Build the models: in the order in which they are asked, and by name with the one that is named asked first."""
    router = ModelRouter(_clients(settings, clock, rng, local), clock, rng)
    named = {name: router.beginning_with(name) for name in router.names}
    return Models(router, named, described=router.describe)


def _clients(settings: Settings, clock: Clock, rng: random.Random, local: ModelFile | None) -> list[LLMClient]:
    if local is not None:
        most = settings.llm_max_tokens or LOCAL_MAX_TOKENS
        return [LocalModel(local.path, clock, rng, name=local.name, max_tokens=most)]
    if settings.provider == "echo":
        return [EchoModel()]
    dialect, base_url = (AnthropicModel, ANTHROPIC) if settings.provider == "anthropic" else (OpenAIModel, OPENAI)
    return [
        dialect(
            base_url=settings.llm_base_url or base_url,
            model=name,
            clock=clock,
            api_key=revealed(settings.llm_api_key),
            max_tokens=settings.llm_max_tokens,
            temperature=settings.llm_temperature,
        )
        for name in (settings.llm_model or "", *settings.llm_fallbacks)
    ]
