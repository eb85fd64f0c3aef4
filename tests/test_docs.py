"""The documents say what the code says: settings, commands and rights, limits, what is stored, events, metrics, files."""

import importlib
import re
from datetime import timedelta
from pathlib import Path

import pytest

from bot import config_governing, exits
from bot.adapters.discord import catch_up, client, connection, examination, inbox, mentions_search, permissions
from bot.adapters.discord import surface as discord_surface
from bot.adapters.slack import gaps, oauth, socket, streams
from bot.adapters.slack import surface as slack_surface
from bot.chat import (
    attachments,
    authority,
    commands,
    commands_conversations,
    commands_operators,
    commands_paging,
    commands_privacy,
    composing,
    export,
    intake,
    limits,
    personas,
    policy,
    prompt_files,
    reading,
    rules,
    run,
    settings_table,
    spending,
    sweeper,
    time_of_day,
)
from bot.chat.authority import Rank
from bot.chat.command_table import TABLE
from bot.chat.rules import DEFAULT, choices_of
from bot.chat.rules import SETTINGS as CHANNEL_SETTINGS
from bot.chat.settings_table import KINDS
from bot.config import SettingDescription, describe_settings
from bot.llm import anthropic, breaker, local
from bot.telemetry_metrics import RULES
from store import (
    NEARLY,
    USAGE_DAYS,
    ConversationState,
    postgres_examination,
    postgres_pool,
    postgres_scrubbing,
    postgres_setup,
)
from store.keeping import TURNS_SHOWN
from store.migrate import HEAD
from store.schema import metadata, passing
from store.sqlite_file import READ_WHOLE
from store.sqlite_scrubbing import SCRUB_AFTER
from store.tombstones import KEPT
from store.values import TURN_MESSAGES
from tests.e2e.bots import SHARE

ROOT = Path(__file__).parents[1]
SETTINGS = describe_settings()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
OPERATING, README, RELIABILITY = "docs/operating.md", "README.md", "docs/reliability.md"


LONGEST_ANSWER = (
    f"(`LLM_MAX_TOKENS`, else {anthropic.DEFAULT_MAX_TOKENS:,} tokens with `anthropic`, "
    f"{local.LOCAL_MAX_TOKENS} with `local` and {spending.ANSWER_TOKENS:,} with others)"
)
WORDS = {
    timedelta(seconds=1): "a second",
    timedelta(minutes=1): "a minute",
    timedelta(minutes=5): "five minutes",
    timedelta(minutes=10): "ten minutes",
    timedelta(hours=1): "an hour",
    timedelta(hours=6): "six hours",
    timedelta(days=7): "a week",
}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 10: "ten", 100: "a hundred"}


def seconds(duration: timedelta) -> str:
    """Write a duration as the documents do."""
    return f"{duration.total_seconds():g} s"


