"""Settings: the defaults of the documents, every bad input told at once, and no rejected value told at all."""

import base64
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from bot import config, config_governing
from bot.chat.limits import LIMIT_NAMES
from bot.config import Operator, Settings, SettingsError, describe_settings, load_settings
from store.sealing import key_of

ENV_EXAMPLE = Path(__file__).parents[1] / ".env.example"
SLACK = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
KEY = "0123456789abcdef" * 4
OPENAI = {"LLM_API_KEY": "key-1", "LLM_MODEL": "m"}


def load(**env: str) -> Settings:
    return load_settings(env, None)


def problems(**env: str) -> dict[str, str]:
    return problems_of(None, env)


def problems_of(env_file: Path | None, env: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(env, env_file)
    return {problem.setting: problem.text for problem in caught.value.problems}


@pytest.fixture
def no_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "local_is_installed", lambda: False)


@pytest.fixture
def local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "local_is_installed", lambda: True)


@pytest.mark.usefixtures("no_local_model")
def test_defaults_are_those_of_the_design() -> None:
    settings = load()
    assert (settings.provider, settings.slack_mode, settings.discord_token) == (None, None, None)
    assert (settings.history_messages, settings.history_tokens, settings.message_characters) == (20, 8000, 16000)
    assert settings.database_url.get_secret_value() == "sqlite:///parley.db"
    assert settings.conversation_ttl == timedelta(days=30)
    assert (settings.purge_after, settings.sweep_interval) == (timedelta(hours=24), timedelta(minutes=5))
    assert (settings.http_host, settings.http_port, settings.http_token) == ("127.0.0.1", 8080, None)
    assert settings.http_names == ()
    assert (settings.log_level, settings.log_format) == ("INFO", None)
    assert (settings.drain, settings.max_concurrent_turns) == (timedelta(seconds=25), 32)
    assert (settings.discord_message_content, settings.llm_images, settings.sees_images) == (True, None, False)
    assert (settings.owners_operate, settings.admit, settings.direct_messages) == (True, (), True)
    assert (settings.limits, settings.llm_prices, settings.audit_ttl) == ((), (), timedelta(days=365))
    assert (settings.encryption_key, settings.encryption_keys) == (None, ())
    assert (settings.operators, settings.llm_fallbacks, settings.secrets) == ((), (), ())
    assert settings.system_prompt == config.DEFAULT_PERSONA
    assert settings.slack_api_base_url == "https://slack.com/api/"


def test_every_setting_can_be_set() -> None:
    settings = load(
        **SLACK,
        DISCORD_TOKEN="d.i.s",
        DISCORD_MESSAGE_CONTENT="off",
        DISCORD_API_BASE_URL="http://127.0.0.1:9/api/v10/",
        DISCORD_GATEWAY_URL="ws://127.0.0.1:9/gw",
        SLACK_API_BASE_URL="http://[::1]:9/api",
        LLM_PROVIDER="Anthropic",
        LLM_BASE_URL="http://localhost:9/v1/",
        LLM_MODEL="m",
        LLM_FALLBACKS="a, b,a",
        LLM_MAX_TOKENS="256",
        LLM_TEMPERATURE="0.25",
        LLM_IMAGES="off",
        CONVERSATION_TTL="off",
        PURGE_AFTER="90s",
        OPERATORS="discord:80351110224678912, slack:T012AB3C4/U0G9QF9C6",
        HTTP_PORT="0",
        HTTP_NAMES="Parley.example.com, bot.example.com,parley.example.com",
        LOG_LEVEL="debug",
        LOG_FORMAT="JSON",
        DRAIN_SECONDS="5",
    )
    assert (settings.discord_message_content, settings.llm_images, settings.sees_images) == (False, False, False)
    assert settings.discord_api_base_url == "http://127.0.0.1:9/api/v10"
    assert settings.slack_api_base_url == "http://[::1]:9/api/"
    assert (settings.provider, settings.llm_base_url, settings.llm_fallbacks) == (
        "anthropic",
        "http://localhost:9/v1",
        ("a", "b"),
    )
    assert (settings.llm_max_tokens, settings.llm_temperature) == (256, 0.25)
    assert (settings.conversation_ttl, settings.purge_after) == (None, timedelta(seconds=90))
    assert settings.operators == (
        Operator(platform="discord", workspace="", user_id="80351110224678912"),
        Operator(platform="slack", workspace="T012AB3C4", user_id="U0G9QF9C6"),
    )
    assert [str(operator) for operator in settings.operators] == ["discord:80351110224678912", "slack:T012AB3C4/U0G9QF9C6"]
    assert (settings.http_port, settings.log_level, settings.log_format) == (0, "DEBUG", "json")
    assert settings.http_names == ("parley.example.com", "bot.example.com")
    assert set(settings.secrets) == {"d.i.s", "xoxb-1", "xapp-1"}


