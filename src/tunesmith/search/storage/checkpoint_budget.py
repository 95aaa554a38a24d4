"""Checkpoints of a study: kept only of what can still be promoted, confirmed or tested.

A trial that is promoted after its checkpoint is gone is trained from its start again, to the
same bits: what is deleted costs time, and changes no decision.
"""

import contextlib
import logging
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tunesmith.reporting.trial_results import COMPLETE, FAILED, PAUSED, RUNNING
from tunesmith.search.storage.trial_record import Record
from tunesmith.training.checkpoint_io import MANIFEST

log = logging.getLogger(__name__)

LEAST_KEPT = 3  # whole trials whose weights stay, for a look at them


class CheckpointBudget:
    """Deletes the checkpoints of trials, those first that are least likely to be needed."""

    def __init__(self, folder: Path, limit: float | None, top: int, mode: str) -> None:
        self.trials, self.confirm, self.limit = folder / "trials", folder / "confirm", limit
        self.top = max(top, LEAST_KEPT)
        self.sign = 1 if mode == "max" else -1
        self.whole: list[Record] = []  # complete trials whose checkpoints are still there
        self._is_said = False  # that the limit is too low for what must stay

    def reopen(self, records: list[Record], last_rung: int) -> None:
        """Remember the whole trials of an earlier start that kept their checkpoints."""
        whole = [r for r in records if r.state(last_rung) == COMPLETE and self._has_any(r)]
        self.whole = sorted(whole, key=self._worth, reverse=True)

    def reconcile(self, record: Record, records: list[Record], last_rung: int) -> None:
        """After a segment: delete what it made needless, then what is over the limit."""
        state = record.state(last_rung)
        if state == FAILED or (record.failure is not None and state != RUNNING):
            self._delete(record)
        elif state == COMPLETE and record not in self.whole:
            self.whole = sorted([*self.whole, record], key=self._worth, reverse=True)
            for needless in self.whole[self.top :]:
                self._delete(needless)
            self.whole = self.whole[: self.top]
        self.shrink(records, last_rung)

    def shrink(self, records: list[Record], last_rung: int) -> None:
        """Delete what is over the limit, the confirmation's runs counted.

        Paused trials from the lowest rung and the worst score on; the best whole one stays, which
        is said once where it is over the limit by itself.
        """
        if self.limit is None:
            return
        used = self._used()
        paused = [r for r in records if r.state(last_rung) == PAUSED]
        candidates = [*sorted(paused, key=self._worth), *reversed(self.whole[1:])]
        for record in candidates:
            if used <= self.limit:
                return
            self._delete(record)
            used = self._used()  # a copy may still hold the same file by another name
        if used > self.limit and not self._is_said:
            self._is_said = True
            what = "search.max_disk: the %.1f MB that must stay are more than its %.1f MB"
            log.warning(what, used / 1e6, self.limit / 1e6)

    def _worth(self, record: Record) -> tuple[int, float, int]:
        rungs = record.rungs
        return rungs[-1] if rungs else -1, self.sign * (record.score or 0.0), -record.number

    def _has_any(self, record: Record) -> bool:
        return next(checkpoints_of(self._folder_of(record)), None) is not None

    def _used(self) -> int:
        return bytes_of(self.trials) + bytes_of(self.confirm)

    def _delete(self, record: Record) -> None:
        delete_checkpoints(self._folder_of(record))

    def _folder_of(self, record: Record) -> Path:
        return self.trials / f"{record.number:04d}"


def delete_checkpoints(trial: Path) -> None:
    """Delete the checkpoints of a trial or run, first what says that they are there."""
    for folder in checkpoints_of(trial):
        with contextlib.suppress(OSError):
            (folder / MANIFEST).unlink()
        shutil.rmtree(folder, ignore_errors=True)


def checkpoints_of(trial: Path) -> Iterator[Path]:
    """Yield the checkpoint folders of a trial: one for each replicate."""
    for folder in (trial, *sorted(trial.glob("seed-*"))):
        if (folder / "checkpoints").is_dir() and not folder.is_symlink():
            yield folder / "checkpoints"


def bytes_of(folder: Path) -> int:
    """Return what the files below take; a file with two names counts once."""
    files = {}
    for path in folder.rglob("*"):
        try:
            facts = path.lstat()
        except OSError:
            continue  # deleted meanwhile by the worker that owns it
        if stat.S_ISREG(facts.st_mode):
            files[facts.st_ino] = facts.st_size
    return sum(files.values())
