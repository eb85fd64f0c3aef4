"""The form of the settings that govern: limits, prices, whom to admit, and the keys that texts are encrypted with."""

import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from bot.config_checks import Problem
from bot.config_forms import refuse

COUNTED_LIMITS = (
    "user-turns",
    "channel-turns",
    "workspace-running",
    "user-tokens",
    "channel-tokens",
    "workspace-tokens",
    "all-tokens",
)
MONEY_LIMITS = ("user-money", "channel-money", "workspace-money", "all-money")
"""The limits of `bot.chat.limits`, which may not be imported here; a test holds them together."""
ADMITTED = ("guests", "external")
KEYS = 4
"""Keys at once: the newest, and older ones until everything is encrypted anew."""

_COUNT = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_MONEY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_URL_SAFE = str.maketrans("+/", "-_")
_KEY = re.compile(r"[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSetting:
    """A limit as it is written in `LIMITS`: its name, and its amount in the form that its unit has."""

    name: str
    amount: str

    def __str__(self) -> str:
        """Write the limit as `LIMITS` does."""
        return f"{self.name}={self.amount}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a model costs per million tokens of the prompt and of the answer, in whatever currency limits are in."""

    model: str
    prompt: Decimal
    completion: Decimal

    def __str__(self) -> str:
        """Write the price as `LLM_PRICES` does."""
        return f"{self.model}={self.prompt}/{self.completion}"


def check_limits(value: Any) -> tuple[LimitSetting, ...]:
    """Limits with commas between them, each named once."""
    if not isinstance(value, str):
        return tuple(value)
    expected = "limits such as user-turns=10,user-tokens=50000,workspace-money=5.00 with commas between them"
    found: dict[str, LimitSetting] = {}
    for entry in value.split(","):
        name, _, amount = (part.strip() for part in entry.partition("="))
        if name not in (*COUNTED_LIMITS, *MONEY_LIMITS):
            refuse(expected, f"there are {', '.join((*COUNTED_LIMITS, *MONEY_LIMITS))}")
        if name in found:
            refuse(expected, "name each limit once")
        if name in COUNTED_LIMITS and not _COUNT.fullmatch(amount):
            refuse(expected, "write whole numbers from 1 on, without blanks and points; leave out what has no limit")
        if name in MONEY_LIMITS and not (_MONEY.fullmatch(amount) and Decimal(amount) > 0):
            refuse(expected, "write money with at most one point and six digits behind it, such as 2.50")
        found[name] = LimitSetting(name=name, amount=amount)
    return tuple(found.values())


def check_prices(value: Any) -> tuple[ModelPrice, ...]:
    """Prices of models with commas between them, each model named once."""
    if not isinstance(value, str):
        return tuple(value)
    expected = "prices per million tokens such as gpt-4o=2.50/10,gpt-4o-mini=0.15/0.60: of the prompt and of the answer"
    found: dict[str, ModelPrice] = {}
    for entry in value.split(","):
        model, _, price = (part.strip() for part in entry.rpartition("="))
        prompt, _, completion = price.partition("/")
        if not model or not model.isprintable() or " " in model or len(model) > 200 or model in found:
            refuse(expected, "name each model once, as LLM_MODEL or LLM_FALLBACKS does")
        if not _MONEY.fullmatch(prompt) or not _MONEY.fullmatch(completion):
            refuse(expected, "write both prices with at most one point each, and a slash between them")
        found[model] = ModelPrice(model=model, prompt=Decimal(prompt), completion=Decimal(completion))
    return tuple(found.values())


def check_admitted(value: Any) -> tuple[str, ...]:
    """The kinds of people who may speak beside members."""
    kinds = [kind.strip().lower() for kind in value.split(",")] if isinstance(value, str) else [str(kind) for kind in value]
    if not all(kind in ADMITTED for kind in kinds):
        refuse(f"{' and '.join(ADMITTED)} with a comma between them, or nothing", "members need not be named")
    return tuple(dict.fromkeys(kinds))


def check_keys(value: Any) -> Any:
    """Keys of 32 bytes, the newest first; never repeated."""
    if value is None:
        return None
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    keys = keys_in(text)
    if len(keys) > KEYS or not all(_KEY.fullmatch(key) and len(set(key)) > 8 for key in keys):
        refuse(
            f"at most {KEYS} keys of 64 hexadecimal digits with commas between them, the newest first",
            "make one with: openssl rand -hex 32",
        )
    return value


def keys_in(text: str) -> list[str]:
    """Tell the keys of `ENCRYPTION_KEY` apart."""
    return [key.strip() for key in text.split(",")]


def spellings_of(key: str) -> list[str]:
    """List the ways in which a key can be written, of which one was chosen: in hexadecimal and in base64."""
    raw = bytes.fromhex(key) if len(key) == 64 else urlsafe_b64decode(key.rstrip("=").translate(_URL_SAFE) + "=")
    return [
        key,
        raw.hex(),
        repr(raw)[2:-1],
        *(encode(raw).decode().rstrip("=") for encode in (urlsafe_b64encode, b64encode)),
    ]


def check_money(written: Mapping[str, str]) -> list[Problem]:
    """A limit in money means nothing for a model without a price; settings of a wrong form are left to their own check."""
    if not any(entry.strip().startswith(MONEY_LIMITS) for entry in written.get("LIMITS", "").split(",")):
        return []
    priced = {entry.rpartition("=")[0].strip() for entry in written.get("LLM_PRICES", "").split(",")}
    models = [written.get("LLM_MODEL", ""), *written.get("LLM_FALLBACKS", "").split(",")]
    missing = [model.strip() for model in models if model.strip() and model.strip() not in priced]
    if not missing:
        return []
    text = "expected a price of every model, since LIMITS has one in money; write LLM_MODEL and LLM_FALLBACKS with theirs"
    return [Problem(setting="LLM_PRICES", text=text)]
