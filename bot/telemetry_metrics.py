"""Metrics for Prometheus, counted from the events of the log: one emission, and no room below knows that it is counted.

`RULES` is the whole of it. A label is a word of ours or a configured model's name, never a person, a place or an id;
`tests/test_telemetry.py` counts every rule's event.
"""

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)
MOST_VALUES = 40
"""Values of one label; what comes later is counted as `other`, so that nobody can fill the memory with new names."""
OTHER = "other"
_LABEL = re.compile(r"[A-Za-z0-9_.:/@+-]{1,80}", re.ASCII)
_EVENT = re.compile(r"[a-z]+(\.[a-z_]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """What an event means to a metric: it counts one, adds up the number in `field`, or times the seconds in `field`."""

    event: str
    metric: str
    help: str
    kind: Literal["count", "sum", "time"] = "count"
    field: str = ""
    label: str = ""


RULES = (
    Rule("intake.accepted", "parley_messages_accepted", "Messages that were stored", label="platform"),
    Rule("intake.known", "parley_messages_repeated", "Deliveries of a message that was stored before", label="platform"),
    Rule("command.handled", "parley_commands", "Commands that were carried out", label="command"),
    Rule("turn.claimed", "parley_turns_claimed", "Turns that were taken up", label="platform"),
    Rule("turn.finished", "parley_turns_finished", "Turns that came to a final state", label="state"),
    Rule("turn.finished", "parley_turn_seconds", "Time from the claim of a turn to its end", "time", "seconds", "state"),
    Rule("llm.finished", "parley_llm_answers", "Answers of a model", label="model"),
    Rule("llm.finished", "parley_llm_seconds", "Time of a model's answer", "time", "seconds", "model"),
    Rule(
        "llm.finished",
        "parley_llm_first_text_seconds",
        "Time to a model's first text",
        "time",
        "first_text_seconds",
        "model",
    ),
    Rule("llm.finished", "parley_llm_prompt_tokens", "Tokens that models read", "sum", "prompt_tokens", "model"),
    Rule("llm.finished", "parley_llm_completion_tokens", "Tokens that models wrote", "sum", "completion_tokens", "model"),
    Rule("llm.failed", "parley_llm_failures", "Calls of a model that failed", label="error"),
    Rule("llm.retry_scheduled", "parley_llm_retries", "Calls of a model that are tried again", label="model"),
    Rule("llm.breaker_opened", "parley_llm_breaker_opened", "Times that a model was given a rest", label="model"),
    Rule("delivery.retry", "parley_delivery_retries", "Writes to a platform that are tried again", label="error"),
    Rule("delivery.reconciled", "parley_delivery_reconciled", "Writes of unknown outcome that were looked up"),
    Rule("discord.identified", "parley_discord_sessions", "Sessions begun on Discord's gateway; a day has 1000"),
    Rule("discord.refused", "parley_discord_refusals", "Requests that Discord refused (401, 403, 429)", label="status"),
    Rule("discord.caught_up", "parley_discord_catch_ups", "Servers and direct messages that were caught up with"),
    Rule("discord.caught_up", "parley_discord_caught_up_messages", "Messages read late", "sum", "messages"),
    Rule("discord.caught_up", "parley_discord_caught_up_cut", "Places with more than was read late", "sum", "places_cut"),
    Rule("discord.catch_up_failed", "parley_discord_catch_ups_failed", "Catch-ups that are tried again"),
    Rule("discord.lost", "parley_discord_changes_lost", "Edits and deletions for which there was no room", label="kind"),
    Rule("sweep.finished", "parley_conversations_expired", "Conversations whose time was up", "sum", "expired"),
    Rule("sweep.finished", "parley_purged_rows", "Rows that were erased because their time was up", "sum", "purged"),
    Rule("sweep.finished", "parley_sweep_seconds", "Time of a sweep", "time", "seconds"),
    Rule("sweep.failed", "parley_sweeps_failed", "Sweeps that failed"),
    Rule("slack.answered", "parley_slack_requests", "Requests of Slack, acknowledged or left to it", label="outcome"),
    Rule("slack.redelivered", "parley_slack_redelivered", "Requests that Slack repeated"),
    Rule("slack.asked_to_wait", "parley_slack_waits", "Calls that Slack put off (429)", label="method"),
    Rule("slack.connected", "parley_slack_sockets_opened", "Sockets that were opened to Slack"),
    Rule("slack.reconnecting", "parley_slack_sockets_lost", "Sockets to Slack that were lost or not opened"),
)


class Metrics:
    """A processor of structlog that counts; all it knows is in the registry that it was given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rules: dict[str, list[tuple[Rule, _Series]]] = {}
        for rule in RULES:
            self._rules.setdefault(rule.event, []).append((rule, _Series(rule, registry)))
        self._events = Counter("parley_events", "Events of the log, by name", ["event"], registry=registry)
        self._lines = Counter(
            "parley_log_lines", "Lines of the log, also those that are not written", ["level"], registry=registry
        )
        self._names: set[str] = set()

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Count `event` and hand it on as it is."""
        name = event.get("event")
        self.count_line("error" if method == "exception" else method)
        if isinstance(name, str) and _EVENT.fullmatch(name):
            self._events.labels(self._known(name)).inc()
            for rule, series in self._rules.get(name, ()):
                series.count(rule, event)
        return event

    def count_line(self, level: str) -> None:
        """Count a line, of ours or of a library."""
        self._lines.labels(level).inc()

    def _known(self, name: str) -> str:
        if name not in self._names and len(self._names) >= 10 * MOST_VALUES:
            return OTHER
        self._names.add(name)
        return name


class _Series:
    """One metric with the values that its label has had."""

    def __init__(self, rule: Rule, registry: CollectorRegistry) -> None:
        labels = [rule.label] if rule.label else []
        self._counter = self._histogram = None
        if rule.kind == "time":
            self._histogram = Histogram(rule.metric, rule.help, labels, buckets=BUCKETS, registry=registry)
        else:
            self._counter = Counter(rule.metric, rule.help, labels, registry=registry)
        self._values: set[str] = set()

    def count(self, rule: Rule, event: Mapping[str, Any]) -> None:
        amount = 1.0 if rule.kind == "count" else _number(event.get(rule.field))
        if amount is None:
            return
        labels = [self._value(event.get(rule.label))] if rule.label else []
        if self._histogram is not None:
            (self._histogram.labels(*labels) if labels else self._histogram).observe(amount)
        if self._counter is not None:
            (self._counter.labels(*labels) if labels else self._counter).inc(amount)

    def _value(self, value: object) -> str:
        text = str(value.value) if isinstance(value, Enum) else value
        if not isinstance(text, str) or not _LABEL.fullmatch(text):
            return OTHER
        if text not in self._values and len(self._values) >= MOST_VALUES:
            return OTHER
        self._values.add(text)
        return text


def _number(value: object) -> float | None:
    """Return an amount that a metric takes; counters never go back."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and 0 <= value < float("inf"):
        return float(value)
    return None
