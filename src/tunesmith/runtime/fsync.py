"""What was written stays, also through a power cut."""

import os
from pathlib import Path


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
