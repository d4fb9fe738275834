"""Messages of the library, with options of the command line in place of Python arguments."""

from __future__ import annotations

REPLACEMENTS = (
    ("copied to copy=", "copied to --copy-to "),
    ("with copy=True", "with --copy"),
    ("with copy='sub/dir'", "with --copy-to sub/dir"),
    ("pass another name=.", "log it with another --name."),
    ("pass another dvcyaml= (", "pass another --dvcyaml ("),
    ("or None to write no entries", "or --no-dvcyaml to write no entries"),
    ("a longer lock_timeout=", "a longer --lock-timeout"),
    # No command has an option for root=.
    (", or pass root= with the path of a repository", ""),
    (" Pass root= with one that is.", ""),
)
"""Text in a message of the library, and the text that replaces it."""


def use_option_names(message: str) -> str:
    """Return a message of the library with options in place of Python arguments."""
    for text, replacement in REPLACEMENTS:
        message = message.replace(text, replacement)
    return message
