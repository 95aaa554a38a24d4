"""Disturbances of a whole search: code that each of its processes runs before all other code.

A test gives the body of a `sitecustomize`. Controller and workers find it through PYTHONPATH, so
that a fault comes at a precise moment, and from the kernel where the kernel can give it.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import command
from support.searches import SCRIPT

TOOLS = '''
import errno, functools, importlib.util, os, pathlib, signal, subprocess, sys

HERE = pathlib.Path(__file__).parent
IS_WORKER = "tunesmith.search.worker" in sys.orig_argv
_changes = {}


class _Finder:
    """Changes a module as soon as it has been imported."""

    asking = False  # the finders behind this one

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if cls.asking or name not in _changes:
            return None
        cls.asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            cls.asking = False
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            for change in _changes.pop(name, ()):
                change(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)


def before(module, name, act):
    """Call `act` with the arguments of each call of a function, before it."""

    def change(owner):
        *classes, last = name.split(".")
        for part in classes:
            owner = getattr(owner, part)
        original = getattr(owner, last)

        @functools.wraps(original)
        def instead(*args, **options):
            act(*args, **options)
            return original(*args, **options)

        setattr(owner, last, instead)

    if module in sys.modules:
        change(sys.modules[module])
    else:
        _changes.setdefault(module, []).append(change)


def count(name="happened"):
    """Return how often any process of this search has called this, with this name."""
    file = os.open(HERE / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b".")
    size = os.fstat(file).st_size
    os.close(file)
    return size


def fail(number, *paths):
    count()
    raise OSError(number, os.strerror(number), *paths)


def fill_disk(folder):
    """Leave no byte of a small disk; the test removes the file."""
    count()
    with open(f"{folder}/filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as full:
            assert full.errno == errno.ENOSPC
'''


class Disturbance:
    """A `sitecustomize` in a folder of its own."""

    def __init__(self, folder: Path, body: str) -> None:
        self.folder = folder / "disturbance"
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text(TOOLS + body)

    @property
    def happened(self) -> int:
        """How often it has disturbed."""
        return self.count("happened")

    def count(self, name: str) -> int:
        path = self.folder / name
        return path.stat().st_size if path.exists() else 0

    def search(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a search that is disturbed."""
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {"PYTHONPATH": os.pathsep.join(paths)}
        return command([SCRIPT, *arguments], env=env, timeout=600)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a disk of this size on a new folder."""
    folder.mkdir()
    if run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)) != 0:
        pytest.skip("this machine does not let us mount a disk")
    try:
        yield
    finally:
        assert run("umount", str(folder)) == 0


def run(*words: str) -> int:
    return subprocess.run(words, capture_output=True).returncode
