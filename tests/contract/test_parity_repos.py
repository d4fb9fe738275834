"""Log into repositories of every kind: compare the files and the status of Git."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from case import Again, Case, Do, Git, Log
from trees import ALL, FILES, TREE, both, config, files, replace

pytestmark = pytest.mark.anyio

GIT = [
    # DVCLive raises here: it asks for the current revision.
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
        both(FILES, files({"dvc.yaml": "# mine\n"}), config("core", autostage="true")),
        (Git("add", "dvc.yaml"), Log("model.bin", type="model")),
    ),
    Case(
        "core.autostage, uncached",
        both(FILES, config("core", autostage="true")),
        (Log("model.bin", type="model", cache=False),),
    ),
    Case(
        "a .gitignore with other lines",
        both(FILES, files({".gitignore": "# mine\n*.log\n"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore that does not end in a newline",
        both(FILES, files({".gitignore": "*.log"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore with Windows line ends",
        both(FILES, files({".gitignore": b"*.log\r\n*.tmp\r\n"})),
        (Log("model.bin"),),
    ),
    Case(
        "a .gitignore that only its owner may read",
        both(
            FILES, files({".gitignore": "*.log\n"}), lambda repo: (repo / ".gitignore").chmod(0o600)
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


@pytest.mark.parametrize("case", [*GIT, *SUBDIR], ids=lambda case: case.name)
async def test_every_repository_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
