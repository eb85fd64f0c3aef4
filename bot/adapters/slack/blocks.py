"""A message as Slack takes it: its text in a Markdown block or in mrkdwn, its buttons, its notification's text (pure)."""

from dataclasses import dataclass
from typing import Any

from bot.adapters.slack.action_ids import FEEDBACK_ACTION, control_action, control_value, feedback_value
from bot.adapters.slack.mrkdwn import mrkdwn
from bot.adapters.slack.neutral import neutral
from bot.chat.protocol import Control, Controls, Measure
from bot.chat.splitting import split

LABELS = {Control.STOP: "Stop", Control.RETRY: "Regenerate", Control.CONTINUE: "Continue"}
SECTION = 3_000
"""The longest text of a section; a message's `text` is kept as short, below the 4,000 that `chat.update` takes."""
# Escaping makes five characters of one `&`, and a heading or a link may grow by a few: the last of these always fits.
_PIECES = (2_400, 1_200, 550)

Json = Any
Blocks = list[dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a workspace is thought to take; each thing is tried until Slack refuses it there."""

    markdown: bool = True
    """Blocks of Markdown; otherwise sections of mrkdwn."""
    feedback: bool = True
    """Buttons for feedback."""

    def without(self, where: str) -> "Dialect | None":
        """Return the next simpler dialect, when blocks were refused; None when there is none. `where` is Slack's pointer to
        what it did not like, if it told."""
        if self.markdown and (where.startswith("/blocks/0") or not self.feedback):
            return Dialect(markdown=False, feedback=self.feedback)
        return Dialect(markdown=self.markdown, feedback=False) if self.feedback else None


def content(text: str, controls: Controls, nonce: str, dialect: Dialect) -> dict[str, Json]:
    """Write what `chat.postMessage` and `chat.update` take: `text` and `blocks`. It pings nobody."""
    sections = _sections(text)
    shown: Blocks = (
        [{"type": "markdown", "text": neutral(text)}]
        if dialect.markdown
        else [{"type": "section", "text": {"type": "mrkdwn", "text": part}, "expand": True} for part in sections]
    )
    return {"text": sections[0], "blocks": shown + buttons(controls, nonce, dialect)}


def notice(text: str) -> str:
    """Return the beginning of a text as notifications show it."""
    return _sections(text)[0]


def plain(text: str) -> Blocks:
    """Write a text as rich text without any markup: a message that once was rich text can't become anything else."""
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": neutral(text)}]}
    return [{"type": "rich_text", "elements": [section]}]


def buttons(controls: Controls, nonce: str, dialect: Dialect) -> Blocks:
    """Write the rows of buttons; none when nothing is offered. A finished answer may be judged as well."""
    if not controls.offered:
        return []
    elements = [
        {
            "type": "button",
            "action_id": control_action(control),
            "text": {"type": "plain_text", "text": LABELS[control]},
            "value": control_value(controls.turn_id, nonce),
        }
        for control in controls.offered
    ]
    rows: Blocks = [{"type": "actions", "elements": elements}]
    if dialect.feedback and Control.STOP not in controls.offered:
        rows.append(_feedback(controls.turn_id))
    return rows


def _feedback(turn_id: int) -> dict[str, Json]:
    def verdict(label: str, *, good: bool) -> dict[str, Json]:
        return {
            "text": {"type": "plain_text", "text": label},
            "accessibility_label": label,
            "value": feedback_value(turn_id, good=good),
        }

    element = {
        "type": "feedback_buttons",
        "action_id": FEEDBACK_ACTION,
        "positive_button": verdict("Good answer", good=True),
        "negative_button": verdict("Bad answer", good=False),
    }
    return {"type": "context_actions", "elements": [element]}


def _sections(text: str) -> list[str]:
    """Cut a text into pieces of mrkdwn that fit into a section each, blank ones left out; at least one."""
    for limit in _PIECES:
        pieces = [mrkdwn(part.text) for part in split(text, limit, Measure.UTF16)]
        if all(len(piece) <= SECTION for piece in pieces):
            break
    return [piece for piece in pieces if piece.strip()] or [" "]
