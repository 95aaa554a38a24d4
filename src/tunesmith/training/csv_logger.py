"""Scores as a table, one row a value: metrics.csv of the run directory."""

import csv
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from tunesmith.runtime.atomic_files import written_whole

HEADER = ["step", "name", "value"]
log = logging.getLogger(__name__)


class CSVLogger(Logger):
    """Appends `step,name,value`; a resumed run cuts back to its checkpoint, nothing is erased.

    `purge_step` is the first step that will be logged again; None starts or goes on at the end.
    A disk that refuses costs one warning, never the run.
    """

    def __init__(self, run_dir: str | Path, purge_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"
        self._purge_step = purge_step
        self._file: TextIO | None = None
        self._broken = False

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        rows = [[step or 0, name, repr(float(value))] for name, value in metrics.items()]
        self._quietly(lambda: self._append(rows))

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml holds them."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._file is not None:
            self._quietly(self._file.close)
            self._file = None

    def _append(self, rows: list[list[Any]]) -> None:
        if self._file is None:
            truncate_rows(self.path, self._purge_step)
            self._purge_step = None  # once: the test scores open the file again
            self._file = _open(self.path, "a")
        csv.writer(self._file).writerows(rows)
        self._file.flush()

    def _quietly(self, write: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            write()
        except OSError as error:
            self._broken, self._file = True, None
            log.warning("%s is not written any more: %s", self.path.name, error)


def truncate_rows(path: Path, step: int | None) -> None:
    """Drop the rows at `step` and after it, and a torn last row; start the file if it is not there.

    Without a step all whole rows stay.
    """
    kept = [row for row in _rows(path) if step is None or int(row[0]) < step]
    with written_whole(path) as temporary, _open(temporary, "w") as file:
        csv.writer(file).writerows([HEADER, *kept])


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.reader(whole.splitlines()) if _is_row(row)]


def _is_row(row: list[str]) -> bool:
    if len(row) != 3 or not row[0].isdecimal():
        return False
    try:
        return not math.isinf(int(row[0])) and float(row[2]) is not None
    except ValueError:
        return False


def _open(path: Path, mode: str) -> Any:
    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, mode, newline="", encoding="utf-8", opener=private)
