"""What Slack says of files only when asked: in Slack Connect channels messages have nothing but their files' ids."""

import asyncio
from datetime import timedelta
from typing import Any

from bot.adapters.slack.web_api import WebApi
from bot.chat.composing import FILES
from bot.chat.protocol import DeliveryError
from bot.clock import Clock, time_limit

PATIENCE = timedelta(seconds=1)
"""Slack wants its acknowledgement within 3 s, and gets it only when the message is stored, with its files' names."""
Json = Any


class FileFacts:
    """Asks for what is missing, of files that are read; 100 a minute may be asked about."""

    def __init__(self, api: WebApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def told(self, workspace: str, message: Json) -> Json:
        """Return a message with what Slack tells of its files; what it does not tell in time stays out."""
        files = message.get("files") or []
        if not any(_is_bare(file) for file in files):
            return message
        told = await asyncio.gather(*(self._told(workspace, file) for file in files[:FILES]))
        return {**message, "files": [*told, *files[FILES:]]}

    async def _told(self, workspace: str, file: Json) -> Json:
        if not _is_bare(file):
            return file
        try:
            async with time_limit(self._clock, PATIENCE):
                answer = await self._api.ask(workspace, lambda client: client.files_info(file=str(file.get("id"))))
        except (DeliveryError, TimeoutError):
            return file
        return answer.get("file") or file


def _is_bare(file: Json) -> bool:
    return bool(file.get("file_access") == "check_file_info")
