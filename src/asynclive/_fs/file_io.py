"""Small files, read and written whole by as few system calls as it takes.

It imports next to nothing: worker processes begin with it, and each import costs them as much
as some hundred files.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fsync import Sync

_O_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
# O_NONBLOCK: a named pipe put in the place of a planned file must not hold the thread.
READ: int = os.O_RDONLY | _O_CLOEXEC | _O_BINARY | getattr(os, "O_NONBLOCK", 0)
WRITE: int = os.O_RDWR | _O_BINARY | _O_CLOEXEC
# Linux: open a file that has no name; 0: there is no such thing.
UNNAMED: int = WRITE | os.O_TMPFILE if hasattr(os, "O_TMPFILE") else 0


def create(path: str, mode: int = 0o600) -> int:
    """Open a new file for reading and writing; private, or of ``mode`` less the umask."""
    return os.open(path, WRITE | os.O_CREAT | os.O_EXCL, mode)


def write_new(
    path: str, data: bytes, mode: int, mtime_ns: int | None = None, sync: Sync | None = None
) -> os.stat_result:
    """Make a file of these bytes, permissions and mtime; returns what it is then.

    For directories that nobody else can look into: the file has its mode from the start.
    """
    fd = create(path, mode)
    try:
        write_all(fd, data)
        if mtime_ns is not None:
            # By descriptor where the system can: it saves the way along the path.
            os.utime(fd if os.utime in os.supports_fd else path, ns=(mtime_ns, mtime_ns))
        found = os.fstat(fd)
        if stat.S_IMODE(found.st_mode) != mode:  # less the umask
            set_mode(fd, path, mode)
        if sync is not None:
            sync.fd(fd)
        return found
    finally:
        os.close(fd)


def link_new(path: str, data: bytes, mode: int, sync: Sync | None = None) -> None:
    """Make a file that has no name before it is whole, so that a crash leaves nothing of it.

    Cheaper than to name it twice. Raises OSError where the system cannot, or the name is taken.
    """
    fd = os.open(os.path.dirname(path), UNNAMED, mode)
    try:
        write_all(fd, data)
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:  # less the umask
            os.fchmod(fd, mode)
        if sync is not None:
            sync.fd(fd)
        # With a descriptor for the directory, which an absolute path does not use: only then
        # does Python follow the link that /proc has for the file.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)


def is_object(found: os.stat_result, size: int, object_mode: int) -> bool:
    """Whether it is an object of the cache that was not touched since DVC protected it."""
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == size
        # u+x is what DVC itself adds through a link to an executable's object.
        and stat.S_IMODE(found.st_mode) & ~stat.S_IXUSR == object_mode
    )


def make_dir(path: str, mode: int) -> None:
    """Make a directory of the cache, which another process may have made meanwhile."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    # mkdir takes the umask off and never sets the group bit.
    os.chmod(path, mode)


def set_mode(fd: int, path: str, mode: int) -> None:
    if hasattr(os, "fchmod"):  # saves the way along the path
        os.fchmod(fd, mode)
    else:
        os.chmod(path, mode)


def write_all(fd: int, data: bytes | memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def remove_file(path: str) -> None:
    """Remove a file of our own that may be there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
