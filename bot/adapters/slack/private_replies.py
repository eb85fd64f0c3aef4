"""What is said to one person only: in answer to an interaction, by its response_url, or to a message of theirs."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice

import structlog
from slack_bolt.context.respond.async_respond import AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.adapters.failures import describe
from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.log_lines import sdk_log
from bot.adapters.slack.mrkdwn import escape
from bot.adapters.slack.neutral import neutral
from bot.adapters.slack.web_api import WebApi
from bot.chat import words
from bot.chat.protocol import Address, CommandReply, DeliveryError, Measure
from bot.chat.splitting import parts_of

PART = 4000
"""Characters of one message; Slack recommends no more."""
PARTS = 5
"""A response_url takes no more messages."""

log = structlog.get_logger(__name__)


async def respond_with(respond: AsyncRespond, work: Callable[[], Awaitable[CommandReply]], *, thread: str = "") -> None:
    """Do what an interaction asks for, and show what that says, if anything; never raises."""
    try:
        reply = await work()
    except Exception as exc:  # noqa: BLE001 - whoever waits for an answer gets one
        log.error("interaction.failed", kind="work", error=describe(exc))
        reply = CommandReply(text=words.COMMAND_FAILED)
    # Bolt's own would repeat what may have arrived, and write the address, which works like a token, into the log.
    webhook = AsyncWebhookClient(
        respond.response_url or "", proxy=respond.proxy, ssl=respond.ssl, retry_handlers=[], logger=sdk_log()
    )
    for text in texts_of(reply):
        shown = {
            "text": text,
            "response_type": "ephemeral" if reply.private else "in_channel",
            "replace_original": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "thread_ts": thread or None,
        }
        try:
            with translated(repeatable=False):
                answer = await webhook.send_dict(shown)
        except DeliveryError as exc:
            log.warning("interaction.not_answered", reason=str(exc))
            return
        if answer.status_code != 200:
            # It works five times within half an hour; there is nobody else to tell.
            log.warning("interaction.not_answered", reason=f"status {answer.status_code}")
            return


async def tell(api: WebApi, address: Address, author_id: str, reply: CommandReply) -> None:
    """Answer a message: for its author's eyes only where the reply is private.

    Raises:
        DeliveryError.
    """
    for text in texts_of(reply):
        await api.ask(address.workspace, partial(_say, address=address, author_id=author_id, text=text, reply=reply))


async def _say(
    client: AsyncWebClient, *, address: Address, author_id: str, text: str, reply: CommandReply
) -> AsyncSlackResponse:
    channel, thread = address.channel, address.thread or None
    if reply.private:
        return await client.chat_postEphemeral(channel=channel, user=author_id, text=text, thread_ts=thread)
    return await client.chat_postMessage(
        channel=channel, text=text, thread_ts=thread, unfurl_links=False, unfurl_media=False
    )


def texts_of(reply: CommandReply) -> list[str]:
    """Write a reply as Slack's texts: none of them too long, none that mentions anybody, none at all for an empty one."""
    text = f"```\n{reply.text.replace('```', '`')}\n```" if reply.columns else reply.text
    # Cut before it is escaped: an escape that is cut in two is none.
    texts = [neutral(escape(part.text)) for part in islice(parts_of(text, PART, Measure.CHARACTERS), PARTS + 1)]
    return texts if len(texts) <= PARTS else [*texts[: PARTS - 1], words.REPLY_CUT]