LIMITS = [
    (README, f"up to {WORDS[catch_up.OLDEST]} and {catch_up.MESSAGES} messages a channel"),
    (README, f"show what was said last: {commands.HISTORY_DEFAULT} messages"),
    (README, f"at most {commands.HISTORY_MOST} |"),
    (README, f"{NUMBERS[policy.BOT_TURNS]} times in a row"),
    (OPERATING, f"each text channel of the first {examination.SERVERS} servers"),
    (OPERATING, f"a growing pause of at most {WORDS[connection.LONGEST_PAUSE]}"),
    (OPERATING, f"the last {NUMBERS[client.IDENTIFIES_KEPT]} of the day are left for a start by hand"),
    (OPERATING, f"asks again after {WORDS[connection.LONGEST_REST]} at most"),
    (
        OPERATING,
        f"at most {WORDS[catch_up.OLDEST]} back, {catch_up.MESSAGES} messages a channel, "
        f"{catch_up.PLACES:,} places a server",
    ),
    (OPERATING, f"at most {WORDS[gaps.OLDEST]} back, {gaps.MESSAGES} messages of a place, {gaps.PLACES} places a workspace"),
    (OPERATING, f"more mentions than are read ({mentions_search.PAGE * mentions_search.PAGES:,} of a kind)"),
    (OPERATING, f"more than {inbox.PER_CHANNEL} messages of a channel, or {inbox.IN_ALL:,} in all"),
    (RELIABILITY, f"{inbox.PER_CHANNEL} of a channel and {inbox.IN_ALL:,} in all"),
    (OPERATING, f"one budget for each channel, {seconds(discord_surface.LIMITS.pace)} apart"),
    (OPERATING, f"{discord_surface.LIMITS.parts} messages of {discord_surface.LONGEST_MESSAGE:,} characters"),
    (OPERATING, f"{slack_surface.LIMITS.parts} messages of {slack_surface.LIMITS.part:,} characters"),
    (OPERATING, f"within {WORDS[oauth.STATE_LIFE]}"),
    (OPERATING, f"a new socket after {seconds(socket.SILENCE)}"),
    (OPERATING, f"growing pauses of at most {WORDS[socket.LONGEST_PAUSE]}"),
    (OPERATING, f"After {seconds(socket.SHORT_GAP)} or more without one"),
    (OPERATING, f"lets them read {gaps.SLOW_MESSAGES} messages {WORDS[gaps.SLOW_PACE]}"),
    (
        OPERATING,
        f"edits {seconds(slack_surface.UPDATES)} apart, appends to streams {seconds(streams.APPENDS)} apart, "
        f"{streams.STARTS} new streams a minute; posts one {WORDS[slack_surface.POSTS]} for each channel",
    ),
    (OPERATING, f"| files read of one message | {composing.FILES} |"),
    (OPERATING, f"its first {attachments.TEXT_BYTES >> 10} KiB"),
    (OPERATING, f"| a picture | {attachments.PICTURE_BYTES >> 20} MiB;"),
    (OPERATING, f"the newest {prompt_files.PICTURES} of what the model is shown"),
    (OPERATING, f"| reading one file | {seconds(reading.DEADLINE)} |"),
    (OPERATING, f"ids of deliveries and messages, without content | {WORDS[sweeper.SEEN_FOR]} |"),
    (OPERATING, f"the clock was set by more than {WORDS[time_of_day.JUMP]}"),
    (OPERATING, f"so does {WORDS[time_of_day.SILENCE]} without any"),
    (OPERATING, f"Files of up to {READ_WHOLE >> 20} MiB are read from end to end"),
    (OPERATING, f"made Parley fail {NUMBERS[run.ATTEMPTS]} times"),
    (OPERATING, f"failed {NUMBERS[breaker.FAILURES_IN_A_ROW]} times in a row"),
    (RELIABILITY, f"ends its process {NUMBERS[run.ATTEMPTS]} times"),
    (RELIABILITY, f"gets {NUMBERS[run.DELIVERIES]} tries to be shown"),
    (
        RELIABILITY,
        f"the same, {200 // SHARE} kills at random moments on each in `make test`, {2000 // SHARE} in `make trials`",
    ),
    (RELIABILITY, f"a lease of {seconds(run.LEASE)}, renewed every {seconds(run.RENEWAL)}"),
    ("docs/scaling.md", f"an edit in {seconds(slack_surface.UPDATES)} and an append in {seconds(streams.APPENDS)}"),
    ("docs/scaling.md", f"at most {TURN_MESSAGES} messages each"),
    ("docs/scaling.md", f"holds its lease ({seconds(run.LEASE)}, renewed every {seconds(run.RENEWAL)})"),
    ("docs/scaling.md", f"PostgreSQL {postgres_examination.OLDEST // 10_000} or newer"),
    ("docs/scaling.md", f"{postgres_pool.CONNECTIONS} connections for each process at most"),
    ("docs/scaling.md", f"how long a call takes ({2 * postgres_pool.PATIENCE:.0f} s)"),
    ("docs/scaling.md", f"the functions of the last {NUMBERS[postgres_setup.VERSIONS]} versions stay"),
    ("docs/scaling.md", f"the files of tables up to {postgres_scrubbing.REWRITTEN >> 20} MiB"),
    ("docs/scaling.md", f"one write in {seconds(discord_surface.LIMITS.pace)}"),
    (OPERATING, f"shows what was said last, {commands.HISTORY_DEFAULT} messages or as many as you say"),
    (OPERATING, f"what Parley is to be in this conversation, at most {personas.PERSONA_LENGTH:,} characters"),
    (OPERATING, f"a text of at most {settings_table.PERSONA_LENGTH:,} characters"),
    (OPERATING, f"lists conversations, {commands_paging.PAGE} a page"),
    (OPERATING, f"what was refused, {commands_paging.PAGE} a page"),
    (OPERATING, f"over {commands_operators.USAGE_DEFAULT} days or as many as you say, at most {USAGE_DAYS};"),
    (OPERATING, f"one conversation and its last {TURNS_SHOWN} turns"),
    (OPERATING, f"A workspace has at most {rules.MOST_CHOICES:,} choices"),
    (OPERATING, f"a person's tries of one action at most once {WORDS[authority.NOTED_EVERY]}"),
    (OPERATING, f"once in {WORDS[intake.NOTICES_EVERY]} in a channel"),
    (OPERATING, f"the channel is told once in {WORDS[intake.NOTICES_EVERY]}"),
    (OPERATING, f"joins what is said meanwhile, {TURN_MESSAGES} messages a turn"),
    (OPERATING, LONGEST_ANSWER),
    (RELIABILITY, LONGEST_ANSWER),
    (OPERATING, f"| {NEARLY * 100:.0f} % are reached |"),
    (OPERATING, f"by day and person, channel, workspace, and in all | {sweeper.USED_FOR.days} days;"),
    (OPERATING, f"no text, no ids ([forgetting](#keeping-and-forgetting)) | {KEPT.days} days |"),
    (OPERATING, f"| older than {KEPT.days} days |"),
    (OPERATING, f"`ENCRYPTION_KEY=NEW,OLD` (at most {config_governing.KEYS})"),
    (
        OPERATING,
        f"zip files of at most {export.ARCHIVE >> 20} MiB, {NUMBERS[commands_privacy.FILES]} a reply; when there is more, "
        f"the reply says how to go on (`export {export.Cursor(conversation=12, message=345)}`)",
    ),
    (OPERATING, f"`{export.LISTED}` has each conversation"),
    (OPERATING, f"the usage of {USAGE_DAYS} days"),
    (RELIABILITY, f"scrubbing begins {seconds(SCRUB_AFTER)} after an erasure"),
    ("CHANGELOG.md", f"{attachments.TEXT_BYTES >> 10} KiB) and pictures ({attachments.PICTURE_BYTES >> 20} MiB)"),
    ("CHANGELOG.md", f"The store's schema is {HEAD}."),
]
"""Sentences with limits, their numbers from the code."""


