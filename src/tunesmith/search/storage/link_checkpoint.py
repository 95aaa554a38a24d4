"""A trial begins from another one's checkpoint: the same files, under a second name."""

import os
from pathlib import Path
from typing import Any

from tunesmith import runs
from tunesmith.reporting.trial_results import Parent
from tunesmith.training.checkpoint_io import MANIFEST

STAGE_ENDS = "stage_ends"  # in status.json: at which steps a run has changed its settings


def link_checkpoint(source: Path, target: Path, parent: Parent) -> bool:
    """Give the run `target` the checkpoint of the run `source`, its best one too.

    Returns False, and does nothing, where `source` has none of that step any more: `target` is
    then trained through all of its stages. What is done twice is done once: a controller may have
    been killed in the middle. Files are never written in place, so each run may go on alone.
    """
    known = runs.read_json(source / "checkpoints" / MANIFEST)
    last = known.get("last.ckpt")
    if not isinstance(last, dict) or last.get("step") != parent.step:
        return False
    folder = target / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = [name for name in ("last.ckpt", "best.ckpt") if name in known]
    try:
        for name in names:
            _link(source / "checkpoints" / name, folder / name)
    except FileNotFoundError:  # a clean-up was killed in the middle
        return False
    ends = [*runs.read_status(source).get(STAGE_ENDS, []), parent.step]
    facts: dict[str, Any] = {"step": parent.step, "parent": dict(parent), STAGE_ENDS: ends}
    runs.write_status(target, "paused", **facts)
    runs.write_json(folder / MANIFEST, {name: known[name] for name in names})  # from now on intact
    return True


def _link(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)  # two names of one file: replaced by nothing
