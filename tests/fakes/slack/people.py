"""People and bots; what people do, they do through `User`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.slack import interacting, opening, saying
from tests.fakes.slack.messages import File, Message

if TYPE_CHECKING:
    from tests.fakes.slack.interacting import Ephemeral, Interaction, View
    from tests.fakes.slack.places import Channel
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.teams import Team

Json = Any


@dataclass(eq=False, slots=True)
class User:
    """Somebody with an account in a workspace; set `deactivated`, `guest` or `owner` as you like."""

    slack: "FakeSlack" = field(repr=False)
    team: "Team" = field(repr=False)
    id: str
    name: str
    display_name: str | None = None
    guest: bool = False
    """Of several channels; a guest of one channel only has `single_channel` too."""
    foreign_team: str | None = None
    """The workspace of somebody who is here by Slack Connect."""
    bot_id: str | None = None
    app_id: str | None = None
    deactivated: bool = False
    owner: bool = False
    primary_owner: bool = False
    enterprise_owner: bool = False
    single_channel: bool = False
    tz: str = "Europe/Berlin"
    locale: str = "en-US"

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    @property
    def team_id(self) -> str:
        return self.foreign_team or self.team.id

    @property
    def dm(self) -> "Channel":
        """The one conversation that this person shares with the bot."""
        return self.team.dm(self)

    @property
    def ephemerals(self) -> "list[Ephemeral]":
        """What only this person sees, as it is now."""
        return [shown for shown in self.slack.ephemerals if shown.user is self and not shown.deleted]

    @property
    def home(self) -> "View | None":
        """The App Home that the bot published for this person."""
        return self.slack.homes.get(self.id)

    # Writing

    async def say(
        self,
        channel: "Channel",
        text: str = "",
        *,
        thread: "Message | str | None" = None,
        files: Iterable[File] = (),
        blocks: list[Json] | None = None,
        subtype: str | None = None,
        broadcast: bool = False,
        at: datetime | None = None,
        heard: bool = True,
    ) -> Message:
        """Write a message. With `at` it is of that moment; unless it is `heard`, no event tells of it."""
        return saying.say(
            self,
            channel,
            text,
            thread=thread,
            files=files,
            blocks=blocks,
            subtype=subtype,
            broadcast=broadcast,
            at=at,
            heard=heard,
        )

    async def edit(self, message: Message, text: str, *, heard: bool = True) -> None:
        saying.edit(message, text, heard=heard)

    async def delete(self, message: Message, *, heard: bool = True) -> None:
        saying.delete(message, heard=heard)

    async def react(self, message: Message, name: str) -> None:
        saying.react(self, message, name)

    # Opening, looking, stopping

    async def open_home(self) -> None:
        """Open the bot's Home tab."""
        opening.open_app(self, "home")

    async def open_agent(self, context: "Channel | None" = None) -> None:
        """Open the Messages tab, which is where the agent view is."""
        opening.open_app(self, "messages", context)

    async def ask(self, text: str, *, thread: Message | None = None, context: "Channel | None" = None) -> Message:
        """Write in the agent view; Slack tells what is looked at beside it, and shows every message as a thread's first."""
        return opening.ask(self, text, thread, context)

    async def look_at(self, channel: "Channel | None") -> None:
        """Turn to another channel while the agent view is open (`app_context_changed`)."""
        opening.look_at(self, channel)

    async def open_assistant(self, context: "Channel | None" = None) -> str:
        """Open a thread in the old assistant view (`assistant_thread_started`); returns its ts."""
        return opening.open_assistant(self, context)

    async def look_from_assistant(self, thread_ts: str, channel: "Channel") -> None:
        """Turn to another channel beside the old assistant view (`assistant_thread_context_changed`)."""
        opening.tell_assistant(self, "assistant_thread_context_changed", thread_ts, channel)

    async def stop(self, thread: Message) -> None:
        """Press Slack's own stop button in the thread."""
        opening.stop(self, thread)

    # Pressing

    async def slash(self, command: str, text: str, channel: "Channel") -> "Interaction":
        """Use a slash command; returns once it is acknowledged or when it is too late for that."""
        return await interacting.slash(self, command, text, channel)

    async def click(self, shown: "Message | Ephemeral | View", action_id: str, *, value: str | None = None) -> "Interaction":
        """Press a button, or choose `value` in a menu."""
        return await interacting.click(self, shown, action_id, value)

    async def feedback(self, shown: "Message | Ephemeral", *, good: bool) -> "Interaction":
        """Press one of the two feedback buttons."""
        return await interacting.feedback(self, shown, good)

    async def shortcut(self, message: Message | None, callback_id: str) -> "Interaction":
        """Use a shortcut on a message, or a global one."""
        return await interacting.shortcut(self, message, callback_id)

    async def submit(self, view: "View", values: dict[str, Json] | None = None) -> "Interaction":
        """Fill in a modal, by action ids, and send it."""
        return await interacting.submit(self, view, values or {})

    async def close(self, view: "View") -> "Interaction | None":
        """Close a modal; the bot hears of it only where the view says `notify_on_close`."""
        return await interacting.close(self, view)

    # On the wire

    def json(self) -> Json:
        profile = {
            "real_name": self.name,
            "real_name_normalized": self.name,
            "display_name": self.display_name or "",
            "display_name_normalized": self.display_name or "",
            "email": f"{self.name.lower().replace(' ', '.')}@example.com",
            "team": self.team_id,
        }
        value: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name.lower().replace(" ", "."),
            "real_name": self.name,
            "deleted": self.deactivated,
            "tz": self.tz,
            "tz_label": self.tz,
            "tz_offset": 3600,
            "profile": profile,
            "is_admin": False,
            "is_owner": self.owner or self.primary_owner,
            "is_primary_owner": self.primary_owner,
            "is_restricted": self.guest,
            "is_ultra_restricted": self.guest and self.single_channel,
            "is_bot": self.bot_id is not None,
            "is_app_user": False,
            "updated": 1_700_000_000,
        }
        if self.foreign_team is not None and not self._meets_the_bot():
            value["is_stranger"] = True  # those of a channel that the app sees are not called so, wherever they are from
        if self.team.enterprise and self.foreign_team is None:
            value["enterprise_user"] = {
                "id": self.id,
                "enterprise_id": self.team.enterprise,
                "enterprise_name": "Enterprise",
                "is_admin": False,
                "is_owner": self.enterprise_owner,
                "is_primary_owner": False,
                "teams": [self.team.id],
            }
        return value

    def _meets_the_bot(self) -> bool:
        channels = self.team.channels.values()
        return any(self in channel.members and self.team.bot in channel.members for channel in channels)

    def short_json(self) -> Json:
        """Write it as interactions do."""
        name = self.name.lower().replace(" ", ".")
        return {"id": self.id, "username": name, "name": name, "team_id": self.team_id}

    def bot_profile(self) -> Json:
        return {"id": self.bot_id, "app_id": self.app_id, "name": self.name, "deleted": False, "team_id": self.team_id}
