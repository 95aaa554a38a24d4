"""The limits of a model, met before training: its longest input is read once, on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tunesmith.data.batching.datamodule import DataModule
from tunesmith.data.batching.loaders import evaluation_loader
from tunesmith.errors import ModelError, explain
from tunesmith.models.encoder import checkpoints_gradients
from tunesmith.models.encoder_decoder import encoder_of
from tunesmith.tasks.base import Batch, Task

# Their answers do not change with padding: no need to look.
STEADY = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "convbert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "mobilebert",
        "modernbert",
        "mpnet",
        "nomic_bert",
        "roberta",
        "roberta-prelayernorm",
        "squeezebert",
        "xlm-roberta",
        "xlm-roberta-xl",
    }
)
PADDED = 1e-3  # of the largest logit: a greater change is no rounding


def check_limits(task: Task, data: DataModule, max_length: int) -> None:
    """Read and learn from the longest rows once; change nothing.

    Raises ModelError where the model cannot: position ids, kinds of tokens, gradient
    checkpointing; or where its answers change with the padding beside a text.
    """
    batch = _longest(task, data)
    with _untouched(task):
        try:
            task.train()
            loss = task(batch).loss
            if loss.requires_grad:
                loss.backward()
        except Exception as error:
            if explain(error).code != "INTERNAL":  # ours, or memory: no limit of the model
                raise
            raise _explained(task, batch, max_length, error) from error
        if encoder_of(task.model).config.model_type not in STEADY:
            _check_padding(task, data)


def _longest(task: Task, data: DataModule, count: int = 2, last: bool = False) -> Batch:
    """Return a batch of the longest rows of train, or of the shortest."""
    features, lengths, _ = data.encoded["train"]
    order = np.argsort(-lengths, kind="stable")
    chosen = order[-count:] if last else order[:count]
    loader = evaluation_loader(
        features, lengths, data.augment, task.collate, batch_size=count, workers=0, chosen=chosen
    )
    return next(iter(loader))


@contextmanager
def _untouched(task: Task) -> Iterator[None]:
    """Leave random numbers, gradients, buffers and modes as they were."""
    modes = {module: module.training for module in task.modules()}
    buffers = {name: buffer.clone() for name, buffer in task.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for parameter in task.parameters():
                parameter.grad = None
            for name, buffer in task.named_buffers():
                buffer.copy_(buffers[name])
            for module, mode in modes.items():
                module.training = mode


def _explained(task: Task, batch: Batch, max_length: int, error: Exception) -> ModelError:
    """Say which limit it was, as the model's config tells it, and what to set."""
    config: Any = encoder_of(task.model).config
    name, reason = config.model_type, " ".join(str(error).split())[:120]
    kinds, known = batch.get("token_type_ids"), getattr(config, "type_vocab_size", None)
    if kinds is not None and known is not None and int(kinds.max()) >= known:
        what = f"knows {known} kinds of tokens, and its tokenizer marks {int(kinds.max()) + 1}"
        fix = "a tokenizer of this model does not; or set data.text_pair=null"
        return ModelError("MODEL-LIMIT", name, what, fix)
    length = batch["input_ids"].shape[-1] if "input_ids" in batch else max_length
    shorter = _first_that_works(task, batch, length)
    if shorter is not None:
        what = f"cannot read {length} tokens ({type(error).__name__})"
        return ModelError("MODEL-LIMIT", name, what, f"set data.max_length={shorter}")
    if checkpoints_gradients(task.model):
        what = f"cannot learn with gradient checkpointing: {reason}"
        return ModelError("MODEL-LIMIT", name, what, "set trainer.gradient_checkpointing=false")
    return ModelError("MODEL-LIMIT", name, f"cannot read the longest rows: {reason}")


def _first_that_works(task: Task, batch: Batch, length: int) -> int | None:
    """Return the most tokens that can be read, fewer than `length`; None where none can."""
    low, high = 2, length  # high fails
    if not _works(lambda: task(_shortened(batch, length, low))):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _works(lambda m=middle: task(_shortened(batch, length, m))):  # type: ignore[misc]
            low = middle
        else:
            high = middle
    return low


def _shortened(batch: Batch, length: int, count: int) -> Batch:
    return {
        name: value[..., :count] if value.dim() > 1 and value.shape[-1] == length else value
        for name, value in batch.items()
    }


def _works(call: Callable[[], Any]) -> bool:
    try:
        with torch.no_grad():
            call()
    except Exception as error:
        if explain(error).code != "INTERNAL":
            raise
        return False
    return True


def _check_padding(task: Task, data: DataModule) -> None:
    """Refuse a model that answers a text otherwise beside a longer one."""
    together, short = _longest(task, data), _longest(task, data, count=1, last=True)
    length = together.get("input_ids", torch.empty(0)).shape[-1]
    ids = short.get("input_ids")
    if ids is None or ids.dim() != 2 or ids.shape[-1] >= length:
        return
    padded = {
        name: torch.nn.functional.pad(
            value, (0, length - value.shape[-1]), value=_filler(task, name)
        )
        if value.dim() == 2 and value.shape[-1] == ids.shape[-1]
        else value
        for name, value in short.items()
    }
    task.eval()
    with torch.no_grad():
        alone, beside = task(short).logits.float(), task(padded).logits.float()
    if beside.dim() > 2:
        beside = beside[:, : alone.shape[1]]
    if alone.shape != beside.shape:
        return
    change = float((alone - beside).abs().max() / alone.abs().max().clamp(min=1e-3))
    if change > PADDED:
        what = f"its answers change with the padding beside a text (by {change:.0%})"
        name = encoder_of(task.model).config.model_type
        raise ModelError("MODEL-LIMIT", name, what, "such models are not supported")


def _filler(task: Task, name: str) -> int:
    if name == "input_ids":
        return int(task.tokenizer.pad_token_id or 0)
    return -100 if name == "labels" else 0
