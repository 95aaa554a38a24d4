"""The embeddings and the first blocks of an encoder, where they never learn: computed once.

In evaluation mode they draw no dropout, so a text has the same states behind them in each epoch,
and in each run with the same weights.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.models.encoder import embeddings, encoder_layers
from tunesmith.models.first_token import KNOWN

# Keys of a config that change nothing in front of the head, or in evaluation mode.
WITHOUT_EFFECT = ("architectures", "id2label", "label2id", "problem_type", "_name_or_path")


class _ReachedError(Exception):
    """The states behind the prefix are computed; nothing behind it needs to be."""

    def __init__(self, states: Tensor) -> None:
        self.states = states


class FrozenPrefix:
    """The embeddings and the first `depth` blocks of a model.

    While `states` are set, they stand in for what these would compute, and nothing is computed:
    (B, T, H), or (B, 1, H) where the last block computes the first token alone.
    """

    def __init__(self, model: PreTrainedModel, depth: int) -> None:
        self.model, self.depth = model, depth
        self.states: Tensor | None = None
        self.modules = [embeddings(model), *encoder_layers(model)[:depth]]
        for module in self.modules:
            is_last = module is self.modules[-1]
            module.forward = partial(self._forward, module.forward, is_last)  # type: ignore[method-assign]

    def compute(self, run: Callable[[], Any]) -> Tensor:
        """Return the states of the batch that `run` hands to the model; nothing learns from it."""

        def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
            raise _ReachedError(output.detach())

        handle = self.modules[-1].register_forward_hook(stop)
        try:
            with torch.no_grad():
                run()
        except _ReachedError as reached:
            return reached.states
        finally:
            handle.remove()
        raise AssertionError("the model did not read the batch")

    def fingerprint(self) -> str:
        """Return a SHA-256 of the weights, and of what else decides the states of a text."""
        config: Any = self.model.config
        deciding = {
            key: value
            for key, value in config.to_dict().items()
            if key not in WITHOUT_EFFECT and "dropout" not in key
        }
        facts = [self.depth, config._attn_implementation, deciding]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for module in self.modules:
            for name, tensor in module.state_dict().items():
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _forward(
        self, compute: Callable[..., Tensor], is_last: bool, *inputs: Any, **options: Any
    ) -> Tensor:
        if self.states is None:
            return compute(*inputs, **options)
        if is_last:
            return self.states
        ids = options["input_ids"] if "input_ids" in options else inputs[0]
        # Only its shape is read: masks are made to it.
        return self.states.new_zeros(()).expand(*ids.shape[:2], self.states.shape[-1])


def frozen_depth(model: PreTrainedModel, fixed: list[nn.Module]) -> int | None:
    """Return how many first blocks are within `fixed`, behind the embeddings; None: not those."""
    within = {module for one in fixed for module in one.modules()}
    if not within or embeddings(model) not in within:
        return None
    return next(
        (i for i, block in enumerate(encoder_layers(model)) if block not in within),
        len(encoder_layers(model)),
    )


def reason_against_prefix(model: PreTrainedModel) -> str | None:
    """Say why states cannot stand in for the first blocks of a model; None where they can."""
    kind = model.config.model_type
    if kind not in KNOWN:
        return f"{kind} models are not known to allow it"
    if hasattr(model.base_model, "embeddings_project"):
        return "its embeddings go through a layer of their own"
    return None
