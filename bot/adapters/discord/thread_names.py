"""What a thread that begins at a person's message is called: by the message's first words."""

import re
import textwrap

LENGTH = 80
"""Characters. Discord takes 100; its list of channels shows far fewer."""

# People, roles, channels, commands, times and custom emojis, as Discord writes them in a text.
_MARKUP = re.compile(r"<(?:@[!&]?|#|/[^:<>]+:|t:|a?:\w+:)-?\d+(?::\w)?>")
_FORMATTING = re.compile(r"[*_~`|>#\\@]+")
# Control characters, and those that turn the writing direction: a name stands in lists among others.
_DRIVING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


def thread_name(text: str) -> str:
    """Shorten a message to a name, without mentions, formatting and control characters; "" when nothing is left of it."""
    words = _DRIVING.sub(" ", _FORMATTING.sub(" ", _MARKUP.sub(" ", text))).split()
    if words and len(words[0]) > LENGTH:
        return words[0][: LENGTH - 1] + "…"
    return textwrap.shorten(" ".join(words), LENGTH, placeholder="…")
