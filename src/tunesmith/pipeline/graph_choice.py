"""Whether the steps of a run are CUDA graphs, and why not: by its config, machine and task."""

import logging
from collections.abc import Mapping
from typing import Any

from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from tunesmith.config import instantiate
from tunesmith.config.run_config import RunConfig
from tunesmith.errors import ConfigError
from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import Capturable
from tunesmith.training import cuda_graphs, distributed
from tunesmith.training.hardware import Hardware

log = logging.getLogger(__name__)

# Their forward pass reads no number on the host (tests/training/test_cuda_graphs.py).
MODELS = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})


def graphed_lengths(
    config: RunConfig, hardware: Hardware, task: Task, max_length: int
) -> tuple[int, ...]:
    """Return the lengths of batches whose steps are CUDA graphs; none where steps are none.

    Raises ConfigError where they are asked for and cannot be.
    """
    reason = reason_against_graphs(config, hardware, task)
    if reason is None:
        return cuda_graphs.lengths_up_to(max_length)
    if hardware.accelerator == "gpu" and distributed.rank() == 0:
        log.info("steps are no CUDA graphs: %s", reason)
    return ()


def reason_against_graphs(
    config: RunConfig, hardware: Hardware, task: Task | None = None
) -> str | None:
    """Say why steps are no CUDA graphs, as far as is known without a task; None where they are.

    Raises ConfigError where they are asked for and cannot be.
    """
    asked = config.trainer.cuda_graphs
    if asked is False:
        return "trainer.cuda_graphs=false"
    reason = reason_in_config(config, hardware)
    if reason is None and task is not None:
        reason = reason_in_task(task)
    if reason is not None and asked is True:
        fix = "set it to auto, which says why they are not used"
        raise ConfigError("CONF-GRAPHS", "trainer.cuda_graphs=true", reason, fix)
    return reason


def reason_in_config(config: RunConfig, hardware: Hardware) -> str | None:
    """Say why steps cannot be graphs whatever they train; None where they can."""
    optimizer, scheduler = (
        instantiate.resolve(group[instantiate.TARGET], trust=config.trust)
        for group in (config.optimizer, config.scheduler)
    )
    is_fused_adam = optimizer in (Adam, AdamW) and bool(config.optimizer.get("fused"))
    return _first_that_holds(
        {
            "they need a GPU": hardware.accelerator != "gpu",
            "several devices wait for each other": hardware.processes > 1,
            f"precision {hardware.precision} skips steps": hardware.precision == "16-mixed",
            "a batch has several micro-batches": config.trainer.micro_batches > 1,
            "gradient checkpointing computes twice": config.trainer.gradient_checkpointing,
            "the optimizer is no fused Adam or AdamW": not is_fused_adam,
            f"{scheduler.__name__} may change more than the rate": not _sets_rates(scheduler),
        }
    )


def reason_in_task(task: Task) -> str | None:
    """Say why steps of a task cannot be graphs, by its code, its loss or its model."""
    kind, loss, own = task.model.config.model_type, type(task.loss).__name__, type(task).__name__
    return _first_that_holds(
        {
            f"{own} chooses by what is in a batch": not isinstance(task, Capturable),
            f"{loss} is not known to allow it": not isinstance(task.loss, task.losses),
            f"{kind} models are not known to allow it": kind not in MODELS,
        }
    )


def _first_that_holds(reasons: Mapping[str, bool]) -> str | None:
    return next((reason for reason, holds in reasons.items() if holds), None)


def _sets_rates(scheduler: Any) -> bool:
    """Tell whether a graph, in which all else of an optimizer is fixed, follows a schedule."""
    known = scheduler.__module__ in ("torch.optim.lr_scheduler", "tunesmith.training.schedulers")
    return known and scheduler not in (CyclicLR, OneCycleLR)  # those set momentum too
