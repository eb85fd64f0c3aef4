"""What Discord answers when it does not do what it was asked."""

from dataclasses import dataclass, field
from typing import Any

Json = Any

_UNKNOWN = {
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "User": 10013,
    "Webhook": 10015,
    "Interaction": 10062,
}


@dataclass
class Refusal(Exception):
    """An HTTP status with Discord's own code and words."""

    status: int
    code: int
    message: str
    more: dict[str, Json] = field(default_factory=dict)

    def json(self) -> Json:
        return {"message": self.message, "code": self.code} | self.more


def unauthorized() -> Refusal:
    return Refusal(401, 0, "401: Unauthorized")


def unknown(what: str) -> Refusal:
    return Refusal(404, _UNKNOWN[what], f"Unknown {what}") if what in _UNKNOWN else Refusal(404, 0, "404: Not Found")


def invalid_form(path: str, code: str, message: str) -> Refusal:
    """Refuse a body with an error at `path`, whose parts are joined by dots."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(path.split(".")):
        errors = {part: errors}
    return Refusal(400, 50035, "Invalid Form Body", {"errors": errors})


def too_long(path: str, limit: int) -> Refusal:
    return invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def missing_access() -> Refusal:
    return Refusal(403, 50001, "Missing Access")


def missing_permissions() -> Refusal:
    return Refusal(403, 50013, "Missing Permissions")


def empty_message() -> Refusal:
    return Refusal(400, 50006, "Cannot send an empty message")
