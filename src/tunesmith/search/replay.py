"""A trial again, from its stored config, in a new directory: is it equal to the bit?"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith import config, runs
from tunesmith.errors import ConfigError, Interrupted, ModelError
from tunesmith.reporting.trial_results import MACHINE
from tunesmith.runtime import environment
from tunesmith.search.storage import saved_study
from tunesmith.search.storage.trial_record import Record, Replicate, lineage
from tunesmith.search.trial import Result, Segment, fault_of_machine

REPLAYS = "replays"  # folder of a study
COMPARED = ("step", "score", "loss", "train_loss")  # of each validation


@dataclass(frozen=True)
class Replayed:
    """What came of one seed of a trial that was trained again."""

    seed: int
    directory: Path
    result: Result
    difference: str | None  # the first one; None: there is none
    weights: str | None  # SHA-256 of both; None: those of the trial are not there to be compared
    changed: Sequence[str]  # of machine and versions since then

    @property
    def line(self) -> str:
        """Say it in one sentence."""
        start = f"seed {self.seed}: "
        if self.difference is not None:
            because = f" ({'; '.join(self.changed)})" if self.changed else ""
            return f"{start}differs: {self.difference}{because}"
        scores = f"{len(self.result.history)} validations in {self.result.step} steps"
        weights = f"weights too (SHA-256 {self.weights[:12]})" if self.weights else ""
        return f"{start}equal to the bit: {scores}; {weights or 'its weights are gone'}"


def replay(study: str | Path, number: int, trust: Sequence[str] = ()) -> list[Replayed]:
    """Train a trial of a study again, each of its seeds, as far as it had got; compare.

    Raises ConfigError where there is no such trial, ModelError where it has no result or its run
    directory is gone, SafetyError where its config asks for more than data may.
    """
    found = saved_study.read(study)
    record = _trial(found, number)
    done = [replicate for replicate in record.ran if replicate.last is not None]
    if not done:
        raise ModelError("STUDY-TRIAL", f"{study} {number}", "has no result yet")
    results = saved_study.results_from(found)
    if results is None:
        raise ModelError("STUDY", str(found.folder), "its store does not say what it searched")
    sources = [_source(found.folder, record, replicate.seed) for replicate in done]
    stages = [_stages(found, record, replicate.seed, results.rungs, trust) for replicate in done]
    folder = _new_folder(found.folder, number)
    replayed = []
    for replicate, source, staged in zip(done, sources, stages, strict=True):
        where = folder / f"seed-{replicate.seed}" if len(record.seeds) > 1 else folder
        segment = _segment(record, replicate, results.rungs, where, staged)
        replayed.append(_compared(replicate, source, segment, _run(segment)))
    return replayed


def _stages(
    study: saved_study.SavedStudy,
    record: Record,
    seed: int,
    rungs: Sequence[float],
    trust: Sequence[str],
) -> list[tuple[float, dict[str, Any]]]:
    """Return the configs that a trial was trained with, each up to which fraction."""
    return [
        (until, _config(_source(study.folder, one, seed), study.folder, trust))
        for until, one in lineage(record, study.records, rungs)
    ]


def _trial(study: saved_study.SavedStudy, number: int) -> Record:
    if not 0 <= number < len(study.records):
        fix = f"there are 0 to {len(study.records) - 1}" if study.records else "there is none"
        raise ConfigError("STUDY-TRIAL", f"{study.folder} {number}", "no such trial", fix)
    return study.records[number]


def _source(folder: Path, record: Record, seed: int) -> Path:
    """Return the run directory of a trial's seed."""
    name = f"trials/{record.number:04d}" + (f"/seed-{seed}" if len(record.seeds) > 1 else "")
    return runs.resolve(runs.inside(folder, name))


