"""What came of a trial, held against what people said: by the store, by the model's own account, and by what people see."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from bot.chat.words import STORE_AWAY
from tests.e2e.ledger import Ledger
from tests.trials.rigs import Rig
from tests.trials.stages import Places, Stage, place_of
from tests.trials.trial import Figure


@dataclass(frozen=True, slots=True)
class Account:
    """Counts; all but the first four should be 0."""

    messages: int = 0
    turns: int = 0
    calls: int = 0
    """How often the model was asked."""
    ordered: int = 0
    """Places in which more than one message was said: no other one has an order."""
    lost: int = 0
    """Messages that are not in the store."""
    stored_twice: int = 0
    disordered: int = 0
    """Those of them whose messages do not stand in the platform's order."""
    unanswered: int = 0
    """Messages whose turn did not end with an answer."""
    not_shown: int = 0
    """Answers of the store that people don't see."""
    shown_twice: int = 0
    """Messages of the bot beyond the answers of the store: shown again, half, or of nobody. Notices are none."""
    notices: int = 0
    """Messages that say that nothing can be kept just now."""
    noticed_twice: int = 0
    """Notices beyond the first one in a place."""
    overlapping: int = 0
    """Calls of the model that began while another one of the same conversation was under way."""

    def __add__(self, other: "Account") -> "Account":
        return Account(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def figures(self, *, overlaps: bool = True) -> list[Figure]:
        """Write it down; without `overlaps` calls of one conversation may well have overlapped."""
        counted = [
            ("lost", self.lost, self.messages),
            ("stored twice", self.stored_twice, self.messages),
            ("conversations out of order", self.disordered, self.ordered),
            ("not answered", self.unanswered, self.messages),
            ("answers not shown", self.not_shown, self.turns),
            ("shown twice", self.shown_twice, self.turns),
        ]
        if self.notices:
            counted.append(("notices beyond the first of a place", self.noticed_twice, self.notices))
        if overlaps:
            counted.append(("turns at once in a conversation", self.overlapping, self.turns))
        return [
            Figure(name="messages", value=self.messages),
            Figure(name="turns", value=self.turns),
            *(Figure(name=name, value=value, at_most=0, of=of) for name, value, of in counted),
        ]


def named(name: str, figures: Sequence[Figure]) -> list[Figure]:
    """Say of which platform figures are."""
    return [replace(figure, name=f"{name}: {figure.name}") for figure in figures]


def audit(rig: Rig[Stage]) -> Account:
    """Take stock once everything has come to its end."""
    return account_of(rig.stage, rig.ledger, rig.model.calls())


def account_of(stage: Places, ledger: Ledger, calls: Sequence[dict[str, Any]]) -> Account:
    """Hold what a store has and what the model was asked against what people said and see."""
    spoken = {place: stage.said(place) for place in range(stage.places)}
    everything = [text for texts in spoken.values() for text in texts]
    kept = Counter(said.text for said in ledger.said)
    done = {turn.id for turn in ledger.turns if turn.state == "done"}
    answers = Counter(text for said in ledger.said for text, ending in said.answers if ending == "complete")
    answered = {said.turn for said in ledger.said if said.answers}
    seen = [stage.shown(place) for place in range(stage.places)]
    shown = Counter(text for texts in seen for text in texts if text != STORE_AWAY)
    notices = [texts.count(STORE_AWAY) for texts in seen]
    return Account(
        messages=len(everything),
        turns=len(ledger.turns),
        calls=len(calls),
        ordered=len([place for place, texts in spoken.items() if len(texts) > 1]),
        lost=len([text for text in everything if text not in kept]),
        stored_twice=sum(number - 1 for number in kept.values()),
        disordered=_disordered(spoken, [said.text for said in ledger.said]),
        unanswered=len([said for said in ledger.said if said.turn not in done & answered]),
        not_shown=(answers - shown).total(),
        shown_twice=(shown - answers).total(),
        notices=sum(notices),
        noticed_twice=sum(max(0, number - 1) for number in notices),
        overlapping=_overlapping(calls),
    )


def settled_account(rig: Rig[Stage]) -> Account:
    """Wait until everything has come to its end and people see it, and take stock."""
    said = sum(len(rig.stage.said(place)) for place in range(rig.stage.places))
    rig.settle(said)
    return audit(rig)


def _disordered(spoken: dict[int, list[str]], kept: Sequence[str]) -> int:
    """Count the places whose messages stand in another order in the store, whatever is missing there."""
    wrong = 0
    for place, texts in spoken.items():
        there = [text for text in kept if place_of(text) == place]
        wrong += there != [text for text in texts if text in set(there)]
    return wrong


def _overlapping(calls: Sequence[dict[str, object]]) -> int:
    places = [place_of(_question(call)) for call in calls]
    return sum(
        any(places[other] == places[number] for other in call["alongside"])  # type: ignore[attr-defined]
        for number, call in enumerate(calls)
    )


def _question(call: dict[str, object]) -> str:
    body = call["body"]
    assert isinstance(body, dict)
    return str(body["messages"][-1]["content"])
