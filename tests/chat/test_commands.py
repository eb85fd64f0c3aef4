"""Who may run which command: decided once, at every call, the same for what is typed, suggested and listed."""

import pytest

from bot.chat import words
from bot.chat.authority import Rank
from bot.chat.callers import MEMBER, UNKNOWN, Standing
from bot.chat.commands import TABLE, Command, Group
from bot.chat.words_governing import HOSTS_ONLY, REFUSALS
from store import StoreUnavailable
from tests.chat.chatting import PLATFORM, chatting
from tests.chat.commanding import BOT, COOK, GUEST, HOST, OWNER, appoint, table, text_of, type_in, typed

pytestmark = pytest.mark.anyio

ROWS = list(TABLE.values())
PEOPLE: dict[str, tuple[str, Standing, Rank | None]] = {
    "host": ("ada", MEMBER, Rank.HOST),
    "owner": ("otto", OWNER, Rank.OPERATOR),
    "operator": ("carl", COOK, Rank.OPERATOR),
    "member": ("bob", MEMBER, Rank.PERSON),
    "guest": ("gus", GUEST, Rank.ANYONE),
    "nobody knows": ("uma", UNKNOWN, Rank.ANYONE),
    "bot": ("robot", BOT, None),
}


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
async def test_a_command_is_carried_out_for_those_of_its_rank_and_for_nobody_else(row: Command, person: str) -> None:
    user, standing, rank = PEOPLE[person]
    async with chatting(operators=[HOST]) as chat:
        await appoint(chat)
        before = await chat.store.settings(PLATFORM)
        line = f"{row.path} 1" if row.options and row.options[0].required else row.path
        reply = await type_in(chat, line, user=user, standing=standing)
        assert reply.private
        entries = [entry for entry in await chat.audited() if entry.author_id == user]
        may = rank is not None and rank >= row.needs
        assert await table(chat).offers(typed(chat, line, user=user, standing=standing)) is may
        if may:
            assert all(entry.allowed for entry in entries)
            if row.group is Group.OPERATORS and row.name != "resume":  # there is nothing to resume
                assert [entry.action for entry in entries] == [row.path]
            return
        assert [(entry.action, entry.allowed) for entry in entries] == [(row.path, False)]
        assert await chat.store.settings(PLATFORM) == before
        if row.group is Group.OPERATORS and rank is Rank.OPERATOR:
            assert reply.text == HOSTS_ONLY
        elif row.group is Group.OPERATORS:
            nonsense = await type_in(chat, f"parley {'x' * 30}", user=user, standing=standing)
            assert "no such command" in reply.text
            assert reply.files == nonsense.files == ()
        else:
            assert reply.text in REFUSALS.values()


