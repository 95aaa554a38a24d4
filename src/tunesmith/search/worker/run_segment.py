"""What a worker does: train one segment of a trial, or test the winner's weights."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import config, runs
from tunesmith.config import instantiate
from tunesmith.errors import Interrupted, explain
from tunesmith.models.spec import fingerprint
from tunesmith.pipeline.components import Parts, check_plan, prepare, step_at
from tunesmith.pipeline.finalize import finish, write_metrics
from tunesmith.pipeline.run_context import Place, record_end, write_down
from tunesmith.pipeline.train import Training, assemble, choose_machine, fit, ranks, trained
from tunesmith.reporting.results import COLLAPSE, DIVERGED, NAN, OUT_OF_MEMORY
from tunesmith.search.trial import Result, Segment, result_of
from tunesmith.search.worker.input_cache import InputCache
from tunesmith.training import checkpoint_io
from tunesmith.training.hardware import Hardware, torch_settings

log = logging.getLogger(__name__)

OF_NO_USE = {
    NAN: "its score was never a number",
    COLLAPSE: "gives every row the same answer, at the loss of guessing",
    DIVERGED: "gives every row the same answer, at a loss far above guessing",
}
KINDS = {"TRAIN-NAN": NAN, "TRAIN-BEST": NAN, "TRAIN-OOM": OUT_OF_MEMORY}


def run_segment(segment: Segment, warm: InputCache) -> Result:
    """Do what the segment says; every failure of it is a result, never an exception.

    Only a signal that ends the worker itself gets through.
    """
    began = time.monotonic()
    try:
        result = DO[segment.kind](segment, warm)
    except Interrupted:
        result = result_of(segment, "interrupted")
    except Exception as error:  # whatever it is, it is this trial's and no other's
        log.debug("segment failed", exc_info=True)
        told = explain(error)
        failure = KINDS.get(told.code, f"error:{told.code}")
        result = result_of(
            segment, "failed", failure=failure, error=str(told), exit_code=told.exit_code
        )
    return _timed(result, time.monotonic() - began)


@contextlib.contextmanager
def _ready(cfg: DictConfig, warm: InputCache) -> Iterator[tuple[Hardware, Parts]]:
    """Settle the machine; yield it, and the rows and model of a config that can be trained."""
    machine = choose_machine(cfg)
    with torch_settings(machine, cfg.trainer.deterministic):
        parts = warm.parts(cfg)
        check_plan(cfg, parts, machine)
        yield machine, parts


def _trained(segment: Segment, warm: InputCache) -> Result:
    cfg = OmegaConf.create(dict(segment.config))
    with _ready(cfg, warm) as (machine, parts):
        # In the config every rank reads it. Only encoded rows tell how many steps there are.
        cfg.trainer.pause_at_step = float(segment.until) if segment.until < 1 else None
        training = _train(cfg, machine, parts, segment)
    return _result(segment, machine, parts, training)


def _train(cfg: DictConfig, machine: Hardware, parts: Parts, segment: Segment) -> Training:
    """Train in the segment's directory, which is a run directory, from where it stands."""
    directory = Path(segment.directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with runs.lock(directory), runs.setup_log(directory):
        begun = (directory / "config.yaml").exists()
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        place = Place(directory, begun, checkpoint, segment.hparams, segment.name)
        write_down(cfg, list(segment.overrides), machine, parts, place)
        try:
            with ranks(cfg, segment.overrides, machine, place):
                training = assemble(cfg, machine, parts, place)
                _fit(training, place, training.checkpoints.pause_at_step)
            if training.checkpoints.finished:
                hashes = parts.rows.hashes
                write_metrics(directory, training.module, training.checkpoints, rows=hashes)
        except BaseException as error:
            record_end(directory, error)
            raise
    return training


def _fit(training: Training, place: Place, end: int | None) -> None:
    """Train on; where the segment ends the run pauses, which is no interruption."""
    if end is not None and training.checkpoints.validated_step >= end:
        return  # this was done before: its result was lost with a worker
    try:
        fit(training, place)
    except Interrupted:
        if end is None or training.trainer.global_step < end:
            raise
        runs.write_status(place.directory, state="paused", step=training.trainer.global_step)


def _checked(segment: Segment, warm: InputCache) -> Result:
    """Read the rows and the model of the study's own config; say what they are, what decides."""
    cfg = OmegaConf.create(dict(segment.config))
    with _ready(cfg, warm) as (_, parts):
        rows = {name: len(rows) for name, rows in parts.rows.splits.items()}
        inputs = {"rows": parts.rows.fingerprint, "model": fingerprint(parts.source)}
    metric, mode = config.monitor_of(cfg, instantiate.resolve(cfg.task._target_, trust=cfg.trust))
    return result_of(segment, "done", metric=metric, mode=mode, rows=rows, inputs=inputs)


def _saved(segment: Segment, warm: InputCache) -> Result:
    """Save the best weights of a finished trial as a model; "test" scores its test split too."""
    cfg = OmegaConf.create({**segment.config, "test": segment.kind == "test"})
    directory = Path(segment.directory)
    machine = choose_machine(cfg)
    with torch_settings(machine, cfg.trainer.deterministic):
        parts = prepare(cfg)
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        place = Place(directory, True, checkpoint, {})
        with runs.lock(directory), runs.setup_log(directory):
            training = assemble(cfg, machine, parts, place)
            scores = finish(trained(cfg, machine, parts, place, training))
    return result_of(segment, "done", scores=scores)


def _result(segment: Segment, machine: Hardware, parts: Parts, training: Training) -> Result:
    checkpoints, history = training.checkpoints, training.checkpoints.history
    total = training.module.total_steps
    end = step_at(segment.until, total)
    failure = _failure(history, parts.rows.labels) if segment.until >= 1 else None
    if checkpoints.best is None:
        failure = NAN  # never a number: nothing can be best
    facts = {
        "score": _best_until(history, end, checkpoints.mode),
        "best_step": checkpoints.best_step,
        "scores": {k: v for k, v in checkpoints.best_scores.items() if math.isfinite(v)},
        "step": min(end, max((h["step"] for h in history), default=0)),
        "total_steps": total,
        "steps_per_epoch": training.data.steps_per_epoch,
        "history": history,
        "threads": machine.threads,
        "precision": machine.precision,
        "rows": {name: len(rows) for name, rows in parts.rows.splits.items()},
    }
    state = "failed" if failure == NAN else "done"
    error = OF_NO_USE.get(failure or "")
    return result_of(segment, state, failure=failure, error=error, **facts)


def _best_until(history: list[dict[str, Any]], step: int, mode: str) -> float | None:
    """Return the best score up to a step, so that a rung is judged by what it had seen."""
    scores = [h["score"] for h in history if h["step"] <= step and h["score"] is not None]
    if not scores:
        return None
    return max(scores) if mode == "max" else min(scores)


def _failure(history: list[dict[str, Any]], labels: Any) -> str | None:
    """Tell a training that ended without having learnt: one answer for every row.

    Collapse leaves the loss near that of guessing, ln K; divergence far above it.
    """
    if not history or not labels or not history[-1]["constant"]:
        return None
    loss = history[-1]["train_loss"]
    if loss is None or loss > 1.5 * math.log(max(len(labels), 2)):
        return DIVERGED
    guessed = loss > 0.9 * math.log(max(len(labels), 2))
    return COLLAPSE if guessed else None


DO = {"train": _trained, "check": _checked, "test": _saved, "save": _saved}


def _timed(result: Result, seconds: float) -> Result:
    return replace(result, seconds=seconds, memory=largest_memory())


def largest_memory() -> int:
    """Return the most memory that this process has ever held, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
