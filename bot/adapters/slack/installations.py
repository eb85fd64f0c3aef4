"""The workspaces that installed the app, kept in the store with their tokens sealed: slack_sdk's port on our store.

A workspace is named by its team's id, and an installation for a whole enterprise by the enterprise's. The bot's token stands
in one place, the bot's own row; what an installer's row says of it is read from there.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.installation_store import Installation as SlackInstallation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore

from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.log_lines import sdk_log
from bot.adapters.slack.sealing import Seal, Unreadable, key_from
from store import Installation, Store

BOT = ""
"""The user of the bot's own row."""
BOTS_OWN = ("bot_token", "bot_id", "bot_user_id", "bot_scopes", "bot_refresh_token", "bot_token_expires_at")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    user: str
    values: dict[str, Any]


class ParleyInstallationStore(AsyncInstallationStore):
    """Installations of Slack. What was sealed with another client secret counts as not installed.

    Raises (all methods): StoreUnavailable, StoreClosed.
    """

    def __init__(self, store: Store, client_secret: str, *, changed: Callable[[str], None] = lambda workspace: None) -> None:
        """`changed` is told the workspace whose bot token is another one, or none, from now on."""
        self._store = store
        self._seal = Seal(key_from(client_secret, "slack installations"))
        self._changed = changed
        self._unreadable: set[str] = set()

    @property
    def logger(self) -> logging.Logger:
        return sdk_log()

    async def token_of(self, workspace: str) -> str | None:
        """Return the bot token of a workspace, by its team's or enterprise's id; None when it has none that can be read."""
        values = _of(await self._rows(workspace), BOT)
        return str(values["bot_token"]) if values else None

    async def async_save(self, installation: SlackInstallation) -> None:
        """Keep what somebody installed, and the bot's token with it."""
        # The bot first: after a crash in between the app works, and nobody has to install it again.
        if installation.bot_token is not None:
            await self.async_save_bot(installation.to_bot())
        workspace = _workspace(installation.enterprise_id, installation.team_id, installation.is_enterprise_install)
        values = {name: value for name, value in installation.to_dict_for_copying().items() if name not in BOTS_OWN}
        await self._keep(workspace, installation.user_id, values, installation.installed_at)

    async def async_save_bot(self, bot: Bot) -> None:
        """Keep the bot's token of a workspace."""
        workspace = _workspace(bot.enterprise_id, bot.team_id, bot.is_enterprise_install)
        await self._keep(workspace, BOT, bot.to_dict_for_copying(), bot.installed_at)
        self._changed(workspace)

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """Return the bot of a workspace."""
        values = _of(await self._rows(_workspace(enterprise_id, team_id, is_enterprise_install)), BOT)
        return Bot(**values) if values else None

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> SlackInstallation | None:
        """Return what this user installed, or the newest of the workspace; the bot's token in it is the current one."""
        rows = await self._rows(_workspace(enterprise_id, team_id, is_enterprise_install))
        wanted = (row.values for row in rows if row.user != BOT and user_id in (None, row.user))
        values = next(wanted, None)
        if values is None:
            return None
        bot = _of(rows, BOT) or {}
        return SlackInstallation(**values | {name: bot.get(name) for name in BOTS_OWN})

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Erase the bot's token of a workspace."""
        await self._remove(_workspace(enterprise_id, team_id), lambda user: user == BOT)

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Erase what this user installed, or everybody in the workspace; the bot's token stays."""
        await self._remove(_workspace(enterprise_id, team_id), lambda user: user != BOT and user_id in (None, user))

    async def async_delete_all(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Erase all installations of a workspace."""
        await self._remove(_workspace(enterprise_id, team_id), lambda user: True)

    async def _keep(self, workspace: str, user: str, values: dict[str, Any], installed_at: float) -> None:
        plain = json.dumps(values, default=datetime.isoformat).encode()
        data = self._seal.close(plain, _place(workspace, user))
        at = datetime.fromtimestamp(installed_at, UTC)
        await self._store.put_installation(Installation(platform=PLATFORM, workspace=workspace, user=user, data=data, at=at))
        self._unreadable.discard(workspace)

    async def _rows(self, workspace: str) -> list[_Row]:
        """Read what can be read of a workspace, the newest first."""
        rows = []
        for kept in await self._store.installations(PLATFORM, workspace) if workspace else ():
            try:
                rows.append(_Row(kept.user, json.loads(self._seal.open(kept.data, _place(workspace, kept.user)))))
            except Unreadable:
                if workspace not in self._unreadable:  # every event asks
                    self._unreadable.add(workspace)
                    log.warning(
                        "slack.installation_unreadable",
                        workspace=workspace,
                        remedy="SLACK_CLIENT_SECRET was another one when the app was installed: install it again",
                    )
        return rows

    async def _remove(self, workspace: str, chosen: Callable[[str], bool]) -> None:
        users = [kept.user for kept in await self._store.installations(PLATFORM, workspace)] if workspace else []
        for user in filter(chosen, users):
            await self._store.remove_installation(PLATFORM, workspace, user)
            if user == BOT:
                self._changed(workspace)


def _workspace(enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False) -> str:
    return (enterprise_id if is_enterprise_install or not team_id else team_id) or ""


def _place(workspace: str, user: str) -> str:
    return f"{PLATFORM}/{workspace}/{user}"


def _of(rows: list[_Row], user: str) -> dict[str, Any] | None:
    return next((row.values for row in rows if row.user == user), None)