@pytest.mark.usefixtures("local_model")
def test_provider_is_inferred_and_the_local_one_remembers_less() -> None:
    assert (load().provider, load().history_tokens) == ("local", 1500)
    assert load(HISTORY_TOKENS="4000").history_tokens == 4000
    assert (load(**OPENAI).provider, load(**OPENAI).history_tokens) == ("openai", 8000)
    assert load(LLM_BASE_URL="http://127.0.0.1:11434/v1", LLM_MODEL="m").provider == "openai"
    assert load(LLM_PROVIDER="echo").history_tokens == 8000


@pytest.mark.parametrize(
    ("env", "unset"),
    [
        (OPENAI, True),
        (OPENAI | {"LLM_BASE_URL": "https://api.openai.com/v1"}, True),
        (OPENAI | {"LLM_BASE_URL": "https://eu.api.openai.com/v1"}, True),
        (OPENAI | {"LLM_BASE_URL": "https://api.openai.com.example/v1"}, False),
        ({"LLM_BASE_URL": "http://127.0.0.1:11434/v1", "LLM_MODEL": "m"}, False),
        (OPENAI | {"LLM_PROVIDER": "anthropic"}, True),
        (OPENAI | {"LLM_PROVIDER": "anthropic", "LLM_BASE_URL": "http://localhost:9"}, True),
    ],
)
def test_images_are_shown_where_models_can_usually_see_or_as_is_said(env: dict[str, str], unset: bool) -> None:
    assert load(**env).sees_images is unset
    assert load(**env, LLM_IMAGES="on").sees_images
    assert not load(**env, LLM_IMAGES="off").sees_images


@pytest.mark.usefixtures("local_model")
def test_the_embedded_model_and_the_echo_are_never_shown_images() -> None:
    for provider in ("local", "echo"):
        assert not load(LLM_PROVIDER=provider).sees_images
        assert not load(LLM_PROVIDER=provider, LLM_IMAGES="on").sees_images


def test_switches_are_read_in_every_usual_word() -> None:
    assert all(load(DISCORD_MESSAGE_CONTENT=word).discord_message_content for word in ("on", "ON", "true", "Yes", "1"))
    assert not any(load(DISCORD_MESSAGE_CONTENT=word).discord_message_content for word in ("off", "False", "no", "0"))


def test_slack_has_two_modes_and_two_ways_to_be_installed() -> None:
    secret = {"SLACK_SIGNING_SECRET": "abc123"}
    assert load(**SLACK).slack_mode == "socket"
    assert load(SLACK_BOT_TOKEN="xoxb-1", **secret).slack_mode == "http"
    assert load(**SLACK, **secret).slack_mode == "socket"
    assert load(SLACK_CLIENT_ID="1.2", SLACK_CLIENT_SECRET="shhh", **secret).slack_mode == "http"


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({"SLACK_APP_TOKEN": "xapp-1"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_SIGNING_SECRET": "abc123"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_APP_TOKEN"),
        ({"SLACK_CLIENT_ID": "1.2", "SLACK_SIGNING_SECRET": "abc123"}, "SLACK_CLIENT_SECRET"),
        ({"SLACK_CLIENT_SECRET": "shhh", "SLACK_SIGNING_SECRET": "abc123"}, "SLACK_CLIENT_ID"),
        ({"LLM_PROVIDER": "openai", "LLM_MODEL": "m"}, "LLM_API_KEY"),
        ({"LLM_PROVIDER": "anthropic", "LLM_MODEL": "m", "LLM_BASE_URL": "https://example.com"}, "LLM_API_KEY"),
        ({"LLM_API_KEY": "key-1"}, "LLM_MODEL"),
        ({"HTTP_HOST": "192.0.2.1"}, "HTTP_TOKEN"),
        ({"HTTP_HOST": "::"}, "HTTP_TOKEN"),
    ],
)
def test_a_missing_half_is_named(env: dict[str, str], missing: str) -> None:
    assert list(problems(**env)) == [missing]


