"""A Slack on loopback: the Web API, Socket Mode, signed HTTP delivery and the file host over real sockets.

In a test, with the real slack_bolt and slack_sdk:

    async with FakeSlack() as slack, aiohttp.ClientSession() as session:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)  # the bot is in it, unless with_bot=False
        app = AsyncApp(client=AsyncWebClient(slack.bot_token, slack.api_url, session=session))
        ...
        handler = AsyncSocketModeHandler(app, slack.app_token)
        await handler.connect_async()
        await slack.until(lambda: slack.sockets)
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")  # two events: message and app_mention
        await slack.until(lambda: [message.shown for message in general.thread(said)][1:] == ["Hi!"])
        await ada.edit(said, "good bye")
        assert slack.pings == []
        await handler.close_async()

In HTTP mode, serve the app, give it `slack.signing_secret`, and set `slack.events_url` to its address. For a bot in another
process there is `FakeSlackThread`; builders may be called directly, and what does something goes through
`slack.do(ada.say, general, "hello")`.

Who does what:

- the world: `slack.workspace` (there from the beginning), `slack.team(enterprise=, org_wide=)`,
  `team.user(guest=, external=, owner=, bot=)`, `team.channel(kind=, shared=, connected=)`, `team.group`, `user.dm`,
  `channel.join/leave/archive/delete/rename`, `team.uninstall/reinstall/deactivate`, `team.scopes`, `team.agent`,
  `slack.unsubscribed`
- people: `user.say/edit/delete/react/slash/click/feedback/shortcut/submit/close/stop/open_home/open_agent/ask/look_at/
  open_assistant/look_from_assistant`, `slack.unfurl`; `say(at=...)` is of another moment, `say(heard=False)` sends no event
- what people see: `channel.messages/texts/thread/status`, `message.shown/seen_by/history/streaming/buttons/metadata/files`,
  `user.ephemerals/home`, `slack.modals/published/titles/prompts/sessions/statuses/pings/unfurled`
- what went over the wire: `slack.requests/asked/refused/deliveries/attempts/acks/interactions/downloads`, `slack.quiet`
- what goes wrong: `slack.fail/hang/drop_sockets/disconnect/silence_sockets/refuse_sockets/hold_events/release_events/copies/
  deliver_again/replay/send_signed`, `File(serve=...)`, `channel.refuses_streams`
- installing: `slack.client_id/client_secret/authorize_url/redirect_url/installing`, `slack.grant(user)` for a code without
  a browser

Time is `clock`'s, so that a `FakeClock` moves rate limits, the life of streams, triggers and status lines, and the pauses
before retries. Only the wait for an acknowledgement (`ack_limit`) and signatures are of real time.

While no socket is open an event waits for one as long as for an acknowledgement; then, as after a socket that was cut, the
next attempt follows after `retry_after` (at once, a minute, five minutes), which tests make shorter.

Where Slack does not say, this is guessed, on the strict side: what the limits of `chat.postMessage`, `setStatus` and
`auth.test` are; that text beside blocks and in code notifies; that links are previewed unless both unfurls are off; that a
mention in a direct message is two events too; that `chat.stopStream` after the person's stop says
`message_not_in_streaming_state`; that a stream sends no events as it grows, and that the links which it begins with are
previewed (those of edits are not: run by NousResearch/hermes-agent#97957; a start can't be told not to:
slackapi/node-slack-sdk#2389); the envelope_id of a retry (a new one); what an eleventh socket meets; and `Retry-After`
(until the oldest call leaves a sliding minute).
"""

from tests.fakes.slack.dispatch import Attempt, Delivery
from tests.fakes.slack.interacting import Ephemeral, Interaction, NotOffered, View
from tests.fakes.slack.messages import Attachment, File, Message, Ping, Preview
from tests.fakes.slack.people import User
from tests.fakes.slack.places import Channel, Status
from tests.fakes.slack.server import FakeSlack
from tests.fakes.slack.teams import SCOPES, Team
from tests.fakes.slack.threaded import FakeSlackThread

__all__ = [
    "SCOPES",
    "Attachment",
    "Attempt",
    "Channel",
    "Delivery",
    "Ephemeral",
    "FakeSlack",
    "FakeSlackThread",
    "File",
    "Interaction",
    "Message",
    "NotOffered",
    "Ping",
    "Preview",
    "Status",
    "Team",
    "User",
    "View",
]
