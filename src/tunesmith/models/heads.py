"""The classification head: whose it is, and whether its labels are the data's."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from tunesmith.errors import ConfigError, ModelError
from tunesmith.models.safety import read_json

# Checkpoints of pretraining: their heads are meant to be replaced.
PRETRAINING = re.compile(
    r"(Model|ForMaskedLM|ForPreTraining|ForNextSentencePrediction|ForCausalLM)$"
)
NEW_HEAD = "set model.new_head=true"


def class_of(config: PreTrainedConfig, name: str) -> type[PreTrainedModel]:
    """Return the architecture's model with a classification head; ModelError if it has none."""
    known: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in known or config.is_encoder_decoder:
        what = f"{config.model_type} models are not encoders that can classify"
        raise ModelError("MODEL-CONFIG", name, what)
    return known[type(config)]


def skeleton(config: PreTrainedConfig, name: str) -> PreTrainedModel:
    """Build the model without memory for its weights: shows what its parts are called."""
    with torch.device("meta"):
        return class_of(config, name)(config)


def head_names(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters outside the encoder."""
    encoder = f"{model.base_model_prefix}."
    return {name for name, _ in model.named_parameters() if not name.startswith(encoder)}


def has_own_head(
    raw: Mapping[str, Any], model: PreTrainedModel, tensors: set[str], name: str
) -> bool:
    """Tell whether a checkpoint brings a classification head.

    Raises ModelError (MODEL-HEAD) if it brings another task's.
    """
    made_as = [a for a in raw.get("architectures") or [] if isinstance(a, str)]
    if type(model).__name__ in made_as:
        return True
    if "qa_outputs.weight" in tensors or not all(PRETRAINING.search(a) for a in made_as):
        what = f"its head is for another task ({', '.join(made_as) or 'question answering'})"
        raise ModelError("MODEL-HEAD", name, what, NEW_HEAD)
    return not made_as and bool(head_names(model) & tensors)


def check_labels(
    folder: Path, config: PreTrainedConfig, labels: Sequence[str] | None, problem: str, name: str
) -> None:
    """Raise ModelError unless the checkpoint's head means what the task does."""
    theirs = _labels_of(folder, config)
    found = config.problem_type or ("regression" if len(theirs) == 1 else problem)
    if "regression" in (found, problem) and len(theirs) > 1:
        what = f"checkpoint has {_listed(theirs)}, the task is regression"
        raise ModelError("MODEL-LABELS", "", what, NEW_HEAD)
    if found != problem:
        what = f"its head is for {_words(found)}, the task is {_words(problem)}"
        raise ModelError("MODEL-HEAD", name, what, NEW_HEAD)
    if labels is None or problem == "regression":
        return
    if len(theirs) != len(labels):
        what = f"checkpoint has {_listed(theirs)}, data has {_listed(labels, '')}"
        raise ModelError("MODEL-LABELS", "", what, NEW_HEAD)
    if not all(a in (b, f"LABEL_{b}") for a, b in zip(theirs, labels, strict=True)):
        what = f"checkpoint has {_listed(theirs)}, data {_listed(labels)}: not the same, in order"
        raise ModelError("MODEL-LABELS", "", what, NEW_HEAD)


def set_labels(config: PreTrainedConfig, labels: Sequence[str] | None, problem: str) -> None:
    """Write labels and kind of problem into a config, in place; without labels it keeps its own."""
    config.problem_type = problem  # type: ignore[assignment]
    if problem == "regression":
        config.num_labels = 1
    elif labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}


def need_labels(labels: Sequence[str] | None, problem: str) -> None:
    """Raise ConfigError if a new head would not know how many labels there are."""
    if problem != "regression" and not labels:
        raise ConfigError("CONF-LABELS", "data.labels", "a new head needs labels, there are none")


def _labels_of(folder: Path, config: PreTrainedConfig) -> list[str]:
    if not (folder / "labels.json").is_file():
        return [str(label) for _, label in sorted((config.id2label or {}).items())]
    by_name = read_json(folder / "labels.json")
    if not all(type(number) is int for number in by_name.values()):
        raise ModelError("MODEL-CORRUPT", "labels.json", "does not give each label a number")
    return sorted(by_name, key=lambda label: by_name[label])


def _listed(labels: Sequence[str], noun: str = " labels") -> str:
    shown = ", ".join(labels[:4]) + (", …" if len(labels) > 4 else "")
    return f"{len(labels)}{noun} ({shown})"


def _words(problem: str) -> str:
    return problem.removesuffix("_classification").replace("_", "-")
