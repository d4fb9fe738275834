"""The versions that `make test-lowest` installs are those that pyproject.toml says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_REQUIREMENT = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)")
_PIN = re.compile(r"^([\w.-]+)==([\d.]+)", re.MULTILINE)


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    lowest = dict(found.groups() for each in wanted if (found := _REQUIREMENT.match(each)))
    pins = (ROOT / "tests" / "lowest.txt").read_text()
    direct, _, others = pins.partition("\n# What these bring")

    assert dict(_PIN.findall(direct)) == lowest
    assert not set(dict(_PIN.findall(others))) & set(lowest)
