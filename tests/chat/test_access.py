"""Who may speak and where: what was denied is refused, what was not allowed is too, and nobody gains by being unknown."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.chat.access import Access, Refusal
from bot.chat.callers import MEMBER, UNKNOWN, Caller, Kind, Standing

OPEN = Access()
GUEST = Standing(kind=Kind.GUEST)
EXTERNAL = Standing(kind=Kind.EXTERNAL)
BOT = Standing(kind=Kind.BOT)


def caller(standing: Standing = MEMBER, **parts: object) -> Caller:
    where: dict[str, object] = {"platform": "slack", "workspace": "T1", "channel": "C1", "user_id": "U1"}
    return Caller(**(where | parts), standing=standing)  # type: ignore[arg-type]


def in_groups(*groups: str, kind: Kind = Kind.MEMBER) -> Standing:
    return Standing(kind=kind, groups=frozenset(groups))


NAMES = st.sampled_from(["1", "2", "3"])
RULES = st.dictionaries(NAMES, st.booleans(), max_size=3)
ACCESS = st.builds(
    Access,
    users=RULES,
    groups=RULES,
    categories=RULES,
    channels=RULES,
    guests=st.booleans(),
    external=st.booleans(),
    people=st.booleans(),
    direct=st.booleans(),
    everywhere=st.booleans(),
)
STANDINGS = st.builds(
    Standing,
    kind=st.sampled_from(Kind),
    groups=st.frozensets(NAMES, max_size=3),
    groups_known=st.booleans(),
    owner=st.booleans(),
)
CALLERS = st.builds(
    Caller,
    platform=st.just("slack"),
    workspace=st.just("T1"),
    channel=NAMES,
    user_id=NAMES,
    standing=STANDINGS,
    category=st.sampled_from(["", "1", "2"]),
    direct=st.booleans(),
)


@given(ACCESS, CALLERS, st.booleans())
def test_who_is_denied_by_name_is_refused_whatever_else_holds(access: Access, who: Caller, bots: bool) -> None:
    denying = replace(access, users={**access.users, who.user_id: False})
    assert denying.refusal(who, bots=bots) is not None


@given(ACCESS, CALLERS, NAMES)
def test_of_several_groups_a_denied_one_decides(access: Access, who: Caller, denied: str) -> None:
    denying = replace(access, groups={**access.groups, denied: False}, users={})
    theirs = replace(who.standing, groups=who.standing.groups | {denied})
    assert denying.refusal(replace(who, standing=theirs), bots=True) is Refusal.DENIED


@given(ACCESS, CALLERS, st.sampled_from([Kind.MEMBER, Kind.GUEST, Kind.EXTERNAL]))
def test_nobody_may_more_by_being_unknown(access: Access, who: Caller, kind: Kind) -> None:
    known = replace(who, standing=replace(who.standing, kind=kind, groups_known=True))
    for hidden in (
        replace(known.standing, kind=Kind.UNKNOWN),
        replace(known.standing, groups=frozenset(), groups_known=False),
        replace(known.standing, kind=Kind.UNKNOWN, groups=frozenset(), groups_known=False),
    ):
        if access.refusal(known) is not None:
            assert access.refusal(replace(known, standing=hidden)) is not None


@given(ACCESS, CALLERS)
def test_where_nobody_is_named_and_people_are_not_taken_nobody_may(access: Access, who: Caller) -> None:
    assert replace(access, users={}, groups={}, people=False).refusal(who, bots=True) is not None


@given(ACCESS, CALLERS)
def test_denying_one_more_lets_nobody_in(access: Access, who: Caller) -> None:
    assume(access.refusal(who, bots=True) is not None)
    for harder in (
        replace(access, users={**access.users, "2": False}),
        replace(access, people=False),
        replace(access, guests=False, external=False),
        replace(access, direct=False, everywhere=False),
    ):
        assert harder.refusal(who, bots=True) is not None


@given(ACCESS, CALLERS, st.randoms())
def test_the_order_of_rules_does_not_matter(access: Access, who: Caller, rng: object) -> None:
    def shuffled(rules: Mapping[str, bool]) -> dict[str, bool]:
        items = list(rules.items())
        rng.shuffle(items)  # type: ignore[attr-defined]
        return dict(items)

    other = replace(
        access,
        users=shuffled(access.users),
        groups=shuffled(access.groups),
        categories=shuffled(access.categories),
        channels=shuffled(access.channels),
    )
    assert access.refusal(who) is other.refusal(who)


@given(ACCESS, CALLERS)
def test_bots_are_refused_where_bots_are_not_answered(access: Access, who: Caller) -> None:
    assert access.refusal(replace(who, standing=replace(who.standing, kind=Kind.BOT))) is Refusal.BOT


@pytest.mark.parametrize(
    ("standing", "access", "refusal"),
    [
        (MEMBER, OPEN, None),
        (GUEST, OPEN, Refusal.GUEST),
        (GUEST, Access(guests=True), None),
        (EXTERNAL, OPEN, Refusal.EXTERNAL),
        (EXTERNAL, Access(external=True), None),
        (EXTERNAL, Access(guests=True), Refusal.EXTERNAL),
        (GUEST, Access(users={"U1": True}), None),
        (in_groups("G1", kind=Kind.GUEST), Access(groups={"G1": True}), None),
        (in_groups("G1"), Access(people=False, groups={"G1": True}), None),
        (in_groups("G2"), Access(people=False, groups={"G1": True}), Refusal.DENIED),
        (MEMBER, Access(people=False, users={"U1": True}), None),
        (in_groups("G1"), Access(groups={"G1": False}, users={"U1": True}), None),
        (in_groups("G1", "G2"), Access(groups={"G1": True, "G2": False}), Refusal.DENIED),
        (UNKNOWN, OPEN, Refusal.UNKNOWN),
        (UNKNOWN, Access(users={"U1": True}), None),
        (UNKNOWN, Access(users={"U1": False}), Refusal.DENIED),
        (UNKNOWN, Access(guests=True), Refusal.UNKNOWN),
        (UNKNOWN, Access(guests=True, external=True), None),
        (UNKNOWN, Access(guests=True, external=True, groups={"G1": True}), None),
        (UNKNOWN, Access(guests=True, external=True, groups={"G1": False}), Refusal.UNKNOWN),
        (UNKNOWN, Access(guests=True, external=True, people=False, groups={"G1": True}), Refusal.UNKNOWN),
        (Standing(kind=Kind.MEMBER, groups_known=False), OPEN, None),
        (Standing(kind=Kind.MEMBER, groups_known=False), Access(groups={"G1": False}), Refusal.UNKNOWN),
    ],
)
def test_who_may_speak(standing: Standing, access: Access, refusal: Refusal | None) -> None:
    assert access.refusal(caller(standing)) is refusal


@pytest.mark.parametrize(
    ("where", "access", "refusal"),
    [
        ({}, Access(channels={"C1": False}), Refusal.CHANNEL),
        ({}, Access(channels={"C2": False}), None),
        ({}, Access(everywhere=False), Refusal.CHANNEL),
        ({}, Access(everywhere=False, channels={"C1": True}), None),
        ({"category": "7"}, Access(everywhere=False, categories={"7": True}), None),
        ({"category": "7"}, Access(categories={"7": False}), Refusal.CHANNEL),
        ({"category": "7"}, Access(categories={"7": False}, channels={"C1": True}), None),
        ({"category": "7"}, Access(categories={"7": True}, channels={"C1": False}), Refusal.CHANNEL),
        ({}, Access(users={"U1": True}, channels={"C1": False}), Refusal.CHANNEL),
        ({"direct": True}, OPEN, None),
        ({"direct": True}, Access(direct=False), Refusal.DIRECT),
        ({"direct": True}, Access(everywhere=False), None),
    ],
)
def test_where_one_may_speak(where: dict[str, object], access: Access, refusal: Refusal | None) -> None:
    assert access.refusal(caller(**where)) is refusal


@pytest.mark.parametrize(
    ("access", "refusal"),
    [
        (OPEN, None),
        (Access(users={"U1": False}), Refusal.DENIED),
        (Access(channels={"C1": False}), Refusal.CHANNEL),
        (Access(people=False), Refusal.DENIED),
    ],
)
def test_bots_that_are_answered_are_under_the_rules_like_people(access: Access, refusal: Refusal | None) -> None:
    assert access.refusal(caller(BOT), bots=True) is refusal
