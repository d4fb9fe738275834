"""What the library advises, in the words of the command line: options for arguments."""

from __future__ import annotations

WORDS = (
    ("copied to copy=", "copied to --copy-to "),
    ("with copy=True", "with --copy"),
    ("with copy='sub/dir'", "with --copy-to sub/dir"),
    ("pass another name=.", "log it with another --name."),
    ("pass another dvcyaml= (", "pass another --dvcyaml ("),
    ("or None to write no entries", "or --no-dvcyaml to write no entries"),
    ("a longer lock_timeout=", "a longer --lock-timeout"),
    # Where it looks is no option of any command.
    (", or pass root= with the path of a repository", ""),
    (" Pass root= with one that is.", ""),
)
"""As the library says it, and as it is said here."""


def in_options(message: str) -> str:
    """A message of the library, as it is to be read by who typed a command."""
    for words, ours in WORDS:
        message = message.replace(words, ours)
    return message
