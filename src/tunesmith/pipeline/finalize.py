"""The end of a run: the best weights, the model on disk, the test, the scores."""

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith import runs
from tunesmith.config.run_config import RunConfig
from tunesmith.data.lazy_rows import LazyRows
from tunesmith.data.prepare.media import without_files
from tunesmith.errors import ModelError
from tunesmith.models import media_encoder
from tunesmith.models.encoder import save
from tunesmith.pipeline.components import Training
from tunesmith.pipeline.hints import hints
from tunesmith.pipeline.inputs import RunInputs
from tunesmith.pipeline.run_context import RunContext
from tunesmith.reporting.formatting import score
from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import HasModalities, is_saved_with_encoder
from tunesmith.training import checkpoint_io
from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.evaluation import evaluate
from tunesmith.training.hardware import Hardware
from tunesmith.training.lightning_module import log_scalars

log = logging.getLogger(__name__)


def finalize(
    config: RunConfig,
    inputs: RunInputs,
    context: RunContext,
    hardware: Hardware,
    training: Training,
) -> dict[str, float]:
    """Take the best weights, save the model, test it, and write metrics.json last."""
    rows, checkpoints, task = inputs.rows, training.checkpoints, training.module.task
    if checkpoints.best_step is None:
        raise ModelError("TRAIN-BEST", checkpoints.monitor, "was never a number: nothing is best")
    if not _has_best_weights(training, hardware):
        best = checkpoint_io.read(context.directory / "checkpoints" / "best.ckpt")
        training.module.load_state_dict(best["state_dict"])
    save_model(task, context.directory / "model")
    scores = dict(checkpoints.best_scores)
    if "test" in rows.hidden_labels:
        log.warning("test has hidden labels (-1): predict only, not evaluate")
    elif config.test and "test" in rows.splits:
        scores |= _test(hardware, training)
        _count_test_use(Path(config.paths.runs), context.directory, rows.hashes["test"])
    baseline = _baseline(task, inputs, scores)
    _warn_if_nothing_was_learned(checkpoints, baseline)
    answers = training.module.evaluation.answers
    for hint in hints(config, checkpoints, answers, training.module.total_steps):
        log.warning("%s", hint)
    write_metrics(context.directory, training, scores, baseline, rows.hashes)
    return scores


def _has_best_weights(training: Training, hardware: Hardware) -> bool:
    """Tell whether training has just ended at the best step; a sharded module has but a part."""
    is_whole = hardware.strategy in ("auto", "ddp")
    return is_whole and training.trainer.global_step == training.checkpoints.best_step


def save_model(task: Task, folder: Path) -> None:
    """Write the weights for plain transformers, and with them what else the task has learned."""
    state = task.state_dict().items()
    extra = {name: value for name, value in state if not is_saved_with_encoder(task, name)}
    encoders: Any = task.encoders.items() if isinstance(task, HasModalities) else ()
    writers = {name: partial(media_encoder.save, encoder) for name, encoder in encoders}
    save(task.model, task.tokenizer, folder, labels=task.labels, extra=extra, encoders=writers)


def _test(hardware: Hardware, training: Training) -> dict[str, float]:
    """Score the test split on one device, whatever the training ran on; log the scores."""
    module, checkpoints, data = training.module, training.checkpoints, training.data
    evaluation = evaluate(
        module.task,
        data.evaluation_loader("test"),
        data.encoded["test"],
        module.rows["test"],
        replace(hardware, devices=1, num_nodes=1, strategy="auto"),
        module.learnt_languages,
    )
    scores = evaluation.scores_of("test")
    loggers = training.trainer.loggers
    log_scalars(loggers, scores, checkpoints.best_step or 0)
    for logger in loggers:
        logger.finalize("success")
    return scores


def _count_test_use(home: Path, directory: Path, rows: str) -> None:
    uses = runs.count_test_use(directory, rows, home)
    if uses > 1:
        log.warning("test set used %d times: the best of many looks is lucky", uses)
    runs.write_status(directory, state="running", test_uses=uses)


def _baseline(task: Task, inputs: RunInputs, scores: Mapping[str, float]) -> dict[str, float]:
    """Score the answers that need no reading, on the splits that were scored."""
    splits = inputs.rows.splits
    baseline: dict[str, float] = {}
    for split, prefix in (("validation", "val"), ("test", "test")):
        if split in splits and f"{prefix}/{task.monitor}" in scores:
            rows = LazyRows(without_files(splits[split]))
            answers = task.baseline(splits["train"], rows)
            with warnings.catch_warnings():  # a constant has no correlation: that is the point
                warnings.simplefilter("ignore")
                reached = task.score(answers, rows) if answers else {}
            baseline |= {f"{prefix}/{name}": value for name, value in reached.items()}
    return baseline


def _warn_if_nothing_was_learned(
    checkpoints: CheckpointCallback, baseline: Mapping[str, float]
) -> None:
    best, trivial = checkpoints.best, baseline.get(checkpoints.monitor, math.nan)
    if best is not None and (best <= trivial if checkpoints.mode == "max" else best >= trivial):
        message = "%s %s is no better than the answer that reads nothing (%s)"
        log.warning(message, checkpoints.monitor, score(best), score(trivial))


def write_metrics(
    directory: Path,
    training: Training,
    scores: Mapping[str, float] | None = None,
    baseline: Mapping[str, float] | None = None,
    rows: Mapping[str, str] | None = None,
) -> None:
    """Write metrics.json, which says that the run is complete; by default with no test scores.

    `baseline` is what the task's baseline answers score, `rows` the hash of each split's rows.
    """
    checkpoints = training.checkpoints
    record = {
        "monitor": checkpoints.monitor,
        "mode": checkpoints.mode,
        "best": checkpoints.best,
        "best_step": checkpoints.best_step,
        "steps": training.module.total_steps,
        "scores": checkpoints.best_scores if scores is None else scores,
        "baseline": baseline or {},
        "rows": rows or {},
    }
    step = checkpoints.saved_steps["last.ckpt"]
    runs.write_status(directory, state="finished", step=step, syncs_folder=False)
    runs.write_json(directory / "metrics.json", record)
