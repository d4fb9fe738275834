"""Link types and links are those of DVC, whose own code says which."""

from __future__ import annotations

import os
import stat
from itertools import chain, permutations
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.fs import localfs
from dvc_data.fsutils import _localfs_info
from dvc_data.hashfile.checkout import Link, _needs_relink
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.meta import Meta
from layouts import make_layout

from asynclive._artifact.plan import PlannedFile
from asynclive._cache.link_types import add_exec, link_type, make_link

KINDS = ("reflink", "hardlink", "symlink", "copy")
ALL_TYPES = list(chain.from_iterable(permutations(KINDS, count) for count in range(1, 5)))


def planned(path: Path) -> PlannedFile:
    found = path.stat()
    return PlannedFile(
        key=(path.name,),
        size=found.st_size,
        mode=stat.S_IMODE(found.st_mode),
        inode=found.st_ino,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        nlink=found.st_nlink,
        tracked=True,
        link_target=os.readlink(path) if path.is_symlink() else None,
    )


@pytest.fixture
def obj(tmp_path: Path) -> Path:
    """An object in the cache."""
    path = tmp_path / "object"
    path.write_bytes(b"bytes")
    path.chmod(0o444)
    return path


FILES = (
    "plain",
    "hard link to the object",
    "hard link to another file",
    "symbolic link to the object",
    "symbolic link to another file",
    "symbolic link to a hard link to the object",
)


def make_file(path: Path, kind: str, obj: Path) -> None:
    """Make ``path`` a workspace file of this kind."""
    other = Path(f"{path}.other")
    if "a hard link" in kind:
        os.link(obj, other)
    else:
        other.write_bytes(obj.read_bytes())
    target = obj if kind.endswith("to the object") and " a hard" not in kind else other
    if kind == "plain":
        other.rename(path)
    elif kind.startswith("hard"):
        os.link(target, path)
    else:
        path.symlink_to(target)


def dvc_relinks(path: Path, obj: Path, types: tuple[str, ...]) -> bool:
    cache = SimpleNamespace(cache_types=list(types), oid_to_path=lambda oid: str(obj))
    meta, cache_meta = (Meta.from_info(_localfs_info(str(p)), "local") for p in (path, obj))
    return _needs_relink(str(path), cache, meta, cache_meta, "oid")


def compare(tmp_path: Path, obj: Path, file: str, all_types: list[tuple[str, ...]]) -> None:
    path = tmp_path / "file"
    make_file(path, file, obj)
    for number, types in enumerate(all_types):
        layout = make_layout(tmp_path / str(number), types, links=types)
        kind = link_type(
            layout, planned(path), copied=False, isdir=True, object_path=str(obj), isnew=False
        )
        first = "copy" if types[0] == "reflink" else types[0]
        assert kind == (first if dvc_relinks(path, obj, types) else None), types


LINKS_TO_OBJECTS = [
    "symbolic link to the object",
    "symbolic link to a hard link to the object",
]
# Symbolic links and other types are allowed.
MIXED = [types for types in ALL_TYPES if "symlink" in types and types != ("symlink",)]


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_a_directory_is_replaced_exactly_if_dvc_relinks_it(
    tmp_path: Path, obj: Path, file: str
) -> None:
    types = [types for types in ALL_TYPES if "symlink" not in types]
    compare(tmp_path, obj, file, types if file in LINKS_TO_OBJECTS else ALL_TYPES)


@pytest.mark.parametrize("file", LINKS_TO_OBJECTS)
def test_a_symbolic_link_stays_exactly_if_dvc_keeps_it(
    tmp_path: Path, obj: Path, file: str
) -> None:
    compare(tmp_path, obj, file, MIXED)


@pytest.mark.parametrize("types", ALL_TYPES, ids="-".join)
def test_a_copy_counts_as_a_plain_file_for_any_kind_of_source(
    tmp_path: Path, obj: Path, types: tuple[str, ...]
) -> None:
    plain, link = tmp_path / "plain", tmp_path / "link"
    plain.write_bytes(b"bytes")
    link.symlink_to(obj)
    os.link(obj, tmp_path / "second")
    layout = make_layout(tmp_path / "layout", types, links=types)
    kinds = {
        link_type(layout, planned(path), copied=True, isdir=True, object_path=str(obj), isnew=False)
        for path in (plain, link, tmp_path / "second")
    }
    stays = not dvc_relinks(plain, obj, types)
    assert kinds == {None if stays else "copy" if types[0] == "reflink" else types[0]}


@pytest.mark.parametrize("types", ALL_TYPES, ids="-".join)
def test_a_single_file_is_of_the_first_type_that_works(
    tmp_path: Path, obj: Path, types: tuple[str, ...]
) -> None:
    for count in range(len(types)):
        layout = make_layout(tmp_path / str(count), types, links=types[count:])
        for copied in (False, True):
            kind = link_type(
                layout, planned(obj), copied=copied, isdir=False, object_path=str(obj), isnew=True
            )
            assert kind == ("copy" if types[count] == "reflink" else types[count])


def test_a_new_object_is_hard_linked_at_once_and_an_old_one_only_on_checkout(
    tmp_path: Path, obj: Path
) -> None:
    # dvc.output.Output.add: otransfer(hardlink=True) links new objects before any checkout.
    path, empty = tmp_path / "file", tmp_path / "empty"
    path.write_bytes(b"bytes")
    empty.touch()
    layout = make_layout(tmp_path / "layout", ("hardlink", "copy"))

    def kind(path: Path, isnew: bool) -> str | None:
        return link_type(
            layout, planned(path), copied=False, isdir=True, object_path=str(obj), isnew=isnew
        )

    assert kind(path, isnew=True) == "hardlink"
    assert kind(path, isnew=False) is None
    assert kind(empty, isnew=True) is None


# --- Making them ----------------------------------------------------------------------------


def looks(path: Path, obj: Path) -> tuple[object, ...]:
    found = path.lstat()
    return (
        os.readlink(path) if path.is_symlink() else stat.S_IMODE(found.st_mode),
        found.st_ino == obj.stat().st_ino,
        path.read_bytes(),
    )


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize("data", [b"bytes", b""], ids=["bytes", "empty"])
def test_a_link_equals_the_one_that_dvc_makes(tmp_path: Path, kind: str, data: bytes) -> None:
    layout = make_layout(tmp_path / "layout", (kind,))
    cache = LocalHashFileDB(localfs, layout.cache_dir, type=[kind])
    obj = Path(layout.cache_dir) / "object"
    obj.write_bytes(data)
    obj.chmod(0o444)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    make_link(kind, str(obj), len(data), str(ours), layout)
    Link([kind])(cache, str(obj), localfs, str(theirs))
    assert looks(ours, obj) == looks(theirs, obj)


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink"])
def test_a_link_never_replaces_an_existing_file(tmp_path: Path, obj: Path, kind: str) -> None:
    path = tmp_path / "there"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        make_link(kind, str(obj), 5, str(path), make_layout(tmp_path / "layout"))
    assert path.read_text() == "mine"


def test_the_executable_bit_is_set_through_links(tmp_path: Path, obj: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(obj)
    add_exec(str(link))
    assert stat.S_IMODE(obj.stat().st_mode) == 0o544
    assert link.is_symlink()
