"""Repositories of every kind and configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from parity import Again, Case, Do, Git, Log
from trees import NESTED, both, cache_type, config, files, links, replace

pytestmark = pytest.mark.anyio

FILE = files({"model.bin": "weights\n", "run.sh": "#!\n"}, exec=("run.sh",))
TREE = both(FILE, files(NESTED))
ALL = (
    Log("model.bin", type="model"),
    Log("run.sh", copy=True),
    Log("data", type="dataset"),
    Do(replace({"data/sub/c.txt": "changed"})),
    Log("data/sub/c.txt"),
    Log("data", copy=True),
)
"""A file in place, an executable copied, a directory, a file inside, a directory copied."""

GIT = [
    # DVCLive raises there: it asks for the current revision.
    Case(
        "a Git repository with no commit yet",
        TREE,
        (Log("model.bin"), Log("run.sh"), Log("data")),
        kind="unborn",
        reference="dvc add",
    ),
    Case("a Git repository without DVC is initialised", TREE, ALL, kind="bare-git"),
    Case(
        "a Git repository without DVC is initialised at its top",
        files({"sub/m.bin": "m"}),
        (Log("m.bin", type="model"),),
        kind="bare-git",
        root="sub",
    ),
    Case("DVC without Git", TREE, ALL, kind="no-scm"),
    Case("core.autostage", both(TREE, config("core", autostage="true")), ALL),
    Case(
        "core.autostage, logged again",
        both(TREE, config("core", autostage="true")),
        (
            Log("model.bin"),
            Git("commit", "--quiet", "--message=One"),
            Do(replace({"model.bin": "better"})),
            Again(),
            Log("model.bin"),
        ),
    ),
    Case(
        "core.autostage, annotated in a dvc.yaml that Git tracks",
        both(FILE, files({"dvc.yaml": "# mine\n"}), config("core", autostage="true")),
        (Git("add", "dvc.yaml"), Log("model.bin", type="model")),
    ),
    Case(
        "core.autostage, uncached",
        both(FILE, config("core", autostage="true")),
        (Log("model.bin", type="model", cache=False),),
    ),
    Case(
        "a .gitignore with other lines",
        both(FILE, files({".gitignore": "# mine\n*.log\n"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore that does not end in a newline",
        both(FILE, files({".gitignore": "*.log"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore with Windows line ends",
        both(FILE, files({".gitignore": b"*.log\r\n*.tmp\r\n"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore that only its owner may read",
        both(
            FILE, files({".gitignore": "*.log\n"}), lambda repo: (repo / ".gitignore").chmod(0o600)
        ),
        (Log("model.bin"),),
    ),
    Case(
        "several lines for one .gitignore",
        files({f"out/{n}": f"{n}" for n in range(5)}),
        tuple(Log(f"out/{n}") for n in (3, 0, 4, 1, 2)),
    ),
]

SUBDIR = [
    Case(
        "a --subdir repository",
        lambda repo: TREE(repo / "project"),
        ALL,
        kind="subdir",
        root="project",
        dvc_root="project",
    ),
    Case(
        "a --subdir repository, from below it",
        lambda repo: TREE(repo / "project/deep"),
        ALL,
        kind="subdir",
        root="project/deep",
        dvc_root="project",
    ),
    Case(
        "a --subdir repository with core.autostage",
        both(
            lambda repo: TREE(repo / "project"),
            config("core", "project", autostage="true"),
        ),
        ALL,
        kind="subdir",
        root="project",
        dvc_root="project",
    ),
]


def _config_local(repo: Path) -> None:
    (repo / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n")


CACHE = [
    Case("an external cache", both(TREE, config("cache", dir="../../cache")), ALL),
    Case(
        "an external cache by an absolute path",
        both(TREE, lambda repo: config("cache", dir=str(repo.parent / "cache"))(repo)),
        ALL,
    ),
    Case(
        "an external cache that holds the objects already",
        both(
            TREE,
            config("cache", dir="../../cache"),
            files({"../cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3": "a\n"}),
            lambda repo: (repo.parent / "cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3").chmod(
                0o444
            ),
        ),
        ALL,
    ),
    *(
        Case(
            f"an external cache, {kind}",
            both(TREE, config("cache", dir="../../cache"), cache_type(kind)),
            ALL,
        )
        for kind in ("hardlink", "symlink")
    ),
    *(
        Case(
            f"a shared group, {kind}",
            both(TREE, config("cache", shared="group"), cache_type(kind)),
            ALL,
        )
        for kind in ("copy", "hardlink", "symlink")
    ),
    Case(
        "a shared external cache",
        both(TREE, config("cache", shared="group", dir="../../cache")),
        ALL,
    ),
    Case("config.local", both(TREE, _config_local), ALL),
    Case(
        "a cache.dir that is a symlink",
        both(TREE, files({"../cache/": ""}), links({".dvc/cache": "../../cache"})),
        ALL,
    ),
]

IGNORED: dict[str, dict[str, str | bytes]] = {
    "files by pattern": {".dvcignore": "*.txt\n"},
    "a subdirectory": {".dvcignore": "/data/sub/\n"},
    "a subdirectory anywhere": {".dvcignore": "deep\n"},
    "all but some": {".dvcignore": "data/*\n!data/z\n"},
    "everything": {".dvcignore": "data/*\n"},
    "a pattern with comments and spaces": {".dvcignore": "# c\n\n*.bin  \n  \n/data/a.txt\n"},
}

DVCIGNORE = [
    *(
        Case(
            f".dvcignore: {what}",
            both(files(NESTED), files(patterns)),
            (Log("data"), Log("data", copy=True)),
        )
        for what, patterns in IGNORED.items()
    ),
    *(
        Case(
            f".dvcignore: {what}, in a parent directory",
            both(lambda repo: files(NESTED)(repo / "out"), files(patterns)),
            (Log("out/data"), Log("out/data", copy=True)),
        )
        for what, patterns in {
            "only there": {"out/.dvcignore": "*.bin\ndata/sub/c.txt\n"},
            "adding up": {".dvcignore": "*.bin\n", "out/.dvcignore": "c.txt\n"},
            "taken back": {".dvcignore": "*.txt\n", "out/.dvcignore": "!a.txt\n"},
        }.items()
    ),
    Case(
        ".dvcignore: one inside the directory",
        both(TREE, files({"data/.dvcignore": "*.bin\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: one inside a subdirectory",
        both(TREE, files({"data/sub/.dvcignore": "*.bin\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: the artifact itself",
        both(FILE, files({".dvcignore": "model.bin\n"})),
        (Log("model.bin"),),
        refused=True,
    ),
    Case(
        ".dvcignore: the directory itself",
        both(TREE, files({".dvcignore": "/data\n"})),
        (Log("data"),),
        refused=True,
    ),
    Case(
        ".dvcignore: a file inside a tracked directory",
        both(TREE, files({".dvcignore": "*.log\n", "data/x.log": "x"})),
        (Log("data"), Log("data/sub")),
    ),
    Case(
        ".dvcignore: links and objects that stay out of the cache",
        both(TREE, files({".dvcignore": "*.txt\n"}), cache_type("hardlink")),
        (Log("data"),),
    ),
]

PATHS = [
    Case("an absolute path", FILE, (Log(lambda repo: str(repo / "model.bin"), type="model"),)),
    Case("a Path", FILE, (Log(Path("model.bin"), type="model"),)),
    Case("an absolute Path", TREE, (Log(lambda repo: repo / "data", type="dataset"),)),
    Case("a path with dots in it", TREE, (Log("./data/../model.bin", type="model"),)),
    Case(
        "from a subdirectory",
        files({"sub/m.bin": "m", "top.bin": "t"}),
        (Log("m.bin", type="model"), Log("../top.bin", type="model"), Log("m.bin", copy=True)),
        root="sub",
    ),
    Case(
        "from a directory reached by a symlink",
        both(TREE, links({"../link": "repo"})),
        ALL,
        root="../link",
    ),
    Case(
        "with dvc.yaml above a subdirectory",
        files({"sub/m.bin": "m"}),
        (Log("m.bin", type="model"),),
        root="sub",
        live={"dvcyaml": "../dvc.yaml"},
    ),
    Case(
        "inside a symlinked directory",
        both(files({"real/m.bin": "m"}), links({"link": "real"})),
        (Log("link/m.bin"),),
        refused=True,
    ),
    Case(
        "with the dir outside of the working directory",
        files({"sub/m.bin": "m"}),
        (Log("m.bin", type="model", copy=True),),
        root="sub",
        live={"dir": "../runs/a"},
    ),
    Case(
        "with an absolute copy source and dir with a slash",
        FILE,
        (Log(lambda repo: repo / "model.bin", type="model", copy=True),),
        live={"dir": "runs/a/"},
    ),
]


def _cases(*groups: list[Case]) -> list[Case]:
    return [case for group in groups for case in group]


@pytest.mark.parametrize(
    "case", _cases(GIT, SUBDIR, CACHE, DVCIGNORE, PATHS), ids=lambda case: case.name
)
async def test_in_every_repository(case: Case, same: Callable[[Case], Awaitable[None]]) -> None:
    await same(case)
