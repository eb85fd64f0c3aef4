"""Parley's settings: one value, read once and by the command line only, from the environment and a `.env` file.

`load_settings` reports every problem at once and never a value: `tests/test_config.py` rejects a secret in every place and
looks for it in all that is raised. The forms of single settings stand in `config_forms.py`, what must agree between
several of them in `config_checks.py`, what governs in `config_governing.py`, the file itself in `config_file.py`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot import config_forms as forms
from bot import config_governing as governing
from bot.config_checks import Problem, check_together, infer_provider
from bot.config_file import read_env_file
from bot.config_forms import LogFormat, LogLevel, Operator, Provider
from bot.config_governing import LimitSetting, ModelPrice
from bot.durations import format_duration

__all__ = [
    "DEFAULT_PERSONA",
    "LimitSetting",
    "LogFormat",
    "LogLevel",
    "ModelPrice",
    "Operator",
    "Problem",
    "Provider",
    "SettingDescription",
    "Settings",
    "SettingsError",
    "describe_settings",
    "load_settings",
    "revealed",
]

DEFAULT_PERSONA = (
    "You are Parley, a friendly assistant in a chat. Answer in the language you are asked in, to the point and in plain "
    "words; use lists and code blocks where they help. Say so when you do not know something."
)
HISTORY_TOKENS = 8000
LOCAL_HISTORY_TOKENS = 1500
"""A small model on two cores reads 100 to 150 tokens a second: this many cost a good 10 s when none is in its cache."""

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_CENTURY = 36500 * _DAY
_HTTP = ("https", "http")


def local_is_installed() -> bool:
    """Tell whether the embedded model's server is installed, without importing it: that costs a second and 100 MB."""
    return find_spec("xllamacpp") is not None


def _default_history_tokens(known: dict[str, Any]) -> int:
    named, base_url, key = (known.get(name) for name in ("llm_provider", "llm_base_url", "llm_api_key"))
    provider = infer_provider(named, base_url, key, local_is_installed())
    return LOCAL_HISTORY_TOKENS if provider == "local" else HISTORY_TOKENS


def _default_prompt(known: dict[str, Any]) -> str:
    path: Path | None = known.get("system_prompt_file")
    return DEFAULT_PERSONA if path is None else forms.read_prompt(path)


_DISCORD_TOKEN = forms.secret("a bot token", fix="copy it from your application's page 'Bot' on discord.com/developers")
_SLACK_BOT_TOKEN = forms.secret("a token that begins with xoxb-", prefix="xoxb-", fix="copy the 'Bot User OAuth Token'")
_SLACK_APP_TOKEN = forms.secret("a token that begins with xapp-", prefix="xapp-", fix="copy the 'App-Level Token'")
_SLACK_SECRET = forms.secret("a secret of letters and digits", fix="copy it from your app's page 'Basic Information'")
_LLM_API_KEY = forms.secret("an API key", fix="copy it from your provider's page")
_HTTP_TOKEN = forms.secret("a secret without blanks", fix="make one with: openssl rand -hex 24")


