"""What Parley says to people about who may do what, and about what operators decide: one plain sentence each.

What it says of everything else stands in `bot.chat.words`.
"""

from bot.chat.access import Refusal

# Who may speak and command.
REFUSALS = {
    Refusal.DENIED: "I may not talk with you here; please ask those who run this workspace to let you in.",
    Refusal.GUEST: "I do not answer guests here; please ask those who run this workspace to let you in.",
    Refusal.EXTERNAL: "I do not answer people of other organisations here; please ask somebody of this workspace.",
    Refusal.BOT: "I do not answer bots here; an operator can allow it with `/parley channel bots on`.",
    Refusal.CHANNEL: "I may not answer in this channel; please ask me in another one.",
    Refusal.DIRECT: "I do not take direct messages here; please ask me in a channel.",
    Refusal.UNKNOWN: "I can't find out just now who you are to this workspace; please try again in a minute.",
}
NO_SUCH_COMMAND = "There is no such command; `help` lists them."
HOSTS_ONLY = "Only those who run me on their machine may do that; please ask them."
OWNERS_ONLY = "Only the owners of this workspace may say who operates me; please ask one of them."
PAUSED_NOTICE = "I am paused just now; your message is kept, and I answer it when I go on."

# Settings.
PERSONA_EMPTY = "A persona needs some text; please say what I am to be, or `default` to take it back."
TTL_REFUSED = (
    "`ttl` must be a duration from `1m` to `36500d` such as `12h` or `30d`, or `off` or `default`; please choose one."
)
UNSTORABLE_SETTING = "That holds a character that is no valid text (a NUL or half of a pair); please leave it out."
NO_SUCH_PLACE = "This can't be set there; please choose a channel or the whole workspace."


def persona_too_long(length: int, most: int) -> str:
    """Refuse a persona over the limit."""
    return f"This persona has {length:,} characters and may have at most {most:,}; please shorten it."


def limit_for_others(name: str) -> str:
    """Refuse a limit for somebody or something whose account it is not."""
    return f"`{name}` can't be set for that; please leave out the person or channel, or choose another limit."


def too_many_choices(most: int) -> str:
    """Refuse one choice more than there may be."""
    return f"This workspace has {most:,} settings already; please take one back first."
