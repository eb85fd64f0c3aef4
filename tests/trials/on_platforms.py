"""The fake platforms as a bot reaches them: by which settings, and what its store must know of them before."""

from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from slack_sdk.oauth.installation_store import Bot

from bot.adapters.slack.installations import ParleyInstallationStore
from store import open_store
from tests.fakes.discord import FakeDiscordThread
from tests.fakes.slack import FakeSlackThread
from tests.trials.stages import PATIENCE


class OnDiscord:
    """Discord. Used as a context manager."""

    name = "Discord"

    def __init__(self, discord: FakeDiscordThread) -> None:
        self._discord = discord

    def __enter__(self) -> Self:
        self._discord.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._discord.__exit__(kind, error, trace)

    @property
    def env(self) -> dict[str, str]:
        return {
            "DISCORD_TOKEN": self._discord.token,
            "DISCORD_API_BASE_URL": self._discord.api_url,
            "DISCORD_GATEWAY_URL": self._discord.gateway_url,
        }

    async def prepare(self, url: str) -> None:
        """Discord has one token for everything."""

    def heard(self) -> bool:
        return bool(self._discord.gateway.connected)

    def quiet(self) -> bool:
        """What a session has been sent is in the bot's hands."""
        return True

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        self._discord.until(holds, within=within)


class OnSlack:
    """Slack in Socket Mode. Used as a context manager."""

    name = "Slack"

    def __init__(self, slack: FakeSlackThread) -> None:
        self._slack = slack

    def __enter__(self) -> Self:
        self._slack.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._slack.__exit__(kind, error, trace)

    @property
    def env(self) -> dict[str, str]:
        return {
            "SLACK_BOT_TOKEN": self._slack.bot_token,
            "SLACK_APP_TOKEN": self._slack.app_token,
            "SLACK_API_BASE_URL": self._slack.api_url,
        }

    async def prepare(self, url: str) -> None:
        """Its one workspace has the token of the settings."""

    def heard(self) -> bool:
        return bool(self._slack.sockets)

    def quiet(self) -> bool:
        return bool(self._slack.quiet)

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        self._slack.until(holds, within=within)


class OnManyTeams(OnSlack):
    """Slack, with the app in several workspaces."""

    @property
    def env(self) -> dict[str, str]:
        return {
            **super().env,
            "SLACK_CLIENT_ID": self._slack.client_id,
            "SLACK_CLIENT_SECRET": self._slack.client_secret,
        }

    async def prepare(self, url: str) -> None:
        """Install the app in every workspace but the first, which has the token of the settings."""
        store = await open_store(url)
        try:
            installations = ParleyInstallationStore(store, self._slack.client_secret)
            for team in self._slack.teams[1:]:
                await installations.async_save_bot(
                    Bot(
                        bot_token=team.bot_token,
                        bot_id=team.bot.bot_id,
                        bot_user_id=team.bot.id,
                        team_id=team.id,
                        installed_at=1.0,
                    )
                )
        finally:
            await store.aclose()