@pytest.mark.parametrize("row", [row for row in ROWS if row.group is Group.OPERATORS], ids=lambda row: row.path)
async def test_an_operators_command_is_to_others_one_that_does_not_exist(
    row: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(operators=[HOST]) as chat:
        refused = await type_in(chat, f"{row.path} 1", user="bob")
        monkeypatch.delitem(TABLE, row.path)
        assert await type_in(chat, f"{row.path} 1", user="bob") == refused


async def test_an_empty_list_of_operators_means_nobody() -> None:
    async with chatting() as chat:
        assert "no such command" in await text_of(chat, "parley status")
        assert "no such command" in await text_of(chat, "parley status", standing=COOK)


async def test_help_lists_to_everybody_what_they_can_do() -> None:
    async with chatting(operators=[HOST]) as chat:
        host, bob, gus = (
            await text_of(chat, "help"),
            await text_of(chat, "help", user="bob"),
            await text_of(chat, "help", user="gus", standing=GUEST),
        )
        for row in ROWS:
            assert row.summary in host
            assert (row.summary in bob) is (row.needs <= Rank.PERSON)
            assert (row.summary in gus) is (row.needs is Rank.ANYONE)


async def test_what_both_groups_call_the_same_is_peoples_unless_the_group_is_said() -> None:
    async with chatting(operators=[HOST]) as chat:
        assert "The day ends" in await text_of(chat, "usage")
        assert "Nothing was used" in await text_of(chat, "parley usage")
        assert "Nothing was used" not in await text_of(chat, "chat usage")


async def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    async with chatting() as chat:
        assert "`history`" in await text_of(chat, "histroy")
        assert "no such command" in await text_of(chat, "x" * 100_000)


async def test_a_misspelt_operators_command_is_only_mended_for_operators() -> None:
    async with chatting(operators=[HOST]) as chat:
        assert "`conversations`" in await text_of(chat, "parley conversatoins")
        assert "did you mean" not in await text_of(chat, "parley conversatoins", user="bob")


async def test_a_failing_store_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(key: object) -> None:
        raise StoreUnavailable("the disk of /secret/path is full")

    async with chatting() as chat:
        monkeypatch.setattr(chat.store, "find", full)
        assert await text_of(chat, "history") == words.STORE_FAILED


async def test_a_store_that_can_not_note_a_refusal_still_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(entry: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting(operators=[HOST]) as chat:
        monkeypatch.setattr(chat.store, "audit", full)
        assert "no such command" in await text_of(chat, "parley status", user="bob")


async def test_what_can_not_be_noted_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(entry: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting("Hello.", operators=[HOST]) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        monkeypatch.setattr(chat.store, "audit", full)
        assert await text_of(chat, "parley forget 1") == words.STORE_FAILED
        assert len(await chat.history()) == 2


async def test_text_that_no_store_keeps_is_refused_in_words() -> None:
    async with chatting() as chat:
        assert await text_of(chat, "persona a\x00b") == words.UNSTORABLE


async def test_a_group_is_listed_as_it_is_typed() -> None:
    async with chatting() as chat:
        reply = await table(chat).overview(typed(chat, "nonsense"), Group.PEOPLE)
        assert reply.columns
        names = [line.split()[:2] for line in reply.text.splitlines()]
        assert names == [["/chat", row.name] for row in ROWS if row.group is Group.PEOPLE]


async def test_the_operators_group_is_to_others_a_command_that_does_not_exist() -> None:
    async with chatting(operators=[HOST]) as chat:
        theirs = await table(chat).overview(typed(chat, "status", user="bob"), Group.OPERATORS)
        assert theirs == await table(chat).handle(typed(chat, "status", user="bob"))
        ours = await table(chat).overview(typed(chat, ""), Group.OPERATORS)
        assert "/parley status" in ours.text
        await appoint(chat)
        carls = await table(chat).overview(typed(chat, "", user="carl", standing=COOK), Group.OPERATORS)
        assert "/parley status" in carls.text
        assert "/parley sweep" not in carls.text


SUGGESTED = [(row, option) for row in ROWS for option in row.options if option.suggests is not None]


@pytest.mark.parametrize(("row", "option"), SUGGESTED, ids=lambda part: getattr(part, "path", None) or part.name)
async def test_who_may_not_run_a_command_is_not_helped_with_it_and_the_try_is_noted(row: Command, option) -> None:
    async with chatting("Hello.", operators=[HOST]) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert await table(chat).suggest(typed(chat, row.path, user="bob"), option, "") == []
        (entry,) = await chat.audited()
        assert (entry.action, entry.allowed, entry.author_id) == (row.path, False, "bob")


async def test_suggestions_that_the_store_can_not_give_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*args: object, **more: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting(operators=[HOST]) as chat:
        monkeypatch.setattr(chat.store, "conversations", full)
        (option,) = TABLE["parley show"].options
        assert await table(chat).suggest(typed(chat, "parley show"), option, "") == []


async def test_no_more_is_suggested_than_can_be_shown() -> None:
    async with chatting(operators=[HOST]) as chat:
        for number in range(30):
            await chat.store.get_or_create(chat.key(user=f"u{number}"), at=chat.clock.now())
        (option,) = TABLE["parley show"].options
        found = await table(chat).suggest(typed(chat, "parley show"), option, "")
        assert found == [str(number) for number in range(30, 5, -1)]
        assert await table(chat).suggest(typed(chat, "parley show"), option, "1") == [
            *(str(number) for number in range(19, 9, -1)),
            "1",
        ]
