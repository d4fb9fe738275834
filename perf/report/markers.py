"""Writes the results into the READMEs: the tables between their markers, from the JSON files.

    python -m perf.report.markers

A marked part begins with ``<!-- results: NAME -->`` and ends with ``<!-- end -->``; what is
between them is replaced. ``perf/README.md`` has all of them, the README of the project and
the pages of ``docs/`` some.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from perf.harness import results
from perf.report.tables import PARTS

PERF = Path(__file__).resolve().parents[1]
_PART = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    root = PERF.parent
    for path in (PERF / "README.md", root / "README.md", *sorted((root / "docs").glob("*.md"))):
        path.write_text(filled(path.read_text(), results.FULL))
    return 0


def filled(text: str, directory: Path) -> str:
    """``text`` with its marked parts made anew from the results in ``directory``."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{PARTS[found[2]](directory)}{found[3]}"

    return _PART.sub(part, text)


if __name__ == "__main__":
    sys.exit(main())
