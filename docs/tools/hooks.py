"""Add files from outside of ``docs/`` to the site: the pictures of ``perf/`` and the changelog.

The pages are also read on a code host, so their links are relative to the project
(``../perf/results/workloads.png``). On the site, the pictures are below ``perf/``. A link to any
other file outside of ``docs/`` is replaced by the path of that file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

_PICTURE = re.compile(r"\((?:\.\./)+(perf/results/[\w./-]+\.png)\)")


def on_files(files: Files, config: Any) -> Files:
    for picture in sorted((ROOT / "perf" / "results").glob("*.png")):
        name = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    changelog = (ROOT / "CHANGELOG.md").read_text()
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    depth = page.file.src_uri.count("/")
    up = "../" * depth
    markdown = _PICTURE.sub(lambda found: f"({up}{found[1]})", markdown)
    elsewhere = rf"\[([^\]]+)\]\((?:\.\./){{{depth + 1}}}(?!perf/results/[\w./-]+\.png)([\w./-]+)\)"
    return re.sub(elsewhere, _where, markdown)


def _where(link: re.Match[str]) -> str:
    """Return the text of a link followed by its path, or the path alone if the text is the path."""
    text, path = link[1].strip("`"), link[2]
    return f"`{path}`" if text == path else f"{link[1]} (`{path}` in the project)"
