"""What a thread that begins at a person's message is called: by the message's first words."""

import re
import textwrap

LENGTH = 80
"""Characters. Discord takes 100; its list of channels shows far fewer."""

# People, roles, channels, commands, times and custom emojis, as Discord writes them in a text.
_MARKUP = re.compile(r"<(?:@[!&]?|#|/[^:<>]+:|t:|a?:\w+:)-?\d+(?::\w)?>")
_FORMATTING = re.compile(r"[*_~`|>#\\@]+")


def thread_name(text: str) -> str:
    """Shorten a message to a name, without mentions and formatting; "" when nothing is left of it."""
    words = _FORMATTING.sub(" ", _MARKUP.sub(" ", text)).split()
    if words and len(words[0]) > LENGTH:
        return words[0][: LENGTH - 1] + "…"
    return textwrap.shorten(" ".join(words), LENGTH, placeholder="…")
