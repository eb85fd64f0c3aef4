"""Workspaces, and the app's installation in each."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.slack.people import User
from tests.fakes.slack.places import PREFIX, Channel

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

Json = Any

SCOPES = (
    *(
        "app_mentions:read",
        "assistant:write",
        "channels:history",
        "channels:join",
        "channels:read",
        "chat:write",
        "commands",
    ),
    *("files:read", "files:write", "groups:history", "groups:read", "im:history", "im:read", "im:write", "mpim:history"),
    *("mpim:read", "mpim:write", "reactions:read", "reactions:write", "team:read", "usergroups:read"),
    "users:read",
)


@dataclass(eq=False, slots=True)
class Team:
    """A workspace. `scopes`, `agent` (whether the app is declared an agent) and `has_groups` (whether its plan has user
    groups) may be changed at any time."""

    slack: "FakeSlack" = field(repr=False)
    id: str
    name: str
    bot_token: str
    enterprise: str | None = None
    org_wide: bool = False
    """Whether the app is installed for the whole enterprise, with one token for its workspaces."""
    agent: bool = True
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    uninstalled: bool = False
    has_groups: bool = True
    listed_members: int = 1000
    """How many members of a group are listed, whatever their number."""
    bot: User = field(init=False, repr=False)
    users: dict[str, User] = field(default_factory=dict, repr=False)
    groups: dict[str, list[User]] = field(default_factory=dict, repr=False)
    channels: dict[str, Channel] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.bot = self.user(self.slack.bot_name, bot=True, app_id=self.slack.app_id)

    @property
    def domain(self) -> str:
        return self.name.lower().replace(" ", "-")

    def json(self) -> Json:
        more = {"enterprise_id": self.enterprise} if self.enterprise else {}
        return {"id": self.id, "name": self.name, "domain": self.domain, "email_domain": ""} | more

    def authorization(self) -> Json:
        """Who the app is here, as events say it."""
        return {
            "enterprise_id": self.enterprise,
            "team_id": None if self.org_wide else self.id,
            "user_id": self.bot.id,
            "is_bot": True,
            "is_enterprise_install": self.org_wide,
        }

    # The people and places in it

    def user(
        self,
        name: str,
        *,
        display_name: str | None = None,
        guest: bool = False,
        external: bool = False,
        owner: bool = False,
        bot: bool = False,
        app_id: str | None = None,
    ) -> User:
        """Add somebody; an external one is of another organisation and here by Slack Connect."""
        slack = self.slack
        foreign = slack.new_id("T") if external else None
        bot_id = slack.new_id("B") if bot else None
        app = (app_id or slack.new_id("A")) if bot else None
        user = User(slack, self, slack.new_id("U"), name, display_name, guest, foreign, bot_id, app, owner=owner)
        self.users[user.id] = user
        slack.users[user.id] = user
        return user

    def channel(
        self,
        name: str,
        *members: User,
        kind: str = "public",
        shared: "tuple[Team, ...] | list[Team]" = (),
        connected: bool = False,
        with_bot: bool = True,
    ) -> Channel:
        """Open a channel; the bot is in it unless told otherwise. `shared` names other workspaces, `connected` is for
        Slack Connect with people whom `user(external=True)` made."""
        channel = Channel(
            self.slack, self, self.slack.new_id(PREFIX[kind]), name, kind, tuple(shared), connected or bool(shared)
        )
        bots = [team.bot for team in (self, *shared)] if with_bot else []
        channel.members += [*bots, *members]
        for team in (self, *shared):
            team.channels[channel.id] = channel
        self.slack.channels[channel.id] = channel
        return channel

    def dm(self, user: User) -> Channel:
        """Give the one conversation that the bot and this person share."""
        for channel in self.channels.values():
            if channel.kind == "im" and user in channel.members:
                return channel
        return self.channel("", user, kind="im")

    def group(self, *members: User) -> str:
        """Make a user group; returns what mentions it."""
        number = self.slack.new_id("S")
        self.groups[number] = list(members)
        return f"<!subteam^{number}>"

    def join(self, channel: Channel) -> None:
        """Let the bot join a channel."""
        channel.join(self.bot)

    # The installation

    async def uninstall(self) -> None:
        """Remove the app: the token is dead, and two events tell of it, in the order in which Slack likes to surprise."""
        self.uninstalled = True
        self.slack.revoked.add(self.bot_token)
        self.slack.dispatch.event(self, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.bot.id]}})
        self.slack.dispatch.event(self, {"type": "app_uninstalled"})

    def reinstall(self) -> None:
        """Install it anew, with another token."""
        self.uninstalled = False
        self.bot_token = self.slack.new_token(self)

    async def deactivate(self, user: User) -> None:
        user.deactivated = True
        self.slack.dispatch.event(self, {"type": "user_change", "user": user.json(), "cache_ts": 1_700_000_000})
