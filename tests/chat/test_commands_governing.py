"""What operators decide: settings of channels and workspaces, access, limits, pauses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.chat import words
from bot.chat import words_commands as say
from bot.chat.authority import Rank
from bot.chat.callers import Kind, Standing
from bot.chat.commands import TABLE, Commands
from bot.chat.policy import Rules, Scope, Trigger
from bot.chat.protocol import Place
from bot.chat.rules import SETTINGS, Defaults
from bot.chat.words_governing import HOSTS_ONLY, OWNERS_ONLY
from store import ON, PAUSED
from tests.chat.chatting import PLATFORM, Chat, chatting
from tests.chat.commanding import COOK, GUEST, HOST, OWNER, appoint, parts_of, table, text_of, typed

pytestmark = pytest.mark.anyio

DEFAULTS = Defaults(rules=Rules(persona="Be kind.", ttl=timedelta(days=30)), models=("Large", "small"))


@asynccontextmanager
async def governed(*steps: object) -> AsyncIterator[Chat]:
    async with chatting(*steps, operators=[HOST], defaults=DEFAULTS) as chat:
        await appoint(chat)
        yield chat


async def as_cook(chat: Chat, line: str, **parts: Any) -> str:
    return await text_of(chat, line, user="carl", standing=COOK, **parts)


async def as_owner(chat: Chat, line: str, **parts: Any) -> str:
    return await text_of(chat, line, user="otto", standing=OWNER, **parts)


def here(chat: Chat) -> Rules:
    return chat.rules.of(PLATFORM, "w", "kitchen")


async def test_channel_shows_every_setting_with_its_value_where_it_comes_from_and_what_there_is() -> None:
    async with governed() as chat:
        await as_cook(chat, "workspace scope channel")
        await as_cook(chat, "channel trigger listen")
        rows = {row.split()[0]: row.split()[1:] for row in (await as_cook(chat, "channel")).splitlines()[1:]}
        assert list(rows) == list(SETTINGS)
        assert rows["trigger"] == ["listen", "channel", "mention,", "listen,", "off,", "default"]
        assert rows["scope"][:2] == ["channel", "workspace"]
        assert rows["bots"][:2] == ["off", "default"]
        assert rows["model"] == ["Large", "default", "Large,", "small,", "default"]
        assert rows["ttl"][:2] == ["30d", "default"]
        assert await as_cook(chat, "channel scope") == "scope: channel (workspace)"


async def test_channel_chooses_and_takes_the_choice_back() -> None:
    async with governed() as chat:
        assert await as_cook(chat, "channel Scope CHANNEL") == "scope: channel (channel)"
        assert here(chat).scope is Scope.CHANNEL
        assert await as_cook(chat, "channel scope default") == "scope: user (default)"
        assert here(chat).scope is Scope.USER


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("persona You are  Polly.", "persona", "You are  Polly."),
        ("persona DEFAULT", "persona", "Be kind."),
        ("model SMALL", "model", "small"),
        ("ttl 12h", "ttl", timedelta(hours=12)),
        ("ttl OFF", "ttl", None),
        ("trigger off", "trigger", Trigger.OFF),
    ],
)
@pytest.mark.parametrize("level", ["channel", "workspace"])
async def test_what_is_chosen_holds_at_once(level: str, line: str, field: str, value: object) -> None:
    async with governed() as chat:
        await as_cook(chat, f"{level} {line}")
        assert getattr(here(chat), field) == value


async def test_a_channel_goes_before_its_workspace() -> None:
    async with governed() as chat:
        await as_cook(chat, "channel model Large")
        await as_cook(chat, "workspace model small")
        assert here(chat).model == "Large"
        assert chat.rules.of(PLATFORM, "w", "garden").model == "small"
        assert chat.rules.of(PLATFORM, "elsewhere", "garden").model == "Large"


async def test_a_thread_has_the_settings_of_the_channel_around_it() -> None:
    async with governed() as chat:
        await as_cook(chat, "channel trigger off", thread="t")
        assert here(chat).trigger is Trigger.OFF


@pytest.mark.parametrize("line", ["channel colour", "channel colour red", "channel trigger loud", "workspace scope a b"])
async def test_what_there_is_not_is_refused_with_what_there_is(line: str) -> None:
    async with governed() as chat:
        text = await as_cook(chat, line)
        assert "must be one of" in text
        assert "\n" not in text
        assert here(chat) == chat.rules.defaults.on(PLATFORM)


async def test_a_direct_message_has_no_settings_of_a_channel() -> None:
    async with governed() as chat:
        # Slack's have a workspace, as its channels have; Discord's have none.
        before = await chat.store.settings(PLATFORM)
        for line in ("channel trigger off", "channel", "pause", "resume"):
            assert await as_cook(chat, line, place=Place.DIRECT) == words.NO_CHANNEL_SETTINGS
        assert await chat.store.settings(PLATFORM) == before
        assert "ttl" in await as_cook(chat, "workspace", place=Place.DIRECT)


@pytest.mark.parametrize(
    ("line", "begun", "proposed"),
    [
        ("channel trigger", "", ["mention", "listen", "off", "default"]),
        ("channel trigger", "M", ["mention"]),
        ("channel bots", "o", ["on", "off"]),
        ("channel bots", "x", []),
        ("workspace model", "l", ["Large"]),
        ("channel ttl", "", ["off", "default"]),
        ("channel colour", "", []),
        ("channel", "", []),
    ],
)
async def test_values_are_proposed_by_the_setting(line: str, begun: str, proposed: list[str]) -> None:
    async with governed() as chat:
        call = typed(chat, f"parley {line}", user="carl", standing=COOK)
        (value,) = [option for option in TABLE[call.name].options if option.suggests is not None]
        assert await table(chat).suggest(call, value, begun) == proposed


async def test_access_lists_what_holds_and_where_it_comes_from() -> None:
    async with governed() as chat:
        assert await as_cook(chat, "access <@U123> deny") == "access of user:U123: default -> deny"
        await as_cook(chat, "access guests allow")
        await as_cook(chat, "access <#77> deny")
        rows = [line.split() for line in (await as_cook(chat, "access")).splitlines()]
        assert rows[0] == ["subject", "rule", "from"]
        assert ["guests", "allow", "workspace"] in rows
        assert ["external", "deny", "default"] in rows
        assert ["user:U123", "deny", "workspace"] in rows
        assert ["channel:77", "deny", "workspace"] in rows
        assert ["group:cooks", "operator", "workspace"] in rows
        assert (await as_cook(chat, "access user:U123")).splitlines()[1].split() == ["user:U123", "deny", "workspace"]
        assert await as_cook(chat, "access user:U9") == say.NOTHING_SET
        assert await as_cook(chat, "access 12345 deny") == say.NO_SUCH_SUBJECT


async def test_a_rule_on_access_is_obeyed_at_once_and_can_be_taken_back() -> None:
    async with governed("Hello.") as chat:
        caller = typed(chat, "help", user="gus", standing=GUEST).caller
        assert chat.authority.rank(caller) is Rank.ANYONE
        await as_cook(chat, "access guests allow")
        assert chat.authority.rank(caller) is Rank.PERSON
        await as_cook(chat, "access user:gus deny")
        assert chat.authority.rank(caller) is Rank.ANYONE
        await as_cook(chat, "access user:gus default")
        assert chat.authority.rank(caller) is Rank.PERSON
        await as_cook(chat, "access channel:kitchen deny")
        assert chat.authority.rank(caller) is Rank.ANYONE


async def test_who_operates_is_decided_by_owners_and_hosts_alone() -> None:
    waiters = Standing(kind=Kind.MEMBER, groups=frozenset({"waiters"}))
    async with governed() as chat:
        assert await as_cook(chat, "access group:waiters operator") == OWNERS_ONLY
        assert await as_cook(chat, "access group:cooks default") == OWNERS_ONLY
        assert chat.rules.operating_groups(PLATFORM, "w") == {"cooks"}
        refused = [entry for entry in await chat.audited() if not entry.allowed]
        assert {entry.author_id for entry in refused} == {"carl"}
        assert "off -> on" in (await as_owner(chat, "access group:waiters operator")).replace("default ->", "off ->")
        assert "no such command" not in await text_of(chat, "status", user="will", standing=waiters)
        await text_of(chat, "access group:waiters default")
        assert "no such command" in await text_of(chat, "status", user="will", standing=waiters)
        assert await as_owner(chat, "access user:U123 operator") == say.ONLY_GROUPS_OPERATE


async def test_limits_are_listed_set_for_all_or_for_one_and_taken_back() -> None:
    async with governed() as chat:
        assert await as_cook(chat, "limits user-money 2.5") == "user-money: default -> 2.5"
        assert await as_cook(chat, "limits user-money 9 <@U1>") == "user-money for user:U1: default -> 9"
        rows = [line.split() for line in (await as_cook(chat, "limits user-money")).splitlines()[1:]]
        assert rows == [["user-money", "2.50", "workspace"], ["user-money", "9.00", "user:U1", "workspace"]]
        assert await as_cook(chat, "limits user-money default user:U1") == "user-money for user:U1: 9 -> default"
        assert await as_cook(chat, "limits workspace-running 3") == "workspace-running: default -> 3"
        assert [row.amount for row in chat.rules.limit_table(PLATFORM, "w") if row.amount] == ["2.50", "3"]


@pytest.mark.parametrize(
    "line",
    [
        "limits user-money much",
        "limits user-turns 0",
        "limits user-turns -1",
        "limits user-turns 1.5",
        "limits workspace-tokens 5 user:U1",
        "limits user-tokens 5 channel:C1",
        "limits user-tokens 5 group:G1",
        "limits user-tokens 5 nobody",
        "limits colours 5",
        "limits workspace-running off",
    ],
)
async def test_a_limit_that_can_not_be_is_refused_in_one_sentence(line: str) -> None:
    async with governed() as chat:
        before = chat.rules.limit_table(PLATFORM, "w")
        text = await as_cook(chat, line)
        assert "->" not in text
        assert "\n" not in text
        assert chat.rules.limit_table(PLATFORM, "w") == before


@pytest.mark.parametrize("line", ["limits all-money 5", "pause everything", "resume everything"])
async def test_what_concerns_everybody_is_for_hosts_alone(line: str) -> None:
    async with governed() as chat:
        for who in (as_cook, as_owner):
            assert await who(chat, line) == HOSTS_ONLY
        assert [setting for setting in await chat.store.settings(PLATFORM) if setting.platform == ""] == []
        refused = [entry.author_id for entry in await chat.audited() if not entry.allowed]
        assert refused == ["carl", "otto"]


async def test_a_limit_in_money_names_the_models_that_cost_nothing() -> None:
    async with chatting(operators=[HOST]) as chat:
        commands = Commands(replace(parts_of(chat), unpriced=("small", "large")))

        async def told(line: str) -> str:
            return (await commands.handle(typed(chat, f"parley limits {line}"))).text

        assert (await told("user-money 2.5")).splitlines() == [
            "user-money: default -> 2.5",
            "No price is set of small, large: what they do counts as free; the setting LLM_PRICES names prices.",
        ]
        assert "LLM_PRICES" not in await told("user-money off")
        assert "LLM_PRICES" not in await told("user-money default")
        assert "LLM_PRICES" not in await told("user-tokens 100")


async def test_a_host_limits_everybody() -> None:
    async with governed() as chat:
        assert "default -> 5" in await text_of(chat, "limits all-money 5")
        assert [row.amount for row in chat.rules.limit_table(PLATFORM, "elsewhere") if row.name == "all-money"] == ["5.00"]


async def test_what_is_said_in_a_pause_is_kept_and_answered_after_it() -> None:
    async with governed("Here I am.") as chat:
        assert "Paused this channel" in await as_cook(chat, "pause")
        assert await as_cook(chat, "pause") == say.PAUSED_ALREADY
        await chat.say("Anybody?")
        assert chat.rules.paused(PLATFORM, "w", "kitchen")
        assert chat.model.prompts == []
        assert "Resumed this channel." in await as_cook(chat, "resume")
        await chat.quiet()
        assert [text for _, text in await chat.history()] == ["Anybody?", "Here I am."]
        assert await as_cook(chat, "resume") == say.NOT_PAUSED


async def test_a_wider_pause_goes_on_when_a_narrower_one_ends() -> None:
    async with governed() as chat:
        await as_cook(chat, "pause channel")
        await as_cook(chat, "pause workspace")
        assert "a wider pause still holds" in await as_cook(chat, "resume channel")
        assert await as_cook(chat, "resume workspace") == "Resumed this workspace."
        await text_of(chat, "pause everything")
        assert chat.rules.paused(PLATFORM, "elsewhere", "x")
        await text_of(chat, "resume everything")
        assert not chat.rules.paused(PLATFORM, "elsewhere", "x")


async def test_a_change_stands_in_the_log_once_with_who_from_and_to() -> None:
    async with governed() as chat:
        await as_cook(chat, "channel trigger listen")
        await as_cook(chat, "channel trigger off")
        await as_cook(chat, "pause workspace")
        entries = [entry for entry in await chat.audited() if entry.author_id == "carl"]
        assert [(entry.action, entry.before, entry.after) for entry in entries] == [
            ("parley channel", "", "listen"),
            ("parley channel", "listen", "off"),
            ("parley pause", "", ON),
        ]
        assert PAUSED in entries[-1].target


async def test_what_is_chosen_in_one_workspace_holds_in_no_other() -> None:
    async with governed() as chat:
        for line in (
            "channel trigger off",
            "workspace bots on",
            "access guests allow",
            "limits user-turns 1",
            "pause workspace",
        ):
            await as_cook(chat, line)
        assert chat.rules.of(PLATFORM, "elsewhere", "kitchen") == chat.rules.defaults.on(PLATFORM)
        assert not chat.rules.access(PLATFORM, "elsewhere").guests
        assert chat.rules.limits(PLATFORM, "elsewhere", "kitchen", "ada") == ()
        assert not chat.rules.paused(PLATFORM, "elsewhere", "kitchen")
        assert "no such command" in await as_cook(chat, "status", workspace="elsewhere")
