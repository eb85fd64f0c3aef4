"""Who may do what on Discord: every command, option, button and menu entry, tried by everybody, on the real discord.py.

What there is to try comes from the table of commands, so a new one is tried as well. What is refused is refused privately
and in time, written down, and leaves the store as it was.
"""

import asyncio
import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.discord.components import LABELS
from bot.adapters.discord.context_menu import ACTION, NAME
from bot.adapters.discord.places import PLATFORM
from bot.chat import words
from bot.chat import words_commands as say
from bot.chat import words_governing as governing
from bot.chat.access import Refusal
from bot.chat.authority import Rank
from bot.chat.command_table import TABLE, Command, Group
from bot.chat.protocol import Control
from bot.llm.protocol import Finish, FinishReason, Usage
from store import StoreUnavailable
from tests.adapters.discord.governed import PEOPLE, Person, Town, town
from tests.fakes.discord import Channel, User

pytestmark = pytest.mark.anyio

Options = Mapping[str, Any]

ACTING: Mapping[str, Callable[[int], Options]] = {
    "chat history": lambda id: {"messages": 1},
    "chat persona": lambda id: {"text": "a pirate"},
    "chat keep": lambda id: {"extend": "longer"},
    "chat export": lambda id: {"after": "1"},
    "chat forget": lambda id: {"what": "everything"},
    "parley conversations": lambda id: {"filter": "current", "page": 1},
    "parley show": lambda id: {"id": str(id)},
    "parley channel": lambda id: {"setting": "trigger", "value": "listen"},
    "parley workspace": lambda id: {"setting": "scope", "value": "channel"},
    "parley access": lambda id: {"subject": "external", "rule": "allow"},
    "parley limits": lambda id: {"limit": "user-turns", "amount": "5"},
    "parley usage": lambda id: {"by": "day", "days": 2, "form": "csv"},
    "parley pause": lambda id: {"where": "workspace"},
    "parley resume": lambda id: {"where": "workspace"},
    "parley forget": lambda id: {"id": str(id)},
    "parley restore": lambda id: {"id": str(id)},
    "parley audit": lambda id: {"page": 1},
}
"""Options with which a command does something, by its path; `id` is a conversation's number."""
CHANGING = ("channel", "workspace", "access", "limits", "pause", "resume", "forget", "restore")
"""The operators' commands that change what is kept, with these options."""
REFUSALS = {governing.HOSTS_ONLY, governing.OWNERS_ONLY, *governing.REFUSALS.values()}
SUGGESTED = [(row, option) for row in TABLE.values() for option in row.options if option.suggests is not None]
CUT = ["The first half", Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")]
NO_SUCH = "There is no such command"
HOSTS_ALONE = (("parley pause", {"where": "everything"}), ("parley limits", {"limit": "all-tokens", "amount": "1000"}))
EVERYBODY = pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
EVERYWHERE = pytest.mark.parametrize("direct", [False, True], ids=["in a channel", "directly"])


def test_every_command_with_options_is_tried_with_some() -> None:
    assert set(ACTING) == {row.path for row in TABLE.values() if row.options}


@EVERYBODY
@EVERYWHERE
async def test_every_command_is_carried_out_for_exactly_those_who_may(person: Person, direct: bool, tmp_path: Path) -> None:
    async with town(tmp_path, *["Again."] * 10) as here:
        who, conversation = here.people[person.name], await here.conversation()
        where = here.bot.discord.dm(who) if direct else here.general
        for row in TABLE.values():
            for options in variants(row, conversation):
                if person.may(row.needs, direct=direct):
                    await carried_out(here, who, where, row, options)
                else:
                    await refused(here, who, where, row, options)


def variants(row: Command, conversation: int) -> list[Options]:
    """List the ways in which a command is tried: bare, if it can be, and so that it does something."""
    bare: list[Options] = [] if any(option.required for option in row.options) else [{}]
    return bare + ([ACTING[row.path](conversation)] if row.options else [])


async def carried_out(here: Town, who: User, where: Channel, row: Command, options: Options) -> None:
    before = here.dump()
    said = await here.said(await who.slash(where, row.group.value, row.name, **options))
    await here.bot.quiet()
    assert not said.startswith(NO_SUCH), (row.path, said)
    assert said not in REFUSALS, row.path
    assert said != words.COMMAND_FAILED, row.path
    assert await here.noted(who, row.path, where, allowed=False) == []
    if row.group is Group.OPERATORS and where.guild is not None:
        assert await here.noted(who, row.path, where, allowed=True), row.path
        if row.name in CHANGING and options:
            assert here.dump() != before, row.path


async def refused(here: Town, who: User, where: Channel, row: Command, options: Options) -> None:
    before, seen = here.dump(), list(where.messages)
    said = await here.said(await who.slash(where, row.group.value, row.name, **options))
    if row.group is Group.OPERATORS and said not in REFUSALS:
        assert said.startswith(NO_SUCH), (row.path, said)
    else:
        assert said in REFUSALS, (row.path, said)
    assert len(await here.noted(who, row.path, where, allowed=False)) == 1, row.path
    assert await here.noted(who, row.path, where, allowed=True) == []
    assert here.dump() == before, row.path
    assert where.messages == seen


@EVERYWHERE
async def test_values_are_suggested_to_exactly_those_who_may_run_the_command(direct: bool, tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        await here.bot.store.expire_now(PLATFORM, str(here.home.id), await here.conversation(), at=here.bot.clock.now())
        await here.answered()
        for person in PEOPLE:
            who = here.people[person.name]
            where = here.bot.discord.dm(who) if direct else here.general
            for row, option in SUGGESTED:
                others = {name: value for name, value in ACTING[row.path](0).items() if name != option.name}
                before, allowed = here.dump(), person.may(row.needs, direct=direct)
                offered = await who.autocomplete(where, row.group.value, row.name, focused=option.name, **others)
                call = here.bot.discord.interactions[-1]
                assert call.acknowledged
                assert not call.failed
                if not (allowed and direct):  # directly, there is no workspace with something to suggest
                    assert bool(offered) is allowed, (person.name, row.path, option.name)
                assert bool(await here.noted(who, row.path, where, allowed=False)) is not allowed
                assert here.dump() == before


@pytest.mark.parametrize("control", Control)
async def test_a_button_works_for_whom_the_answer_answers_and_for_operators(control: Control, tmp_path: Path) -> None:
    never = asyncio.Event()
    async with town(tmp_path) as here:
        for person in PEOPLE:
            allowed = person.name == "member" or person.may(Rank.OPERATOR)
            if control is Control.STOP:
                here.bot.model.add(["Half", never])
                answer = await here.growing()
            else:
                here.bot.model.add(CUT, *(["More."] if allowed else []))
                answer = await here.answered()
            who, before = here.people[person.name], here.dump()
            press = await who.click(answer, LABELS[control])
            if allowed:
                await here.bot.discord.until(lambda before=before: here.dump() != before)
                await here.bot.quiet()
                assert press.replies == [], person.name
            else:
                assert await here.said(press) in {words.NOT_YOURS, *governing.REFUSALS.values()}, person.name
                assert here.dump() == before, person.name
            assert bool(await here.noted(who, control.value, here.general, allowed=False)) is not allowed, person.name
            if not allowed and control is Control.STOP:
                await here.people["member"].click(answer, LABELS[control])
                await here.bot.quiet()


async def test_buttons_obey_what_their_owner_has_become_since(tmp_path: Path) -> None:
    async with town(tmp_path, CUT) as here:
        answer, member = await here.answered(), here.people["member"]
        here.home.join(member, pending=True)
        before = here.dump()
        assert await here.said(await member.click(answer, LABELS[Control.CONTINUE])) == governing.REFUSALS[Refusal.GUEST]
        assert here.dump() == before


@EVERYWHERE
async def test_a_message_is_asked_about_by_exactly_those_who_may_speak(direct: bool, tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        for person in PEOPLE:
            who = here.people[person.name]
            where = here.bot.discord.dm(who) if direct else here.general
            said = await (who if direct else here.home.owner).say(where, "Cats are better.")
            before, asked, allowed = here.dump(), len(here.bot.model.prompts), person.may(Rank.PERSON, direct=direct)
            if allowed:
                here.bot.model.add(f"Quite right, {person.name}.")
            told = await here.said(await who.use_on(said, NAME))
            await here.bot.quiet()
            assert bool(await here.noted(who, ACTION, where, allowed=False)) is not allowed
            if allowed:
                assert told == words.ASK_TAKEN
                assert here.bot.answers(where)[-1] == f"Quite right, {person.name}."
            else:
                assert told in governing.REFUSALS.values()
                assert len(here.bot.model.prompts) == asked
                assert here.dump() == before


@pytest.mark.parametrize(("path", "options"), HOSTS_ALONE, ids=["pause everything", "limits of all"])
async def test_what_concerns_everybody_is_for_hosts_alone(path: str, options: Options, tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        for person in reversed(PEOPLE):
            who, before, allowed = here.people[person.name], here.dump(), person.may(Rank.HOST)
            await here.said(await who.slash(here.general, *path.split(), **options))
            assert (here.dump() != before) is allowed, person.name
            assert bool(await here.noted(who, path, here.general, allowed=False)) is not allowed


@pytest.mark.parametrize(("role", "rule"), [("cooks", "operator"), ("operators", "default")])
async def test_who_operates_is_said_by_owners_and_hosts_alone(role: str, rule: str, tmp_path: Path) -> None:
    undo = {"operator": "default", "default": "operator"}[rule]
    async with town(tmp_path) as here:
        group = next(known.mention for known in here.home.roles.values() if known.name == role)
        for person in PEOPLE:
            who, before, allowed = here.people[person.name], here.dump(), person.name in ("host", "owner")
            await here.said(await who.slash(here.general, "parley", "access", subject=group, rule=rule))
            assert (here.dump() != before) is allowed, person.name
            assert bool(await here.noted(who, "parley access", here.general, allowed=False)) is not allowed
            await here.said(await here.bot.olga.slash(here.general, "parley", "access", subject=group, rule=undo))


@pytest.mark.parametrize("path", ["parley show", "parley forget", "parley restore"])
async def test_an_operator_of_another_server_is_told_that_there_is_no_such_conversation(path: str, tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        who, there = here.elsewhere.owner, here.elsewhere.channel("general")
        foreign, before = await here.conversation(), here.dump()
        told = [await here.said(await who.slash(there, *path.split(), id=str(id))) for id in (foreign, 987_654)]
        assert told[0] == told[1]
        assert here.dump() == before
        listed = await here.said(await who.slash(there, "parley", "conversations"))
        assert listed == say.NO_CONVERSATIONS
        assert await who.autocomplete(there, *path.split(), focused="id") == []


async def test_a_button_of_another_server_reaches_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, CUT) as here:
        carried_over = copy.copy(await here.answered())
        carried_over.channel = here.elsewhere.channel("general")
        before = here.dump()
        for control in (Control.RETRY, Control.CONTINUE):
            press = await here.elsewhere.owner.click(carried_over, LABELS[control])
            assert await here.said(press) == words.ANSWER_UNKNOWN
        assert here.dump() == before


async def test_no_right_hangs_on_a_question_to_discord(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        discord, number = here.bot.discord, str(await here.conversation())
        questions = [discord.fail("GET", place, status=503, times=10_000) for place in ("/guilds/**", "/channels/**")]
        for person in PEOPLE:
            said = await here.said(await here.people[person.name].slash(here.general, "parley", "show", id=number))
            assert said.startswith("```") is person.may(Rank.OPERATOR), (person.name, said)
        assert [question.hits for question in questions] == [0, 0]


async def test_a_log_that_can_not_be_written_turns_no_refusal_into_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(entry: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with town(tmp_path) as here:
        monkeypatch.setattr(here.bot.store, "audit", failing)
        before, number = here.dump(), await here.conversation()
        for row in TABLE.values():
            for person in PEOPLE:
                if not person.may(row.needs):
                    options = variants(row, number)[-1]
                    call = await here.people[person.name].slash(here.general, row.group.value, row.name, **options)
                    said = await here.said(call)
                    assert said.startswith(NO_SUCH) or said in REFUSALS
        assert here.dump() == before
