"""Read and write small files with as few system calls as possible. Blocks.

Imports almost nothing: batch worker processes start with this file, and each import costs them as
much time as some hundred files.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fsync import Sync

_O_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
_O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
# O_NONBLOCK: a named pipe that replaced a planned file must not block the thread.
READ: int = os.O_RDONLY | _O_CLOEXEC | _O_BINARY | getattr(os, "O_NONBLOCK", 0)
WRITE: int = os.O_RDWR | _O_BINARY | _O_CLOEXEC
# Errors that mean: this file system, or the owner of the file, does not let its mode be changed.
_MODE_REFUSED = (
    errno.EPERM,
    errno.EACCES,
    errno.EROFS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
)
# Opens a file without a name (Linux). 0: this platform cannot.
UNNAMED: int = WRITE | os.O_TMPFILE if hasattr(os, "O_TMPFILE") else 0


def create(path: str, mode: int = 0o600) -> int:
    """Open a new file for reading and writing. Its mode is ``mode`` less the umask."""
    return os.open(path, WRITE | os.O_CREAT | os.O_EXCL, mode)


def write_new(
    path: str, data: bytes, mode: int, mtime_ns: int | None = None, sync: Sync | None = None
) -> os.stat_result:
    """Write a new file with these permissions and mtime; return its stat record.

    Only for private directories: the file has its final mode from the start.
    """
    fd = create(path, mode)
    try:
        write_all(fd, data)
        if mtime_ns is not None:
            # By descriptor if the platform can: the kernel then resolves no path.
            os.utime(fd if os.utime in os.supports_fd else path, ns=(mtime_ns, mtime_ns))
        found = os.fstat(fd)
        if stat.S_IMODE(found.st_mode) != mode:  # because of the umask
            set_mode(path, mode, fd)
        if sync is not None:
            sync.fd(fd)
        return found
    finally:
        os.close(fd)


def link_new(path: str, data: bytes, mode: int, sync: Sync | None = None) -> None:
    """Write a file that gets its name only when it is complete, so a kill leaves nothing.

    Cheaper than a temp file and a rename.

    Raises:
        OSError: the platform cannot, or ``path`` exists.
    """
    fd = os.open(os.path.dirname(path), UNNAMED, mode)
    try:
        write_all(fd, data)
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:  # because of the umask
            set_mode(path, mode, fd)
        if sync is not None:
            sync.fd(fd)
        # Python follows the symlink in /proc only if it gets a descriptor of a directory. Any
        # will do: the path is absolute.
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)


def is_object(found: os.stat_result, size: int, object_mode: int) -> bool:
    """Return whether an object of the cache is unchanged since DVC protected it.

    Args:
        found: the stat record of the file at its path.
        size: the size that the object must have, in bytes.
        object_mode: the mode that DVC gives to objects.
    """
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_size == size
        # DVC itself adds u+x to an object, through a link from an executable file.
        and stat.S_IMODE(found.st_mode) & ~stat.S_IXUSR == object_mode
    )


def make_dir(path: str, mode: int) -> None:
    """Make a directory of the cache, unless another process has just made it."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    # mkdir subtracts the umask and never sets the setgid bit.
    set_mode(path, mode)


def set_mode(path: str, mode: int, fd: int | None = None) -> bool:
    """Change the permissions of a file or directory; return False if that is refused.

    DVC ignores a refusal too: on disks as those of SMB and FAT, every file has the same mode.

    Args:
        path: the file.
        mode: its new permissions.
        fd: a descriptor of it, if it is open; the kernel then resolves no path.
    """
    try:
        if fd is not None and hasattr(os, "fchmod"):
            os.fchmod(fd, mode)
        else:
            os.chmod(path, mode)
    except OSError as error:
        if error.errno not in _MODE_REFUSED:
            raise
        return False
    return True


def keeps_modes(directory: str) -> bool:
    """Return whether a file in a directory gets the permissions that it is given.

    Raises:
        OSError: no file can be made there.
    """
    path = f"{directory}{os.sep}mode"
    fd = create(path)
    try:
        set_mode(path, 0o444, fd)
        return stat.S_IMODE(os.fstat(fd).st_mode) == 0o444
    finally:
        os.close(fd)
        os.unlink(path)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all bytes: one call of ``os.write`` may write fewer.

    Raises:
        OSError: the bytes cannot be written, or a call writes none.
    """
    written = os.write(fd, data)
    while written < len(data):
        more = os.write(fd, memoryview(data)[written:])
        if not more:  # otherwise this would never end
            raise OSError(errno.EIO, f"A write stopped after {written:,} of {len(data):,} bytes")
        written += more


def remove_file(path: str) -> None:
    """Remove a file, if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
