"""Say how many tests were skipped and why, from the JUnit reports of pytest on the command line."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def main(reports: list[str]) -> None:
    for report in reports:
        try:
            tests = list(ElementTree.parse(report).iter("testcase"))
        except (OSError, ElementTree.ParseError) as error:
            print(f"No report of the tests: {error}")
            continue
        reasons = Counter(
            skipped.get("message", "")
            for test in tests
            for skipped in test.iter("skipped")
            if skipped.get("type") == "pytest.skip"
        )
        name = Path(report).stem
        print(f"make {name}: {reasons.total():,} of {len(tests):,} tests were skipped.")
        for reason, count in reasons.most_common():
            print(f"{count:6,} {reason}")


if __name__ == "__main__":
    main(sys.argv[1:])
