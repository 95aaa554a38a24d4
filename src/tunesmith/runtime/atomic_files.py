"""Files that are there whole or not at all, also after a power cut; and their hashes."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: Path, private: bool = True) -> Iterator[Path]:
    """Yield a new file to write to; at the end it is on the disk and gets its name.

    Where that fails, or the block raises, the file that was there stays. `private`: only the
    owner may read it. Raises OSError.
    """
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    os.close(os.open(temporary, flags, 0o600 if private else 0o666))
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        with contextlib.suppress(PermissionError):  # a folder that may be written, but not read
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until every file below a folder is on the disk, and the folder itself."""
    for below, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(below, name))
        sync(Path(below))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
