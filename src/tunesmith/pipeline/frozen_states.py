"""Layers that never learn are computed once for all epochs, and for all runs that share them."""

import hashlib
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from tunesmith.config.run_config import RunConfig
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.data.batching.loaders import evaluation_loader, no_augmentation
from tunesmith.data.batching.state_cache import STATES, Computed, cached_states
from tunesmith.models.frozen_prefix import FrozenPrefix, frozen_depth, reason_against_prefix
from tunesmith.runtime import environment
from tunesmith.tasks.base import Batch, Task
from tunesmith.tasks.capabilities import Augments, Capturable
from tunesmith.training.adapt.base import Adaptation
from tunesmith.training.evaluation import autocast, torch_device
from tunesmith.training.hardware import Hardware

log = logging.getLogger(__name__)

FORMAT = 1  # of the files; a higher one leaves older files alone
SPLITS = ("train", "validation")  # those that are read more than once


def use_cached_states(
    config: RunConfig,
    hardware: Hardware,
    task: Task,
    adaptation: Adaptation,
    data: DataModule,
    has_graphs: bool,
) -> FrozenPrefix | None:
    """Compute the frozen layers of each feature now, or open what was computed before.

    From then on batches bring those states, and the task's model begins behind these layers. None
    where they are computed in each step, as train.log then says. Raises MachineError.
    """
    if not adaptation.fixed:
        return None
    reason = _reason_against(config, hardware, task, adaptation, has_graphs)
    if reason is None:
        depth = frozen_depth(task.model, adaptation.fixed)
        if depth is None:
            return None
        prefix = FrozenPrefix(task.model, depth)
        reason = _prepare(config, hardware, task, adaptation, data, prefix)
    if reason is not None:
        log.info("frozen layers are computed in each step: %s", reason)
        return None
    task.register_forward_pre_hook(lambda _, inputs: _set(prefix, inputs[0]))
    task.register_forward_hook(lambda *_: _clear(prefix), always_call=True)
    return prefix


def _reason_against(
    config: RunConfig, hardware: Hardware, task: Task, adaptation: Adaptation, has_graphs: bool
) -> str | None:
    reasons = {
        "adapt.cache_gb=0": adaptation.cache_gb == 0,
        "several devices": hardware.processes > 1,
        "steps are CUDA graphs": has_graphs,
        "trainer.compile=true": config.trainer.compile,
        "trainer.gradient_checkpointing=true": config.trainer.gradient_checkpointing,
        f"{type(task).__name__} reads more than a text in one way": not isinstance(task, Capturable)
        or isinstance(task, Augments),
    }
    against = next((reason for reason, holds in reasons.items() if holds), None)
    return against or reason_against_prefix(task.model)


def _prepare(
    config: RunConfig,
    hardware: Hardware,
    task: Task,
    adaptation: Adaptation,
    data: DataModule,
    prefix: FrozenPrefix,
) -> str | None:
    """Give the splits their states; say why not where they are no float32, or too many."""
    for module in prefix.modules:
        module.eval()
    task.to(torch_device(hardware))
    splits = [split for split in SPLITS if split in data.encoded]
    chosen, sample = next(_computed(task, data, splits[0], hardware, prefix))
    if sample.dtype != torch.float32:
        return f"their states are {str(sample.dtype).removeprefix('torch.')}"
    width, is_first_alone = sample.shape[-1], sample.shape[1] == 1
    if not is_first_alone and sample.shape[1] != data.encoded[splits[0]].lengths[chosen].max():
        return "a feature's length is not that of what the model reads"
    counts = {
        split: np.ones_like(data.encoded[split].lengths)
        if is_first_alone
        else data.encoded[split].lengths
        for split in splits
    }
    limit = int(adaptation.cache_gb * 1e9)
    size = sum(4 * width * int(each.sum()) for each in counts.values())
    if size > limit:
        return f"their states take {size / 1e9:.1f} GB, adapt.cache_gb={adaptation.cache_gb:g}"
    key = _key(config, hardware, data, prefix)
    for split in splits:
        path = Path(config.paths.cache) / "states" / f"{key[:40]}-{split}.npy"
        compute = partial(_in_numpy, _computed(task, data, split, hardware, prefix))
        data.states[split] = cached_states(path, counts[split], width, compute, limit)
    log.info("frozen layers are computed once (%.0f MB in %s)", size / 1e6, path.parent)
    return None


def _computed(
    task: Task, data: DataModule, split: str, hardware: Hardware, prefix: FrozenPrefix
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield features of a split and their states (B, T, H), or (B, 1, H).

    They are computed in the batches of an evaluation: what `evaluate` scores later is the same to
    the bit.
    """
    features, lengths, _ = data.encoded[split]
    loader = evaluation_loader(
        features,
        lengths,
        no_augmentation,
        task.collate,
        batch_size=data.eval_batch_size,
        workers=0,
    )
    device: Any = torch_device(hardware)
    for chosen, batch in zip(loader.batch_sampler, loader, strict=True):  # type: ignore[arg-type]
        inputs = move_data_to_device(batch, device)
        with autocast(hardware.precision, device):
            states = prefix.compute(partial(task, inputs))
        yield chosen, states.cpu()


def _in_numpy(computed: Iterator[tuple[list[int], Tensor]]) -> Iterator[Computed]:
    return ((features, states.numpy()) for features, states in computed)


def _key(config: RunConfig, hardware: Hardware, data: DataModule, prefix: FrozenPrefix) -> str:
    """Name all that decides the bits of the states, the machine's threads and libraries too."""
    facts = {
        "format": FORMAT,
        "features": [data.key, data.eval_batch_size],
        "weights": prefix.fingerprint(),
        "libraries": [torch.__version__, transformers.__version__],
        "processor": [environment.processor(), hardware.accelerator, hardware.threads, *_gpu()],
        "precision": [hardware.precision, hardware.float32_matmul_precision],
        "deterministic": config.trainer.deterministic,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _gpu() -> list[Any]:
    """Return what decides the bits of a GPU; nothing where there is none."""
    if not torch.cuda.is_available():
        return []
    versions = [torch.version.cuda, torch.backends.cudnn.version()]
    return [torch.cuda.get_device_name(), torch.cuda.get_device_capability(), *versions]


def _set(prefix: FrozenPrefix, batch: Batch) -> None:
    prefix.states = batch.get(STATES)


def _clear(prefix: FrozenPrefix) -> None:
    prefix.states = None
