"""Operators' commands on what holds: settings of channels and the workspace, access, limits, pauses.

A change is written in the log of governing by the store as it is kept; what is only shown is written down before.
"""

from collections.abc import Collection, Mapping

from bot.chat import words
from bot.chat import words_commands as say
from bot.chat.authority import Rank
from bot.chat.commands_layout import columns, excerpt
from bot.chat.commands_parts import Parts
from bot.chat.commands_subjects import Subject, SubjectKind, subject_of
from bot.chat.limits import LIMIT_NAMES, LIMITS
from bot.chat.options import Option, OptionKind
from bot.chat.protocol import CommandCall, Place
from bot.chat.rules import DEFAULT, SETTINGS, Origin, value_of
from bot.chat.settings_table import ACCESS, ALLOW, CHANNEL, DENY, KINDS, LIMIT, OFF, OPERATOR, PERSONA_LENGTH
from store import ON, PAUSED, WORKSPACE_RUNNING, Payer, Setting, Unit

Given = Mapping[str, str]

EVERYTHING, WORKSPACE, HERE = "everything", "workspace", "channel"
RULES_SHOWN = 200
"""Rules of access that are listed: more would be cut by the platforms."""


async def suggest_values(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose what may be chosen for the setting that was named."""
    del call
    return parts.rules.choices(given.get("setting", ""))


async def suggest_subjects(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose the kinds, and whom there are rules about already."""
    del given
    rules = parts.rules.choices_in(call.address.platform, call.address.workspace)
    ruled = [_subject(rule) for rule in rules if rule.name in (ACCESS, OPERATOR)]
    return list(dict.fromkeys([*KINDS, *ruled]))


async def suggest_amounts(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose to lift a limit or to take a choice back."""
    del parts, call
    return (DEFAULT,) if given.get("limit") == WORKSPACE_RUNNING else ("off", DEFAULT)


async def suggest_payers(parts: Parts, call: CommandCall, given: Given) -> Collection[str]:
    """Propose those for whom such a limit is set already."""
    rows = parts.rules.limit_table(call.address.platform, call.address.workspace)
    return [row.subject for row in rows if row.subject and row.name == given.get("limit")]


def _setting_options(where: str) -> tuple[Option, ...]:
    return (
        Option(
            name="setting",
            summary=f"which one of the {where}'s, all if you don't say",
            kind=OptionKind.CHOICE,
            choices=tuple(SETTINGS),
        ),
        Option(
            name="value",
            summary=f"what holds from now on, `{DEFAULT}` takes it back",
            longest=PERSONA_LENGTH,
            words=True,
            suggests=suggest_values,
        ),
    )


CHANNEL_OPTIONS = _setting_options("channel")
WORKSPACE_OPTIONS = _setting_options("workspace")
ACCESS_OPTIONS = (
    Option(
        name="subject",
        summary="a person, role, group or channel, or a kind such as guests; all if you don't say",
        suggests=suggest_subjects,
    ),
    Option(
        name="rule",
        summary="what holds for it from now on",
        kind=OptionKind.CHOICE,
        choices=(ALLOW, DENY, OPERATOR, DEFAULT),
    ),
)
LIMITS_OPTIONS = (
    Option(name="limit", summary="which one, all if you don't say", kind=OptionKind.CHOICE, choices=tuple(LIMIT_NAMES)),
    Option(name="amount", summary=f"how much, `off`, or `{DEFAULT}`", suggests=suggest_amounts),
    Option(name="whom", summary="a person or a channel, if it is for one alone", suggests=suggest_payers),
)
PAUSE_OPTIONS = (
    Option(
        name="where",
        summary="this channel if you don't say",
        kind=OptionKind.CHOICE,
        choices=(HERE, WORKSPACE, EVERYTHING),
        default=HERE,
    ),
)


async def channel(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show or choose what holds in the channel where this is typed."""
    if call.place is Place.DIRECT:
        return words.NO_CHANNEL_SETTINGS
    return await _settings(parts, call, given, call.address.channel)


async def workspace(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show or choose what holds in the workspace wherever a channel chose nothing."""
    return await _settings(parts, call, given, "")


async def _settings(parts: Parts, call: CommandCall, given: Given, at: str) -> str:
    where = call.address
    if "value" in given:
        name = given["setting"]
        setting = Setting(
            platform=where.platform,
            workspace=where.workspace,
            channel=at,
            name=name,
            value=_as_offered(given["value"], parts.rules.choices(name), free=name == "persona"),
        )
        await parts.rules.set(setting, author_id=call.author_id, action=call.name, at=call.at)
    else:
        await parts.note(call, target=given.get("setting", ""))
    rules = parts.rules.of(where.platform, where.workspace, at)
    origins = parts.rules.origins(where.platform, where.workspace, at)
    if "setting" in given:
        name = given["setting"]
        return f"{name}: {value_of(rules, name) or '-'} ({origins[name].value})"
    rows = [
        (name, excerpt(value_of(rules, name), 60) or "-", origins[name].value, _choices(parts, name)) for name in SETTINGS
    ]
    return columns(("setting", "value", "from", "choices"), rows)


def _choices(parts: Parts, name: str) -> str:
    choices = ", ".join(parts.rules.choices(name))
    match name:
        case "persona":
            return f"a text, {choices}"
        case "ttl":
            return f"such as 12h or 30d, {choices}"
    return choices


def _as_offered(value: str, choices: Collection[str], *, free: bool) -> str:
    """Return what was typed in the letters of the choice that it is; a free text is what it is."""
    offered = {choice.lower(): choice for choice in choices}
    return offered.get(value.lower(), value if free else value.lower())


async def access(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show or choose who may speak, where, and who operates."""
    where = call.address
    if "subject" not in given:
        await parts.note(call)
        return _access_table(parts, call)
    subject = subject_of(given["subject"])
    if subject is None:
        return say.NO_SUCH_SUBJECT
    if "rule" not in given:
        await parts.note(call, target=str(subject))
        return _access_table(parts, call, only=subject)
    rule = given["rule"]
    if rule == OPERATOR:
        if subject.kind is not SubjectKind.GROUP:
            return say.ONLY_GROUPS_OPERATE
        return await _appoint(parts, call, subject, ON)
    if rule == DEFAULT and subject.kind is SubjectKind.GROUP and _operates(parts, call, subject):
        return await _appoint(parts, call, subject, DEFAULT)
    before = await parts.rules.set(
        Setting(
            platform=where.platform,
            workspace=where.workspace,
            channel=subject.id if subject.kind is SubjectKind.CHANNEL else "",
            subject="" if subject.kind is SubjectKind.CHANNEL else str(subject),
            name=ACCESS,
            value=rule,
        ),
        author_id=call.author_id,
        action=call.name,
        at=call.at,
    )
    return say.changed(f"access of {subject}", before, "" if rule == DEFAULT else rule)


async def _appoint(parts: Parts, call: CommandCall, subject: Subject, value: str) -> str:
    """Say whether a group operates; what else holds for the group stays as it is."""
    if refusal := await parts.authority.authorise_appointing(call.caller, call.name, target=str(subject)):
        return refusal
    where = call.address
    before = await parts.rules.set(
        Setting(platform=where.platform, workspace=where.workspace, subject=str(subject), name=OPERATOR, value=value),
        author_id=call.author_id,
        action=call.name,
        at=call.at,
    )
    return say.changed(f"operator: {subject}", before, "" if value == DEFAULT else value)


def _operates(parts: Parts, call: CommandCall, subject: Subject) -> bool:
    return subject.id in parts.rules.operating_groups(call.address.platform, call.address.workspace)


def _access_table(parts: Parts, call: CommandCall, *, only: Subject | None = None) -> str:
    where = call.address
    rules = parts.rules.access(where.platform, where.workspace)
    chosen = [rule for rule in parts.rules.choices_in(where.platform, where.workspace) if rule.name in (ACCESS, OPERATOR)]
    kinds = {
        "guests": rules.guests,
        "external": rules.external,
        "people": rules.people,
        "direct": rules.direct,
        "channels": rules.everywhere,
    }
    named = {rule.subject for rule in chosen}
    rows = [
        (kind, ALLOW if allowed else DENY, (Origin.WORKSPACE if kind in named else Origin.DEFAULT).value)
        for kind, allowed in kinds.items()
    ]
    rows += [
        (_subject(rule), OPERATOR if rule.name == OPERATOR else rule.value, Origin.WORKSPACE.value)
        for rule in chosen
        if rule.subject not in kinds
    ]
    if only is not None:
        rows = [row for row in rows if row[0] == str(only)]
        if not rows:
            return say.NOTHING_SET
    more = f"\nand {len(rows) - RULES_SHOWN:,} more" if len(rows) > RULES_SHOWN else ""
    return columns(("subject", "rule", "from"), rows[:RULES_SHOWN]) + more


def _subject(rule: Setting) -> str:
    return f"{CHANNEL}{rule.channel}" if rule.channel else rule.subject


async def limits(parts: Parts, call: CommandCall, given: Given) -> str:
    """Show or choose what people, channels and the workspace may spend."""
    where, name = call.address, given.get("limit", "")
    if "amount" not in given:
        await parts.note(call, target=name)
        rows = parts.rules.limit_table(where.platform, where.workspace)
        shown = [(row.name, row.amount or "-", row.subject, row.origin.value) for row in rows if name in ("", row.name)]
        return columns(("limit", "amount", "for", "from"), shown[:RULES_SHOWN])
    subject = ""
    if "whom" in given:
        found = subject_of(given["whom"])
        if found is None:
            return say.NO_SUCH_SUBJECT
        if found.kind not in (SubjectKind.USER, SubjectKind.CHANNEL):
            return say.NOT_FOR_THIS_LIMIT
        subject = str(found)
    of_all = name in LIMITS and LIMITS[name][0] is Payer.ALL
    if of_all and (refusal := await parts.authority.authorise(call.caller, call.name, Rank.HOST, target=name)):
        return refusal
    amount = given["amount"].lower()
    before = await parts.rules.set(
        Setting(
            platform="" if of_all else where.platform,
            workspace="" if of_all else where.workspace,
            subject=subject,
            name=name if name == WORKSPACE_RUNNING else LIMIT + name,
            value=amount,
        ),
        author_id=call.author_id,
        action=call.name,
        at=call.at,
    )
    changed = say.changed(f"{name}{f' for {subject}' if subject else ''}", before, "" if amount == DEFAULT else amount)
    in_money = name in LIMITS and LIMITS[name][1] is Unit.MONEY and amount not in (OFF, DEFAULT)
    return f"{changed}\n{say.unpriced(parts.unpriced)}" if in_money and parts.unpriced else changed


async def pause(parts: Parts, call: CommandCall, given: Given) -> str:
    """Answer nothing more in a channel, the workspace, or anywhere; what is said meanwhile is kept."""
    before, refusal = await _set_pause(parts, call, given["where"], ON)
    return refusal or (say.PAUSED_ALREADY if before == ON else say.paused(_named(given["where"])))


async def resume(parts: Parts, call: CommandCall, given: Given) -> str:
    """Take a pause back; what was said meanwhile is answered."""
    before, refusal = await _set_pause(parts, call, given["where"], DEFAULT)
    if refusal or not before:
        return refusal or say.NOT_PAUSED
    where = call.address
    still = parts.rules.paused(where.platform, where.workspace, where.channel)
    return say.resumed(_named(given["where"]), still=still)


async def _set_pause(parts: Parts, call: CommandCall, chosen: str, value: str) -> tuple[str, str]:
    """Set or take back a pause; return the value before, and the sentence for somebody who may not."""
    where = call.address
    match chosen:
        case "everything":
            if refusal := await parts.authority.authorise(call.caller, call.name, Rank.HOST, target=chosen):
                return "", refusal
            spot = Setting(name=PAUSED, value=value)
        case "workspace":
            spot = Setting(platform=where.platform, workspace=where.workspace, name=PAUSED, value=value)
        case _:
            if call.place is Place.DIRECT:
                return "", words.NO_CHANNEL_SETTINGS
            spot = Setting(
                platform=where.platform, workspace=where.workspace, channel=where.channel, name=PAUSED, value=value
            )
    return await parts.rules.set(spot, author_id=call.author_id, action=call.name, at=call.at), ""


def _named(where: str) -> str:
    return where if where == EVERYTHING else f"this {where}"