@pytest.mark.usefixtures("no_local_model")
def test_the_local_model_needs_its_server() -> None:
    assert "pip install" in problems(LLM_PROVIDER="local")["LLM_PROVIDER"]


BAD = [
    (
        "DISCORD_TOKEN",
        ["Bot abcdefgh", '"abcdefgh"', "abcd efgh", "abcdefgh\n", " abcdefgh", "abc\x1bdefgh", "xoxb-abcdefgh", "äbcdefgh"],
    ),
    (
        "SLACK_BOT_TOKEN",
        ["xoxp-abcdefgh", "xapp-abcdefgh", "xoxb-", "'xoxb-abcdefgh'", "xoxb-abcd\nefgh", "Bearer xoxb-abcdefgh"],
    ),
    ("SLACK_APP_TOKEN", ["xoxb-abcdefgh", "abcdefgh", "xapp-abcd efgh"]),
    ("SLACK_SIGNING_SECRET", ["abcd efgh", "xoxb-abcdefgh"]),
    ("SLACK_CLIENT_ID", [" 12.34", "12\n34"]),
    ("LLM_API_KEY", ["Bearer abcdefgh", "abcdefgh\r\n", "abcd\tefgh"]),
    ("HTTP_TOKEN", ["abcd efgh"]),
    ("LLM_PROVIDER", ["gemini", "open ai"]),
    ("LLM_MODEL", [" m", "m\nn", "'mmmm'"]),
    ("LLM_FALLBACKS", ["a,,b", "a b", ","]),
    ("LLM_MAX_TOKENS", ["0", "-1", "1e12", "NaN", "1.5", "٣", "1_000", "9" * 5000]),
    ("LLM_TEMPERATURE", ["-0.1", "2.1", "NaN", "inf", "1e0", "0,7"]),
    ("LLM_IMAGES", ["maybe", "on ", "2"]),
    ("DISCORD_MESSAGE_CONTENT", ["enabled", "'on'", "onoff"]),
    ("LLM_LOCAL_MODEL", ["/no/such/file.gguf", "/tmp", "/dev/null", "a\0b"]),
    ("SYSTEM_PROMPT", ["   ", "x" * 65537, "a\0b"]),
    ("SYSTEM_PROMPT_FILE", ["/no/such/file", "/tmp"]),
    ("HISTORY_MESSAGES", ["0", "-5", "1001", "1e12", "NaN", "twenty", " 20"]),
    ("HISTORY_TOKENS", ["0", "99", "2000001", "NaN"]),
    ("MESSAGE_CHARACTERS", ["0", "-1", "1e12", "1000001"]),
    (
        "DATABASE_URL",
        [
            "parley.db",
            "sqlite://parley.db",
            "sqlite:///",
            "sqlite:///dir/",
            "sqlite:///a.db?mode=ro",
            "mysql://u:hunter22@h/d",
        ],
    ),
    (
        "DATABASE_URL",
        ["postgresql+asyncpg://u:hunter22@h/d", "postgresql://", "postgresql://u:hunter22@[h/d", "postgresql://h/d\n"],
    ),
    ("CONVERSATION_TTL", ["-1", "0", "0s", "7 days", "1e12", "NaN", "7", "1.5h", "OFF!", "-1d", "1w"]),
    ("CONVERSATION_TTL", ["999999999999999d", "36501d", "99999999999d"]),
    ("PURGE_AFTER", ["off", "0s", "24"]),
    ("SWEEP_INTERVAL", ["0s", "25h", "5min"]),
    (
        "OPERATORS",
        ["me", "discord:alice", "slack:U0G9QF9C6", "discord:1,,discord:2", "slack:T1/", "discord:1;discord:2", "*"],
    ),
    ("HTTP_HOST", ["http://127.0.0.1", "127.0.0.1:80/", "a b", "*"]),
    ("HTTP_PORT", ["-1", "65536", "http", "8080.0"]),
    ("HTTP_NAMES", ["https://parley.example.com", "parley.example.com:443", "a,,b", "*", "a b", "-a"]),
    ("LOG_LEVEL", ["loud", "10"]),
    ("LOG_FORMAT", ["xml"]),
    ("DRAIN_SECONDS", ["0", "-1", "25s", "1e12"]),
    ("MAX_CONCURRENT_TURNS", ["0", "1001", "NaN"]),
    (
        "DISCORD_API_BASE_URL",
        ["https://discord.com", "discord.com/api/v10", "https://u:hunter22@discord.com/api/v10", "http://h.example/api/v10"],
    ),
    (
        "DISCORD_API_BASE_URL",
        ["https://h/api/v10?token=abcdefgh", "https://h/api/v10#", "https://h:99999/api/v10", "https:///api/v10"],
    ),
    ("DISCORD_GATEWAY_URL", ["https://gateway.discord.gg", "ws://gateway.example", "wss://", "wss://a b"]),
    ("SLACK_API_BASE_URL", ["https://slack.com", "http://slack.com/api/", "ftp://slack.com/api/"]),
    ("LLM_BASE_URL", ["localhost:11434", "http://api.example.com/v1", "http://1.2.3.4/v1"]),
    ("LLM_BASE_URL", ["https://u:hunter22@h/v1", "https://h/v1?key=abcdefgh"]),
    ("OWNERS_OPERATE", ["maybe"]),
    ("ADMIT", ["members", "guests,", "guests external", ","]),
    ("DIRECT_MESSAGES", ["never"]),
    ("LIMITS", ["user-turns", "user-turns=0", "user-turns=1.5", "user-turns=-1", "user-money=1,5", "user-money=0", "x=1"]),
    ("LIMITS", ["user-turns=1,user-turns=2", "user-money=1.1234567", "user-money=1e3", "user-money=nan", "user-turns=٣"]),
    (
        "LLM_PRICES",
        ["gpt-4o", "gpt-4o=1", "gpt-4o=1/", "=1/2", "gpt-4o=1/2,gpt-4o=1/2", "gpt-4o=-1/2", "a b=1/2", "m=1/inf"],
    ),
    ("ENCRYPTION_KEY", ["abcdefgh", "0" * 64, "ab" * 31, ",", f"{KEY},", ",".join([KEY] * 5), f"{KEY} {KEY}"]),
    ("AUDIT_TTL", ["off", "1h", "12"]),
]


