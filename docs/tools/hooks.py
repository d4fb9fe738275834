"""What the pages take from elsewhere in the project: the measured pictures and the changelog.

The pages are read on a code host too, so they link to files as these lie in the project
(``../perf/results/workloads.png``). On the site the pictures are below ``perf/``; a link to any
other file outside of ``docs/`` says where it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

_PICTURE = re.compile(r"\((?:\.\./)+(perf/results/[\w./-]+\.png)\)")
_ELSEWHERE = re.compile(r"\[([^\]]+)\]\(\.\./(?!perf/results/[\w./-]+\.png)([\w./-]+)\)")


def on_files(files: Files, config: Any) -> Files:
    for picture in sorted((ROOT / "perf" / "results").glob("*.png")):
        name = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    changelog = (ROOT / "CHANGELOG.md").read_text()
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    up = "../" * page.file.src_uri.count("/")
    markdown = _PICTURE.sub(lambda found: f"({up}{found[1]})", markdown)
    return _ELSEWHERE.sub(_where, markdown)


def _where(found: re.Match[str]) -> str:
    said, path = found[1].strip("`"), found[2]
    return f"`{path}`" if said == path else f"{found[1]} (`{path}` in the project)"
