"""Files that are there whole or not at all, also after a power cut; and their hashes."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self


@contextlib.contextmanager
def written_whole(path: Path, private: bool = True, syncs_folder: bool = True) -> Iterator[Path]:
    """Yield a new file to write to; at the end it is on the disk and gets its name.

    Where that fails, or the block raises, the file that was there stays. `private`: only the
    owner may read it. Without `syncs_folder` a power cut may still leave the file that was there:
    for where another file of the folder follows, whose writing waits for both. Raises OSError.
    """
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    os.close(os.open(temporary, flags, 0o600 if private else 0o666))
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        with contextlib.suppress(PermissionError):  # a folder that may be written, but not read
            if syncs_folder:
                sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


class HashedFile:
    """A new content of a file, hashed as it is written. A context manager; raises OSError.

    Nothing is buffered: a process that is forked meanwhile has nothing of it to write again.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        self._hash.update(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def flush(self) -> None:
        pass

    def digest(self) -> str:
        """Return the SHA-256 of what was written, as `sha256` does of a file."""
        return self._hash.hexdigest()


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
