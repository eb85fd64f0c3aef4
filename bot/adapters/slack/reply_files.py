"""Files that come with a command's reply. Slack shows none to one person in a channel: they go to their direct messages."""

from dataclasses import replace

import structlog

from bot.adapters.slack.uploads import Uploads
from bot.adapters.slack.web_api import WebApi
from bot.chat import words
from bot.chat.protocol import CommandCall, CommandReply, DeliveryError, ReplyFile
from bot.clock import Clock

log = structlog.get_logger(__name__)


class ReplyFiles:
    """Hands files to the callers of commands."""

    def __init__(self, api: WebApi, clock: Clock) -> None:
        self._api = api
        self._uploads = Uploads(api, clock)

    async def handed_over(self, call: CommandCall, reply: CommandReply) -> CommandReply:
        """Send the caller the files of a reply, and return the reply without them: it says where they are, or that they
        could not be sent; never raises."""
        if not reply.files:
            return reply
        try:
            await self._send(call, reply.files)
        except DeliveryError as exc:
            log.warning("slack.files_not_sent", command=call.name, reason=str(exc))
            said = words.FILES_NOT_SENT
        else:
            said = words.FILES_SENT
        return replace(reply, text=f"{reply.text}\n{said}".strip(), files=())

    async def _send(self, call: CommandCall, files: tuple[ReplyFile, ...]) -> None:
        workspace = call.address.workspace
        answer = await self._api.ask(workspace, lambda client: client.conversations_open(users=call.author_id))
        direct = str(answer["channel"]["id"])
        for file in files:
            await self._uploads.share(replace(call.address, channel=direct, thread=""), file.name, file.name, file.data)