PART_OF_A_FORM = {
    "parley.db",
    "sqlite:///",
    "postgresql://",
    "https://discord.com",
    "discord.com/api/v10",
    "https://slack.com",
    "user-turns",
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD for value in values])
def test_a_bad_value_is_refused_by_name_and_never_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value}, None)
    said = {problem.setting: problem.text for problem in caught.value.problems}
    assert said[name].startswith("expected ")
    assert "; " in said[name]  # the fix
    shown = "\n".join([str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))])
    if value not in PART_OF_A_FORM and len(value.strip()) > 7:
        assert value.strip() not in shown
    for secret in ("hunter22", "abcdefgh", "efgh"):
        assert secret not in shown
    # Nothing that holds the value hangs on the error, for a debugger or a crash report to print.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_all_problems_are_told_at_once_in_the_order_of_the_documents() -> None:
    said = problems(
        HTTP_HOST="192.0.2.1",
        DISCORD_TOKEN="Bot abcdefgh",
        SLACK_APP_TOKEN="xapp-1",
        CONVERSATION_TTL="7 days",
        LLM_PROVIDER="gemini",
        SYSTEM_PROMPT="a",
        SYSTEM_PROMPT_FILE="/no/such/file",
    )
    assert list(said) == [
        "DISCORD_TOKEN",
        "SLACK_BOT_TOKEN",
        "LLM_PROVIDER",
        "SYSTEM_PROMPT_FILE",
        "SYSTEM_PROMPT",
        "CONVERSATION_TTL",
        "HTTP_TOKEN",
    ]
    for provider in ("openai", "anthropic", "local", "echo"):
        assert provider in said["LLM_PROVIDER"]
    assert "1s to 36500d or off" in said["CONVERSATION_TTL"]


