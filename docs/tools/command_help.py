"""Write the help texts that the commands print into ``docs/command-line.md``.

    python docs/tools/command_help.py

Run it after a change of an option or of its help text. A test compares the page with the commands.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "command-line.md"
_HELP = re.compile(r"^```text\n\$ (asynclive [^\n]*--help)\n.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    PAGE.write_text(_HELP.sub(_printed, PAGE.read_text()))


def _printed(block: re.Match[str]) -> str:
    """Return the block with the help that the command prints now."""
    # The width of the text must not depend on the terminal.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", *block[1].split()],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    return f"```text\n$ {block[1]}\n{done.stdout}```"


if __name__ == "__main__":
    main()