def table_rows(text: str, word: str) -> list[str]:
    """Return the rows of Markdown tables whose first cell holds `word` as code."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if re.search(rf"`[^`]*(?<![\w/-]){re.escape(word)}(?![\w-])[^`]*`", row.split("|")[1])]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_env_example_shows_every_setting_with_its_meaning_and_default(setting: SettingDescription) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert lines.count(f"#{setting.name}={setting.default}") == 1
    assert lines[lines.index(f"#{setting.name}={setting.default}") - 1] == f"# {setting.meaning}"


def test_env_example_shows_no_other_setting() -> None:
    shown = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert shown == [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_readme_lists_every_setting_with_its_default(setting: SettingDescription) -> None:
    rows = table_rows((ROOT / "README.md").read_text(), setting.name)
    assert len(rows) == 1
    assert setting.default in rows[0]


def test_readme_lists_no_setting_that_is_gone() -> None:
    names = {setting.name for setting in SETTINGS}
    rows = [line.split("|")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    assert not {name for row in rows for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", row)} - names


def test_readme_lists_every_chat_command() -> None:
    table = importlib.import_module("bot.chat.commands").TABLE
    readme = (ROOT / "README.md").read_text()
    typed = [f"/{command.group.value} {command.name}" for command in table.values()]
    assert typed
    assert [command for command in typed if not table_rows(readme, command)] == []


def test_operating_lists_every_command_as_it_is_typed_and_no_other() -> None:
    listed = [cell.strip() for cell in first_cells(OPERATING, "command")]
    assert listed == [f"`{f'/{row.path} {row.usage}'.strip()}`" for row in TABLE.values()]


def test_operating_says_of_every_command_who_may_run_it() -> None:
    allowed = {}
    for row in table_under(OPERATING, "what", "anyone", "persons", "operators", "hosts", "bots"):
        for path in re.findall(r"`/([a-z ]+)`", row[0]):
            assert path not in allowed
            allowed[path] = [cell != "no" for cell in row[1:]]
    assert allowed == {path: [*(rank >= row.needs for rank in Rank), False] for path, row in TABLE.items()}


def test_operating_names_every_limit_with_its_period() -> None:
    listed = {name: row[2] for row in table_under(OPERATING, "limit", "whose") for name in re.findall("`([a-z-]+)`", row[0])}
    assert listed == {
        name: f"a {limits.LIMITS[name][2].value}" if name in limits.LIMITS else "" for name in limits.LIMIT_NAMES
    }


def test_operating_names_every_subject_of_access_and_every_filter() -> None:
    text = (ROOT / OPERATING).read_text()
    who = text[text.index("## Who may speak") : text.index("## Settings of channels")]
    assert [kind for kind in KINDS if f"/parley access {kind} " not in who and f"`{kind}" not in who] == []
    (filters,) = (says for typed, says in table_under(OPERATING, "command") if "/parley conversations" in typed)
    assert re.findall("`([a-z]+)`", filters) == [commands_conversations.ALL, *ConversationState]


def test_operating_says_of_every_table_of_the_store_how_long_it_is_kept() -> None:
    rows = table_under(OPERATING, "what", "how long", "tables")
    assert all(kept for _, kept, _ in rows)
    assert sorted(name for row in rows for name in re.findall("`([a-z]+)`", row[2])) == sorted(
        [*metadata.tables, *passing.tables]
    )


def test_operating_lists_every_setting_of_a_place() -> None:
    named = [name for row in table_under(OPERATING, "setting", "values") for name in re.findall("`([a-z]+)`", row[0])]
    assert named == list(CHANNEL_SETTINGS)


def test_readme_lists_every_shell_command() -> None:
    shell = importlib.import_module("bot.__main__")
    names = [command.name or command.callback.__name__.replace("_", "-") for command in shell.app.registered_commands]
    readme = (ROOT / "README.md").read_text()
    assert names
    assert [name for name in names if f"parley {name}" not in readme] == []


@pytest.mark.parametrize(("document", "sentence"), LIMITS, ids=[sentence for _, sentence in LIMITS])
def test_limits_are_those_of_the_code(document: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / document).read_text().split())


def first_cells(document: str, header: str) -> list[str]:
    """Return the first cells of the one table whose first column has this header."""
    cells: list[str] = []
    inside = False
    for line in (ROOT / document).read_text().splitlines():
        inside = line.startswith("|") and (inside or line.startswith(f"| {header} |"))
        if inside:
            cells.append(line.split("|")[1])
    return cells[2:]


def table_under(document: str, *header: str) -> list[list[str]]:
    """Return the cells of the one table whose columns begin with these headers."""
    rows: list[list[str]] = []
    inside = False
    for line in (ROOT / document).read_text().splitlines():
        inside = line.startswith("|") and (inside or line.startswith("| " + " | ".join(header) + " |"))
        if inside:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[2:]


def test_log_events_that_operators_look_for_exist() -> None:
    source = "".join(file.read_text() for file in (ROOT / "bot").rglob("*.py"))
    events = [name for cell in first_cells(OPERATING, "event") for name in re.findall(r"`([a-z]+\.[a-z_]+)", cell)]
    assert len(events) > 30
    assert [name for name in events if f'"{name}"' not in source] == []


def test_every_metric_is_listed_under_the_name_that_prometheus_reads() -> None:
    listed = [name for cell in first_cells(OPERATING, "metric") for name in re.findall("`(parley_[a-z_]+)`", cell)]
    counted = [rule.metric if rule.kind == "time" else f"{rule.metric}_total" for rule in RULES]
    assert sorted(listed) == sorted([*counted, "parley_events_total", "parley_log_lines_total"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"`((?:bench|bot|docs|store|tests)/[\w./-]+)`", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [link for link in linked if not (document.parent / link).exists()] == []


def test_what_is_shown_by_a_test_names_it_with_its_folder() -> None:
    assert re.findall(r"`test_[a-z_]+\.py`", (ROOT / RELIABILITY).read_text()) == []


def test_the_invite_link_asks_for_the_permissions_that_are_named_and_used() -> None:
    readme = " ".join((ROOT / README).read_text().split())
    asked = permissions.invite_url(0).partition("permissions=")[2].partition("&")[0]
    assert f"&permissions={asked}`" in readme
    assert ", ".join(permissions.NEEDED.values()) in readme
    assert ", ".join(permissions.NEEDED.values()) in (ROOT / OPERATING).read_text()


@pytest.mark.parametrize("name", CHANNEL_SETTINGS)
def test_readme_lists_every_channel_setting_with_its_choices(name: str) -> None:
    (cell,) = (cell for cell in first_cells(README, "`/parley channel ...`") if f"`{name} " in cell)
    assert set(re.findall(r"\b[a-z]+\b", cell)) - {"or"} == {name, *choices_of(name)} - {DEFAULT}
    assert f"`{DEFAULT}` in place of a value" in (ROOT / README).read_text()


def test_readme_lists_every_exit_code() -> None:
    (line,) = (line for line in (ROOT / README).read_text().splitlines() if line.startswith("Exit codes:"))
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"\b[0-9]+\b", line)} == {0, *codes}


def test_the_compose_file_sets_settings_that_exist_and_holds_no_secret() -> None:
    text = (ROOT / "compose.yaml").read_text()
    ours = text[text.index("\n  parley:") : text.index("\nvolumes:")]
    (environment,) = re.findall(r"\n    environment:\n((?:      .+\n)+)", ours)
    assert set(re.findall(r"^      ([A-Z_]+):", environment, re.MULTILINE)) <= {setting.name for setting in SETTINGS}
    assert "env_file: .env" in ours
    passwords = re.findall(r"(?:POSTGRES_PASSWORD: |//parley:)([^@\n]+)", text)
    assert [password[:19] for password in passwords] == ["${POSTGRES_PASSWORD"] * 2


def test_the_compose_file_names_images_by_tag_and_gives_no_rights() -> None:
    text = (ROOT / "compose.yaml").read_text()
    images = re.findall(r"^    image: (\S+)$", text, re.MULTILINE)
    assert len(images) == len(re.findall(r"^  \w+:\n    image:", text, re.MULTILINE)) == 2
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", image)] == []
    assert text.count("no-new-privileges:true") == 2
    assert "privileged: true" not in text
    grace = re.findall(r"stop_grace_period: (\d+)s", text)
    drain = next(setting.default for setting in SETTINGS if setting.name == "DRAIN_SECONDS")
    assert [int(seconds) > int(drain) for seconds in grace] == [True]


def test_the_compose_file_has_two_replicas_and_gives_them_nothing_that_only_one_can_have() -> None:
    text = (ROOT / "compose.yaml").read_text()
    ours = text[text.index("\n  parley:") : text.index("\nvolumes:")]
    assert re.findall(r"\n    deploy:\n      replicas: (\d+)\n", ours) == ["2"]
    assert re.findall(r"^ +(ports|container_name|network_mode|hostname):", text, re.MULTILINE) == []
    assert "sqlite" not in ours, "a file has room for one process"


def test_nothing_says_that_it_is_not_built_yet() -> None:
    texts = [*DOCUMENTS, *(ROOT / "bot").rglob("*.py"), *(ROOT / "store").rglob("*.py")]
    assert [file.name for file in texts if "not built yet" in " ".join(file.read_text().split())] == []