def _config(source: Path, study: Path, trust: Sequence[str]) -> dict[str, Any]:
    """Return a trial's stored config, which says its threads and precision, to be run here.

    A stranger's does not say where on this machine is written, and logs nowhere else.
    """
    cfg = config.read_run_config(source, trust)
    folder = runs.runs_of(source)
    cfg["paths"] = {"runs": str(folder), "cache": str(folder / ".cache")}
    cfg["trainer"]["pause_at_step"] = None  # the first segment's end stands there
    cfg |= {"logger": {}, "test": False, "resume": None, "ckpt_path": None}
    config.refuse_masked(cfg, str(source), "train its own command, which types it")
    return cfg


def _new_folder(study: Path, number: int) -> Path:
    """Make replays/<number>-<k> for the first k that is free."""
    parent = runs.inside(study, REPLAYS)
    parent.mkdir(exist_ok=True, mode=0o700)
    k = 1
    while True:
        folder = parent / f"{number:04d}-{k}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            k += 1
        else:
            return folder


def _segment(
    record: Record,
    replicate: Replicate,
    rungs: Sequence[float],
    folder: Path,
    stages: Sequence[tuple[float, Mapping[str, Any]]],
) -> Segment:
    """Return the training of one seed from its start, up to the rung that it has reached."""
    rung = min(max(replicate.scores, default=len(rungs) - 1), len(rungs) - 1)
    return Segment(
        trial=record.number,
        seed=replicate.seed,
        rung=rung,
        until=rungs[rung],
        attempt=0,
        directory=str(folder),
        config=stages[-1][1],
        overrides=record.overrides,
        hparams={},
        stages=stages[:-1],
    )


def _run(segment: Segment) -> Result:
    from tunesmith.search.worker.input_cache import InputCache
    from tunesmith.search.worker.run_segment import run_segment

    result = run_segment(segment, InputCache())
    if result.failure == MACHINE:
        raise fault_of_machine(result)
    if result.state == "interrupted":
        raise Interrupted
    return result


# Comparing


def _compared(replicate: Replicate, source: Path, segment: Segment, result: Result) -> Replayed:
    assert replicate.last is not None
    directory = Path(segment.directory)
    weights = None
    difference = first_difference(replicate.last, result)
    if difference is None and result.state == "done":
        then, now = (weights_of(d / "checkpoints" / "last.ckpt") for d in (source, directory))
        if then is not None and now is not None and then[0] == now[0]:  # a winner may have gone on
            weights = now[1] if then == now else None
            if weights is None:
                what = f"SHA-256 {then[1][:12]}, now {now[1][:12]}"
                difference = f"weights at step {then[0]}: {what}"
    machines = [runs.read_json(d / "environment.json") for d in (source, directory)]
    changed = environment.differences(*machines) if all(machines) else []
    return Replayed(replicate.seed, directory, result, difference, weights, changed)


def first_difference(then: Result, now: Result) -> str | None:
    """Return where two trainings part, in words; None where scores and losses are the same."""
    for old, new in zip(then.history, now.history, strict=False):
        for name in COMPARED:
            then_was, now_is = getattr(old, name), getattr(new, name)
            if not _same(then_was, now_is):
                return f"{name} at step {old.step}: {then_was!r}, now {now_is!r}"
    if then.failure != now.failure:
        return f"{then.failure or 'no failure'}, now {now.failure or 'no failure'}"
    if len(then.history) != len(now.history):
        return f"{len(then.history)} validations, now {len(now.history)}"
    if not _same(then.score, now.score):
        return f"score: {then.score!r}, now {now.score!r}"
    return None


def _same(old: Any, new: Any) -> bool:
    return json.dumps(old) == json.dumps(new)  # to the bit, and NaN equals NaN


def weights_of(checkpoint: Path) -> tuple[int, str] | None:
    """Return the step of a checkpoint and the SHA-256 of its weights; None if it is not there."""
    import torch

    from tunesmith.training import checkpoint_io

    if not checkpoint.is_file():
        return None
    state = checkpoint_io.read(checkpoint)
    digest = hashlib.sha256()
    for name, tensor in sorted(state["state_dict"].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state["global_step"], digest.hexdigest()
