"""The states in a checkpoint, held against the run that is to go on from them.

A checkpoint may come from a stranger. That it holds no code is seen to when it is read; that its
tensors and numbers are of the shapes and kinds that this run's own would be is seen to here:
fused optimizers read and write wherever a state's shape sends them.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch.optim import Optimizer

from tunesmith.errors import ModelError

FACTORED = ("Adafactor",)  # optimizers whose states are smaller than the parameter
CORRUPT = "CKPT-CORRUPT"


class Progress(BaseModel):
    """What a run's own callback keeps."""

    model_config = ConfigDict(strict=True, extra="forbid")

    history: list[dict[str, Any]]
    best_step: int | None
    best_scores: dict[str, float]
    reference: float | None
    waited: int
    validated_step: int
    finished: bool
    saved_steps: dict[str, int]


def tensors_of(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in nested mappings and lists, each under a dotted name."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_of(part, f"{name}.{key}"[:120].lstrip("."))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_of(part, name)


def check_tensors(state: Any, path: str) -> None:
    """Raise ModelError where a tensor of a checkpoint is not whole and in memory."""
    for name, tensor in tensors_of(state):
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ModelError(CORRUPT, path, f"{name} is no plain tensor")
        size = tensor.numel() * tensor.element_size()
        if not tensor.is_contiguous() or tensor.untyped_storage().nbytes() < size:
            raise ModelError(CORRUPT, path, f"{name} is a tensor without memory of its own")


def check_progress(progress: Any, path: str) -> None:
    """Raise ModelError where the record of the best step is none."""
    try:
        Progress.model_validate(progress)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ModelError(CORRUPT, path, f"its record of the run is broken at {where!r}") from None


def sizes_of_groups(states: Any, path: str) -> list[int]:
    """Return how many parameters each group of a saved optimizer has."""
    try:
        return [len(group["params"]) for group in states[0]["param_groups"]]
    except (TypeError, LookupError):
        raise ModelError(CORRUPT, path, "has no state of one optimizer") from None


def check_optimizer_state(states: Any, optimizer: Optimizer, path: str) -> None:
    """Raise ModelError unless the states are those of such an optimizer over these parameters."""
    if not isinstance(states, list) or len(states) != 1 or not isinstance(states[0], dict):
        raise ModelError(CORRUPT, path, "has no state of one optimizer")
    groups, state = states[0].get("param_groups"), states[0].get("state")
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(state, dict) or not isinstance(groups, list) or len(groups) != len(own):
        raise ModelError(CORRUPT, path, "its optimizer has other groups of parameters")
    for known, group in zip(own, groups, strict=True):
        if not isinstance(group, dict) or group.get("params") != known["params"]:
            raise ModelError(CORRUPT, path, "its optimizer has other parameters")
        for key, value in known.items():
            if not alike(value, group.get(key)):
                raise ModelError(CORRUPT, path, f"its optimizer's {key} is {group.get(key)!r:.40}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    exact = type(optimizer).__module__.startswith("torch.") and (
        type(optimizer).__name__ not in FACTORED
    )
    for index, values in state.items():
        known = type(index) is int and 0 <= index < len(parameters)
        if not known or not isinstance(values, dict):
            raise ModelError(CORRUPT, path, f"its optimizer has a state of parameter {index!r:.40}")
        for name, value in values.items():
            if not _fits(value, parameters[index], exact):
                what = f"its optimizer's {name} does not fit parameter {index}"
                raise ModelError(CORRUPT, path, what)


def _fits(value: Any, parameter: torch.Tensor, exact: bool) -> bool:
    if not isinstance(value, torch.Tensor):
        return value is None or (isinstance(value, int | float) and math.isfinite(value))
    if not value.is_floating_point():
        return False
    return value.numel() == 1 or not exact or value.shape == parameter.shape


def check_kinds(own: Any, other: Any, name: str, path: str) -> None:
    """Raise ModelError where a state is not made as this run's own is."""
    if not alike(own, other):
        raise ModelError(CORRUPT, path, f"its {name} is not that of a run")


def alike(own: Any, other: Any) -> bool:
    """Tell whether values are of one kind, and of the same keys; own may have begun empty."""
    if isinstance(own, Mapping):
        return isinstance(other, Mapping) and all(
            key in other and alike(value, other[key]) for key, value in own.items()
        )
    if isinstance(own, list | tuple):
        if not isinstance(other, list | tuple) or (own and len(own) != len(other)):
            return False
        return all(alike(a, b) for a, b in zip(own, other, strict=False))
    if isinstance(own, torch.Tensor):
        return isinstance(other, torch.Tensor | float) or type(other) is int
    if isinstance(own, bool) or own is None:
        return other is None or isinstance(other, bool | int | float | str | list | dict)
    if isinstance(own, int | float):
        is_number = isinstance(other, int | float) and not isinstance(other, bool)
        return is_number and not math.isnan(other)
    return isinstance(other, type(own))