class Settings(BaseSettings):
    """Every setting, checked one by one; `load_settings` also checks what they say together and is the way to get one."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    discord_token: Annotated[SecretStr | None, _DISCORD_TOKEN] = Field(None, description="bot token; sets Discord on")
    discord_message_content: Annotated[bool, BeforeValidator(forms.check_switch)] = Field(
        True,
        description="`off` runs without the privileged message-content intent: mentions, direct messages, replies and "
        "commands only",
    )
    discord_api_base_url: Annotated[
        str,
        forms.url("https://discord.com/api/v10 or an address that ends in /api/v10", schemes=_HTTP, path="/api/v10"),
    ] = Field("https://discord.com/api/v10", description="Discord's REST address, up to and including `/api/v10`")
    discord_gateway_url: Annotated[str, forms.url("a wss:// address", schemes=("wss", "ws"))] = Field(
        "wss://gateway.discord.gg", description="Discord's gateway address"
    )

    slack_bot_token: Annotated[SecretStr | None, _SLACK_BOT_TOKEN] = Field(
        None, description="bot token (`xoxb-`); with one of the next two it sets Slack on"
    )
    slack_app_token: Annotated[SecretStr | None, _SLACK_APP_TOKEN] = Field(
        None, description="app-level token (`xapp-`) for Socket Mode"
    )
    slack_signing_secret: Annotated[SecretStr | None, _SLACK_SECRET] = Field(
        None, description="signing secret; without an app token it means HTTP mode at `/slack/events`"
    )
    slack_client_id: Annotated[str | None, forms.line("a client id such as 123.456")] = Field(
        None, description="client id, to be installed in several workspaces by OAuth"
    )
    slack_client_secret: Annotated[SecretStr | None, _SLACK_SECRET] = Field(
        None, description="client secret, to be installed in several workspaces by OAuth"
    )
    slack_api_base_url: Annotated[
        str, forms.url("https://slack.com/api/ or an address that ends in /api/", schemes=_HTTP, path="/api/")
    ] = Field("https://slack.com/api/", description="Slack's Web API address, ending in `/api/`")

    llm_provider: Annotated[Provider | None, forms.choice("openai", "anthropic", "local", "echo")] = Field(
        None, description="`openai` (and all that speak its API), `anthropic`, `local` or `echo`; unset: by what is there"
    )
    llm_base_url: Annotated[
        str | None, forms.url("an address such as http://127.0.0.1:11434/v1", schemes=_HTTP, plain_anywhere=True)
    ] = Field(None, description="the model server's address; unset: the provider's own")
    llm_api_key: Annotated[SecretStr | None, _LLM_API_KEY] = Field(None, description="the provider's API key")
    llm_model: Annotated[str | None, forms.line("a model's name")] = Field(
        None, description="the first model; needed with `openai` and `anthropic`"
    )
    llm_fallbacks: Annotated[tuple[str, ...], BeforeValidator(forms.check_models)] = Field(
        (), description="further models of the same provider, in order, with commas between them"
    )
    llm_local_model: Annotated[Path | None, BeforeValidator(forms.check_model_file)] = Field(
        None, description="a GGUF file for `local`; unset: a small model that is fetched once"
    )
    llm_max_tokens: Annotated[int | None, forms.integer(1, 1_000_000)] = Field(
        None, description="the longest answer in tokens; unset: the model's own limit"
    )
    llm_temperature: Annotated[float | None, forms.decimal(0, 2)] = Field(
        None, description="how freely the model chooses its words, 0 to 2; unset: the provider's own"
    )
    llm_images: Annotated[bool | None, BeforeValidator(forms.check_switch)] = Field(
        None,
        description="`on` or `off`: whether the model is shown images; unset: `on` with `anthropic` and at OpenAI's own "
        "address; `local` and `echo` never are",
    )
    system_prompt_file: Annotated[Path | None, BeforeValidator(forms.check_prompt_file)] = Field(
        None, description="a text file that holds the default persona, instead of `SYSTEM_PROMPT`"
    )
    system_prompt: Annotated[str, BeforeValidator(forms.check_prompt)] = Field(
        default_factory=_default_prompt, description="the default persona; unset: a friendly assistant"
    )

    history_messages: Annotated[int, forms.integer(1, 1000)] = Field(20, description="messages that the model is shown")
    history_tokens: Annotated[int, forms.integer(100, 2_000_000)] = Field(
        default_factory=_default_history_tokens,
        description="tokens that those messages may take; with the `local` provider 1500",
        json_schema_extra={"default": str(HISTORY_TOKENS)},
    )
    message_characters: Annotated[int, forms.integer(1, 1_000_000)] = Field(
        16000, description="the longest message that is accepted; a longer one is refused and told the limit"
    )

    database_url: Annotated[SecretStr, BeforeValidator(forms.check_database_url)] = Field(
        SecretStr("sqlite:///parley.db"), description="`sqlite:///file`, `sqlite:///:memory:` or `postgresql://...`"
    )
    conversation_ttl: Annotated[timedelta | None, forms.duration(_SECOND, _CENTURY, off=True)] = Field(
        30 * _DAY, description="how long an idle conversation is kept, such as `90s 30m 12h 30d`; `off` keeps for ever"
    )
    purge_after: Annotated[timedelta, forms.duration(_SECOND, _CENTURY)] = Field(
        timedelta(hours=24),
        description="how long an expired conversation can still be restored",
        json_schema_extra={"default": "24h"},
    )
    sweep_interval: Annotated[timedelta, forms.duration(_SECOND, _DAY)] = Field(
        5 * _MINUTE, description="how often expired conversations are looked for"
    )

    encryption_key: Annotated[SecretStr | None, BeforeValidator(governing.check_keys)] = Field(
        None,
        description="encrypts what people say in the store and its backups: 64 hexadecimal digits, from `openssl rand -hex "
        "32`; to change it, put the new one before the old one with a comma between them. Without it nothing can be read",
    )

    operators: Annotated[tuple[Operator, ...], BeforeValidator(forms.check_operators)] = Field(
        (),
        description="the hosts, who run the installation: `discord:<user id>`, `slack:<team id>/<user id>`, with commas "
        "between them; empty: nobody is one",
    )
    owners_operate: Annotated[bool, BeforeValidator(forms.check_switch)] = Field(
        True, description="`on`: who owns a Discord server or a Slack workspace may operate Parley there, and only there"
    )
    admit: Annotated[tuple[str, ...], BeforeValidator(governing.check_admitted)] = Field(
        (),
        description="who may speak beside members: `guests`, `external` (Slack Connect), with a comma between them; empty: "
        "neither",
    )
    direct_messages: Annotated[bool, BeforeValidator(forms.check_switch)] = Field(
        True, description="`off`: direct messages are not answered"
    )
    limits: Annotated[tuple[LimitSetting, ...], BeforeValidator(governing.check_limits)] = Field(
        (),
        description="limits where operators chose no others: `user-turns=10,user-tokens=50000,workspace-money=5.00`, with "
        "turns a minute, tokens and money a day",
    )
    llm_prices: Annotated[tuple[ModelPrice, ...], BeforeValidator(governing.check_prices)] = Field(
        (),
        description="what models cost per million tokens, prompt and answer: `gpt-4o=2.50/10,gpt-4o-mini=0.15/0.60`",
    )
    audit_ttl: Annotated[timedelta, forms.duration(_DAY, _CENTURY)] = Field(
        365 * _DAY, description="how long the audit log is kept"
    )

    http_host: Annotated[str, BeforeValidator(forms.check_host)] = Field(
        "127.0.0.1", description="where the web side listens; anything but this machine needs `HTTP_TOKEN`"
    )
    http_port: Annotated[int, forms.integer(0, 65535)] = Field(8080, description="the web side's port; 0 takes any free one")
    http_token: Annotated[SecretStr | None, _HTTP_TOKEN] = Field(
        None,
        description="the secret that guards `/metrics`; without it they are shown only under this machine's own name",
    )
    http_names: Annotated[tuple[str, ...], BeforeValidator(forms.check_names)] = Field(
        (), description="host names that the web side is reached by through a proxy, with commas between them"
    )

    log_level: Annotated[LogLevel, forms.choice("DEBUG", "INFO", "WARNING", "ERROR", fold=str.upper)] = Field(
        "INFO", description="the least important lines to log: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[LogFormat | None, forms.choice("console", "json")] = Field(
        None, description="`console` or `json`; unset: `console` on a terminal, else `json`"
    )
    drain_seconds: Annotated[int, forms.integer(1, 3600)] = Field(
        25, description="how long running turns may go on after SIGTERM; keep it below the orchestrator's grace"
    )
    max_concurrent_turns: Annotated[int, forms.integer(1, 1000)] = Field(32, description="turns that run at once here")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments alone: `load_settings` reads environment and file, so that it can name the line of a misspelling.

        pydantic-settings' own readers replace `${...}` inside passwords and log what they can't parse.
        """
        return (init_settings,)

    @property
    def provider(self) -> Provider | None:
        """Whose model answers; None when nothing is set and no embedded model is installed."""
        return infer_provider(self.llm_provider, self.llm_base_url, self.llm_api_key, local_is_installed())

    @property
    def sees_images(self) -> bool:
        """Whether the model is shown images; the embedded one and the echo never are, whatever `LLM_IMAGES` says."""
        if self.provider not in ("openai", "anthropic"):
            return False
        if self.llm_images is not None:
            return self.llm_images
        return self.provider == "anthropic" or self.llm_base_url is None or _is_openai(self.llm_base_url)

    @property
    def slack_mode(self) -> Literal["socket", "http"] | None:
        """How Slack reaches us; None when Slack is off."""
        if self.slack_app_token is not None:
            return "socket"
        return None if self.slack_signing_secret is None else "http"

    @property
    def encryption_keys(self) -> tuple[str, ...]:
        """The keys of `ENCRYPTION_KEY`, the newest first; none when texts are not encrypted."""
        written = revealed(self.encryption_key)
        return () if written is None else tuple(governing.keys_in(written))

    @property
    def drain(self) -> timedelta:
        """`DRAIN_SECONDS` as a duration."""
        return timedelta(seconds=self.drain_seconds)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for `configure_logging` to take out of the log."""
        held = [value for _, value in self if isinstance(value, SecretStr) and value is not self.database_url]
        values = [value.get_secret_value() for value in held if value is not self.encryption_key]
        values += [spelling for key in self.encryption_keys for spelling in governing.spellings_of(key)]
        return tuple(dict.fromkeys([*values, *_passwords_of(self.database_url.get_secret_value())]))


def load_settings(env: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> Settings:
    """Read and check the settings; `env` (default: the process's environment) goes before the file, which may be missing.

    An empty value is the same as none.

    Raises:
        SettingsError: with every problem that there is, and no value.
    """
    names = {name.upper() for name in Settings.model_fields}
    written, problems = read_env_file(env_file, names)
    for name, value in (os.environ if env is None else env).items():
        if name in names and value:
            written[name] = value
    settings, form_problems = _parse(written)
    problems += form_problems + check_together(written, local_is_installed()) + governing.check_money(written)
    if settings is None or problems:
        order = {name.upper(): number for number, name in enumerate(Settings.model_fields)}
        raise SettingsError(tuple(sorted(problems, key=lambda problem: order.get(problem.setting, -1))))
    return settings


def revealed(secret: SecretStr | None) -> str | None:
    """Return a secret as it is written, for the one place that needs it; None when it is not set."""
    return None if secret is None else secret.get_secret_value()


def _parse(written: Mapping[str, str]) -> tuple[Settings | None, list[Problem]]:
    """Check every setting's form. pydantic's error is dropped here and never chained: it carries the values."""
    try:
        return Settings.model_validate({name.lower(): value for name, value in written.items()}), []
    except ValidationError as exc:
        details = exc.errors(include_url=False, include_input=False, include_context=False)
    problems = []
    for detail in details:
        if detail["type"] == "default_factory_not_called":  # an earlier setting that it depends on is reported itself
            continue
        known = detail["type"] == forms.REFUSED
        text = detail["msg"] if known else "expected another form; see .env.example"
        problems.append(Problem(setting=str(detail["loc"][0]).upper(), text=text))
    return None, problems


def _is_openai(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")  # such as eu.api.openai.com


def _passwords_of(database_url: str) -> list[str]:
    """The password of a PostgreSQL URL in both spellings, as written and as drivers show it."""
    parts = urlsplit(database_url)
    if parts.scheme == "sqlite":
        return []
    written = parts.netloc.rpartition("@")[0].partition(":")[2]
    named = [value for name, value in parse_qsl(parts.query) if name in ("password", "sslpassword")]
    return [value for value in (written, unquote(written), *named) if value]


class SettingsError(Exception):
    """The settings can't be used. `problems` are all there are; the text lists them, and holds no value."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """A setting as the documents show it. `default` is "" where there is none."""

    name: str
    meaning: str
    default: str


def describe_settings() -> tuple[SettingDescription, ...]:
    """List every setting, in the order of the documents."""
    described = []
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        default = extra.get("default", None if field.default_factory else field.default)
        described.append(SettingDescription(name=name.upper(), meaning=field.description or "", default=_written(default)))
    return tuple(described)


def _written(default: object) -> str:
    match default:
        case None | ():
            return ""
        case bool():
            return "on" if default else "off"
        case SecretStr():
            return default.get_secret_value()
        case timedelta():
            return format_duration(default)
        case _:
            return str(default)