def test_plain_http_is_for_this_machine_and_without_a_key_for_ones_own_network() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert load(LLM_BASE_URL=f"http://{host}:1/v1", **OPENAI).provider == "openai"
    for host in ("ollama", "192.168.1.5", "box.lan"):
        assert load(LLM_BASE_URL=f"http://{host}:1/v1", LLM_MODEL="m").provider == "openai"
        assert list(problems(LLM_BASE_URL=f"http://{host}:1/v1", **OPENAI)) == ["LLM_BASE_URL"]


def test_database_passwords_are_secrets_in_both_spellings() -> None:
    settings = load(DATABASE_URL="postgresql://bot:p%40ss%20word@db/parley?sslmode=require&password=other")
    assert set(settings.secrets) == {"p%40ss%20word", "p@ss word", "other"}
    assert "p%40ss" not in repr(settings)
    assert load(DATABASE_URL="postgresql:///parley?host=/run/postgresql").secrets == ()


def test_secrets_are_not_in_the_settings_text() -> None:
    settings = load(**SLACK, **OPENAI, DISCORD_TOKEN="d.i.scord")
    for secret in settings.secrets:
        assert secret not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_persona_comes_from_a_file(tmp_path: Path) -> None:
    persona = tmp_path / "persona.txt"
    persona.write_bytes("\ufeffYou are a  pirate – ahoy.\n".encode())
    assert load(SYSTEM_PROMPT_FILE=str(persona)).system_prompt == "You are a  pirate – ahoy."
    for raw in (b"\xff\xfe", b"", b" \n", b"a\0b", b"x" * 65537, "ä".encode() * 40000):
        persona.write_bytes(raw)
        assert list(problems(SYSTEM_PROMPT_FILE=str(persona))) == ["SYSTEM_PROMPT_FILE"]


def test_weights_are_a_gguf_file(tmp_path: Path) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"GGUF\x03\x00")
    assert load(LLM_LOCAL_MODEL=str(weights)).llm_local_model == weights


def test_the_environment_goes_before_the_file_and_empty_is_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        '\ufeff# a comment\nexport HISTORY_MESSAGES=5\nHTTP_PORT=1\nDRAIN_SECONDS=7\nSYSTEM_PROMPT="Say ${HOME}\\nand $x"\n'
        "HTTP_TOKEN=\nFOREIGN=1\nHTTP_PROXY=http://proxy\nPOSTGRES_PASSWORD=x\n"
    )
    settings = load_settings({"HTTP_PORT": "2", "DRAIN_SECONDS": "", "history_messages": "9", "LOG_LEVLE": "x"}, file)
    assert (settings.history_messages, settings.http_port, settings.drain_seconds, settings.http_token) == (5, 2, 7, None)
    assert settings.system_prompt == "Say ${HOME}\nand $x"
    assert load_settings({}, tmp_path / "missing").http_port == 8080


def test_misspelt_settings_and_broken_lines_of_the_file_are_told_by_number(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        'DISCORD_TOKNE=abcdefgh\n\n# x\nlog_level=DEBUG\nLLM_API_KEY="abcd\nSLACK_BOT_TOKEN\nxoxb-efgh\nSWEEP_INTERVALS=5m\n'
    )
    said = problems_of(file, {})
    assert "DISCORD_TOKEN" in said[".env line 1"]
    assert "LOG_LEVEL" in said[".env line 4"]
    assert "NAME=value" in said[".env line 5"]
    assert "NAME=value" in said[".env line 6"]
    assert "NAME=value" in said[".env line 7"]
    assert "SWEEP_INTERVAL" in said[".env line 8"]
    assert not any(part in str(said) for part in ("abcd", "efgh", "xoxb"))


