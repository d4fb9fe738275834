"""Log files and directories of every shape in place."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
from case import Case, Log
from trees import MODEL, NESTED, both, files, links, noise

pytestmark = pytest.mark.anyio


_ODD_NAMES = ("*", "?[a]", "!x", "#y", "- z", "a: b", "'\"$\\")

CASES = [
    Case("a file", MODEL, (Log("model.bin"),)),
    Case("a file in a directory", files({"out/m/model.bin": "w"}), (Log("out/m/model.bin"),)),
    Case("a nested directory", files(NESTED), (Log("data"),)),
    Case("a directory with a slash behind its name", files(NESTED), (Log("data/"),)),
    Case("an empty file", files({"empty": ""}), (Log("empty"),)),
    Case("an empty directory", files({"data/": ""}), (Log("data"),)),
    Case(
        "a directory with empty subdirectories",
        files({"data/a": "a", "data/empty/": "", "data/sub/empty/": ""}),
        (Log("data"),),
    ),
    Case("a directory with an empty file", files({"data/a": "", "data/b": "b"}), (Log("data"),)),
    Case("a directory of empty files", files({"data/a": "", "data/b": ""}), (Log("data"),)),
    Case(
        "unicode names",
        files({"données/ünï/файл.txt": "f", "données/模型": "m", "données/😀 .bin": "s"}),
        (Log("données"),),
    ),
    Case("a file with a unicode name", files({"模型 é.bin": "m"}), (Log("模型 é.bin"),)),
    Case(
        "one name composed and decomposed",
        files({"data/\u00e9": "composed", "data/e\u0301": "decomposed"}),
        (Log("data"),),
    ),
    Case("spaces in names", files({"my data/a b.txt": "a", "my data/ c ": "c"}), (Log("my data"),)),
    Case("a file with spaces in its name", files({"my model.bin": "m"}), (Log("my model.bin"),)),
    Case(
        "newlines in names",
        files({"data/a\nb": "a", "data/c\n": "c", "data/sub\ndir/d": "d"}),
        (Log("data"),),
    ),
    Case(
        "names that mean something to shells, patterns and YAML",
        files(
            {f"data/{name}": name for name in ("*", "?[a]", "!x", "#y", "- z", "a: b", "'\"$\\")}
        ),
        (Log("data"),),
    ),
    Case("a file named as a Git pattern", files({"!a*#.bin": "w"}), (Log("!a*#.bin"),)),
    Case("a name that begins with a dot", files({".hidden/.a": "a"}), (Log(".hidden"),)),
    Case("a file without a suffix", files({"model": "w"}), (Log("model"),)),
    Case("a name of 250 bytes", files({"data/" + "n" * 250: "n"}), (Log("data"),)),
    Case("an executable file", files({"run.sh": "#!\n"}, exec=("run.sh",)), (Log("run.sh"),)),
    Case(
        "an executable in a directory",
        files({"data/run.sh": "#!\n", "data/a": "a"}, exec=("data/run.sh",)),
        (Log("data"),),
    ),
    Case(
        "an executable and a plain file with the same bytes",
        files({"data/run.sh": "same", "data/a": "same"}, exec=("data/run.sh",)),
        (Log("data"),),
    ),
    Case("a read-only file", files({"m.bin": "m"}, read_only=("m.bin",)), (Log("m.bin"),)),
    Case(
        "read-only files in a directory",
        files(NESTED, read_only=("data/a.txt", "data/sub/c.txt")),
        (Log("data"),),
    ),
    Case(
        "odd file modes",
        both(
            MODEL,
            lambda repo: (repo / "model.bin").chmod(0o640),
        ),
        (Log("model.bin"),),
    ),
    Case(
        "odd modes in a directory",
        both(
            files(NESTED),
            lambda repo: (repo / "data/a.txt").chmod(0o600),
            lambda repo: (repo / "data/z").chmod(0o700),
            lambda repo: (repo / "data/sub").chmod(0o700),
        ),
        (Log("data"),),
    ),
    Case(
        "the same bytes twice in a directory",
        files({"data/a": "same", "data/b": "same", "data/sub/c": "same"}),
        (Log("data"),),
    ),
    Case(
        "the same bytes in several artifacts",
        files({"a.bin": "same", "b.bin": "same", "data/a": "same", "more/b": "same"}),
        (Log("a.bin"), Log("b.bin"), Log("data"), Log("more")),
    ),
    Case(
        "two directories with the same files",
        files({"one/a": "a", "one/b": "b", "two/a": "a", "two/b": "b"}),
        (Log("one"), Log("two")),
    ),
    Case(
        "files that were hard links of each other",
        both(
            files({"data/a": "same"}),
            lambda repo: os.link(repo / "data/a", repo / "data/b"),
        ),
        (Log("data"),),
    ),
    Case("a file of several chunks", files({"big.bin": noise(5_000_001)}), (Log("big.bin"),)),
    Case(
        "a directory with a large file",
        files({"data/big.bin": noise(5_000_001), "data/small": "s"}),
        (Log("data"),),
    ),
    Case(
        "a directory of many files",
        files({f"data/{n % 7}/{n}.txt": f"{n}\n" for n in range(300)}),
        (Log("data"),),
    ),
    Case(
        "many artifacts one after the other",
        files({f"out/{n}.bin": f"{n}\n" for n in range(12)}),
        tuple(Log(f"out/{n}.bin", type="model") for n in range(12)),
    ),
    Case(
        "line ends are left as they are",
        files({"data/dos": "a\r\nb\r\n", "data/mac": "a\rb\r"}),
        (Log("data"),),
    ),
    # Symlinks. DVC follows them, and replaces them in place by a link of cache.type.
    Case(
        "a symlink to a file",
        both(MODEL, links({"latest.bin": "model.bin"})),
        (Log("latest.bin"),),
    ),
    Case(
        "a symlink to a file outside the repository",
        both(files({"../outside/m.bin": "m"}), links({"m.bin": "../outside/m.bin"})),
        (Log("m.bin"),),
    ),
    Case(
        "symlinks to files in a directory",
        both(
            files({**NESTED, "other.txt": "o", "../outside/x": "x"}),
            links({"data/in": "a.txt", "data/sub/up": "../../other.txt"}),
            links({"data/out": "../outside/x"}, absolute=True),
        ),
        (Log("data"),),
    ),
    Case(
        "symlinks to directories in a directory",
        both(
            files({**NESTED, "other/o": "o", "../outside/x/y": "y"}),
            links({"data/in": "sub", "data/next": "../other"}),
            links({"data/out": "../outside"}, absolute=True),
        ),
        (Log("data"),),
    ),
    Case(
        "a dangling symlink in a directory",
        both(files(NESTED), links({"data/gone": "nowhere"})),
        (Log("data"),),
        refused=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_artifact_in_place_is_left_as_dvclive_leaves_it(
    case: Case, same: Callable[[Case], Awaitable[None]]
) -> None:
    await same(case)