@pytest.mark.parametrize("raw", [b"DISCORD_TOKEN=\xff\xfeabcdefgh", b"#" * (1024 * 1024 + 1)])
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / ".env").write_bytes(raw)
    assert list(problems_of(tmp_path / ".env", {})) == [".env"]


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    assert list(problems_of(tmp_path, {})) == [tmp_path.name]


@pytest.mark.usefixtures("no_local_model")
def test_the_example_file_is_valid_and_says_the_defaults(tmp_path: Path) -> None:
    assert load_settings({}, ENV_EXAMPLE) == load()
    set_all = tmp_path / ".env"
    lines = ENV_EXAMPLE.read_text().splitlines()
    set_all.write_text("\n".join(line.removeprefix("#") for line in lines if line.startswith("#") and line[1:2].isupper()))
    assert load_settings({}, set_all) == load()


def test_every_setting_is_described() -> None:
    for setting in describe_settings():
        assert setting.meaning, setting.name
        assert "\n" not in setting.meaning


@bounds(deadline=None)  # the machine may be busy
@given(
    st.sampled_from([setting.name for setting in describe_settings()]),
    st.text("abcdef0123456789!é\n\" '", min_size=16, max_size=40),
)
def test_no_rejected_text_is_ever_repeated(name: str, text: str) -> None:
    said = ""
    try:
        load_settings({name: text}, None)
    except SettingsError as exc:
        said = str(exc) + repr(exc)
    assert text not in said
    assert text.strip() not in said


def test_limits_and_prices_are_read_as_they_are_written() -> None:
    settings = load(
        **OPENAI | {"LLM_MODEL": "openai/gpt=4o"},
        LIMITS="user-turns=10, workspace-money=5.00",
        LLM_PRICES="openai/gpt=4o=2.50/10,gpt-4o-mini=0.15/0.60",
    )
    assert [str(limit) for limit in settings.limits] == ["user-turns=10", "workspace-money=5.00"]
    assert [str(price) for price in settings.llm_prices] == ["openai/gpt=4o=2.50/10", "gpt-4o-mini=0.15/0.60"]


def test_a_limit_in_money_needs_a_price_of_every_model() -> None:
    money = OPENAI | {"LIMITS": "user-money=1", "LLM_FALLBACKS": "n"}
    assert problems(**money, LLM_PRICES="m=1/2").keys() == {"LLM_PRICES"}
    assert load(**money, LLM_PRICES="m=1/2,n=0/0").limits
    assert load(**OPENAI | {"LIMITS": "user-tokens=1"}).llm_prices == ()


def test_the_limits_of_the_settings_are_those_of_the_chat() -> None:
    assert set(config_governing.COUNTED_LIMITS + config_governing.MONEY_LIMITS) == set(LIMIT_NAMES)


@given(key=st.binary(min_size=32, max_size=32).filter(lambda key: len(set(key)) > 16))
def test_whatever_form_of_a_key_is_taken_can_be_read(key: bytes) -> None:
    padded = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    for written in (key.hex(), key.hex().upper(), *padded, *(form.rstrip("=") for form in padded)):
        assert [key_of(each) for each in load(ENCRYPTION_KEY=written).encryption_keys] == [key]


def test_every_key_of_the_encryption_is_a_secret_by_itself() -> None:
    old = KEY[::-1]
    settings = load(ENCRYPTION_KEY=f"{KEY}, {old}")
    assert settings.encryption_keys == (KEY, old)
    assert {KEY, old} <= set(settings.secrets)
    assert all(base64.b64encode(bytes.fromhex(key)).decode().rstrip("=") in settings.secrets for key in (KEY, old))
    assert KEY not in repr(settings) + settings.model_dump_json()
