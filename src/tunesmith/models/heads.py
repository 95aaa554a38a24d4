"""The head on the encoder: which one a task has, and whether a checkpoint brings it."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING,
    MODEL_FOR_PRETRAINING_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    EncoderDecoderModel,
    PreTrainedConfig,
    PreTrainedModel,
)

from tunesmith.errors import ConfigError, ModelError
from tunesmith.models.encoder_decoder import CROSS, Role, configs_of, decoder_of, is_pair
from tunesmith.models.untrusted_files import inside, read_json

# Checkpoints of pretraining: their heads are meant to be replaced.
PRETRAINING = re.compile(
    r"(Model|ForMaskedLM|ForPreTraining|ForNextSentencePrediction|ForCausalLM)$"
)
NEW_HEAD = "set model.new_head=true"


@dataclass(frozen=True)
class Head:
    """What transformers puts on a checkpoint for one kind of problem."""

    models: Any  # {config class: model class}; of a pair: that of its decoder
    does: str  # ends the sentence "are not encoders that can ..."
    outputs: int | None = None  # of a head whose size no label decides; None: one a label
    problem_type: str | None = None  # as the config names it, where one model class serves several
    among: Any = None  # {config class: ...}: of `models` only these do it
    instead: str = ""  # what to do with any other model
    role: Role = Role.ENCODER  # what the checkpoint becomes
    reads_first_token: bool = False  # of the last layer, and nothing else, in BERT and its like

    def takes(self, config: PreTrainedConfig) -> bool:
        """Tell whether an architecture can do it."""
        known = type(config) in self.models and (self.among is None or type(config) in self.among)
        if not known or config.is_encoder_decoder:
            return False
        return self.role is Role.ENCODER or _reads_others(self.models[type(config)])


def _reads_others(model_class: type[PreTrainedModel]) -> bool:
    """Tell whether a decoder is an encoder's code, which can have cross-attention, as BERT's."""
    return "encoder_hidden_states" in inspect.signature(model_class.forward).parameters


_CLASSIFY = (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, "classify")
_WRITE = (MODEL_FOR_CAUSAL_LM_MAPPING,)
_WRITERS: dict[str, Any] = {
    "outputs": 2,
    "among": MODEL_FOR_MASKED_LM_MAPPING,  # the rest are no encoders
    "instead": "BERT, RoBERTa, ELECTRA and XLM-R can",
}
_FIRST: dict[str, Any] = {"reads_first_token": True}
SINGLE_LABEL = Head(*_CLASSIFY, problem_type="single_label_classification", **_FIRST)
MULTI_LABEL = Head(*_CLASSIFY, problem_type="multi_label_classification", **_FIRST)
REGRESSION = Head(*_CLASSIFY, outputs=1, problem_type="regression", **_FIRST)
TOKEN_CLASSIFICATION = Head(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, "tag words")
QUESTION_ANSWERING = Head(MODEL_FOR_QUESTION_ANSWERING_MAPPING, "find answers", outputs=2)
MULTIPLE_CHOICE = Head(MODEL_FOR_MULTIPLE_CHOICE_MAPPING, "choose", outputs=1, **_FIRST)
MASKED_LM = Head(MODEL_FOR_MASKED_LM_MAPPING, "fill in words", outputs=2)
MASKED_LM_AND_PAIRS = Head(
    MODEL_FOR_PRETRAINING_MAPPING,
    "judge pairs of segments",
    outputs=2,
    among=MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING,  # elsewhere it means other things
    instead="task=mlm needs no pairs",
)
CAUSAL_LM = Head(*_WRITE, "continue texts", **_WRITERS, role=Role.DECODER)
ENCODER_DECODER = Head(*_WRITE, "write texts too", **_WRITERS, role=Role.PAIR)
NO_HEAD = Head(  # what a task does with the encoder's output is its own
    MODEL_MAPPING, "embed texts", outputs=2, among=MODEL_FOR_MASKED_LM_MAPPING
)


def class_of(config: PreTrainedConfig, name: str, head: Head) -> type[PreTrainedModel]:
    """Return the architecture's model with this head; ModelError if it has none."""
    for part in configs_of(config):
        if not head.takes(part):
            what = f"{part.model_type} models are not encoders that can {head.does}"
            raise ModelError("MODEL-CONFIG", name, what, head.instead)
    if is_pair(config):
        return EncoderDecoderModel
    found = head.models[type(config)]
    return found[0] if isinstance(found, tuple) else found


def model_kwargs(model: type[PreTrainedModel]) -> dict[str, Any]:
    """Return the arguments of a model's class other than its config.

    A bare encoder takes the pooler as an option: it gets none, as no loss would reach it.
    """
    takes = "add_pooling_layer" in inspect.signature(model).parameters
    return {"add_pooling_layer": False} if takes else {}


def meta_model(config: PreTrainedConfig, name: str, head: Head) -> PreTrainedModel:
    """Build the model without memory for its weights: shows what its parts are called."""
    model_class = class_of(config, name, head)
    with torch.device("meta"):
        return model_class(config, **model_kwargs(model_class))


@contextmanager
def head_on_tokens(model: PreTrainedModel, chosen: torch.Tensor) -> Iterator[None]:
    """Let a head that takes each token by itself see only those of `chosen` (B, T).

    Its logits are then (1, M, ...) for the M chosen ones, in the order of rows and places: a
    vocabulary's logits for every token would be larger than the model.
    """

    def pick(module: Any, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output.last_hidden_state[chosen].unsqueeze(0)  # (1, M, H)
        return output

    handle = model.base_model.register_forward_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def is_headless(model: PreTrainedModel) -> bool:
    """Tell whether a model is an encoder without a head."""
    return model.base_model is model and not is_pair(model.config)


def head_names(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters that no encoder has; of a pair also cross-attention.

    An output layer that is tied to the embeddings is the encoder's; a bare encoder has no head.
    """
    if is_headless(model):
        return set()
    theirs = {
        id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name.startswith(_encoders(model)) and CROSS not in name
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) not in theirs}


def _encoders(model: PreTrainedModel) -> tuple[str, ...]:
    """Return how the names begin of what an encoder has; a pair has it twice."""
    if is_pair(model.config):
        return "encoder.", f"decoder.{decoder_of(model).base_model_prefix}."
    return (f"{model.base_model_prefix}.",)


def has_own_head(
    raw: Mapping[str, Any], model: PreTrainedModel, tensors: set[str], name: str
) -> bool:
    """Tell whether a checkpoint brings the head that `model` has.

    Raises ModelError (MODEL-HEAD) if it brings another task's; a bare encoder takes any.
    """
    if is_headless(model):
        return True
    made_as = [a for a in raw.get("architectures") or [] if isinstance(a, str)]
    if type(model).__name__ in made_as:
        return True
    if "qa_outputs.weight" in tensors or not all(PRETRAINING.search(a) for a in made_as):
        what = f"its head is for another task ({', '.join(made_as) or 'question answering'})"
        raise ModelError("MODEL-HEAD", name, what, NEW_HEAD)
    return not made_as and bool(head_names(model) & tensors)


def check_labels(
    folder: Path, config: PreTrainedConfig, labels: Sequence[str] | None, head: Head, name: str
) -> None:
    """Raise ModelError unless the checkpoint's head means what the task does."""
    problem = head.problem_type
    if head.outputs is not None and problem is None:
        return
    if not isinstance(config.problem_type, str | None):
        raise ModelError("MODEL-CONFIG", name, "its problem_type is no text")
    known = labels_of(folder, config)
    if problem is None:
        _check_same(known, labels)
        return
    own_problem = config.problem_type or ("regression" if len(known) == 1 else problem)
    # Several numbers are a head of a task's own: no checkpoint has it that does not say so.
    is_own = config.problem_type == problem and len(known) == head.outputs
    if "regression" in (own_problem, problem) and len(known) > 1 and not is_own:
        what = f"checkpoint has {_listed(known)}, the task is regression"
        raise ModelError("MODEL-LABELS", "", what, NEW_HEAD)
    if own_problem != problem:
        what = f"its head is for {_words(own_problem)}, the task is {_words(problem)}"
        raise ModelError("MODEL-HEAD", name, what, NEW_HEAD)
    if problem != "regression":
        _check_same(known, labels)


def _check_same(known: Sequence[str], labels: Sequence[str] | None) -> None:
    if labels is None:
        return
    if len(known) != len(labels):
        what = f"checkpoint has {_listed(known)}, data has {_listed(labels, '')}"
        raise ModelError("MODEL-LABELS", "", what, NEW_HEAD)
    same_names = set(known) == set(labels)
    if not all(a in (b, f"LABEL_{b}") for a, b in zip(known, labels, strict=True)):
        what = f"checkpoint has {_listed(known)}, data {_listed(labels)}: not the same, in order"
        fix = "data.labels in the checkpoint's order keeps its head" if same_names else NEW_HEAD
        raise ModelError("MODEL-LABELS", "", what, fix)


def set_labels(config: PreTrainedConfig, labels: Sequence[str] | None, head: Head) -> None:
    """Write labels and kind of problem into a config, in place; without labels it keeps its own."""
    config.problem_type = head.problem_type  # type: ignore[assignment]
    if head.outputs is not None:
        config.num_labels = head.outputs
    elif labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}


def need_labels(labels: Sequence[str] | None, head: Head) -> None:
    """Raise ConfigError if a new head would not know how many labels there are."""
    if head.outputs is None and not labels:
        raise ConfigError("CONF-LABELS", "data.labels", "a new head needs labels, there are none")


def labels_of(folder: Path, config: PreTrainedConfig) -> list[str]:
    """Return the names of a saved model's labels, in the order of their numbers."""
    own = saved_labels(folder)
    if own is not None:
        return own
    return [str(label) for _, label in sorted((config.id2label or {}).items())]


def saved_labels(folder: Path) -> list[str] | None:
    """Return what a model's labels.json says, names in the order of their numbers; None: no file.

    Raises ModelError where it does not number them from 0.
    """
    if not (folder / "labels.json").exists():
        return None
    by_name = read_json(inside(folder, "labels.json"))
    numbers = list(by_name.values())
    if any(type(number) is not int for number in numbers):
        raise ModelError("MODEL-CORRUPT", "labels.json", "does not give each label a number")
    if sorted(numbers) != list(range(len(numbers))):
        raise ModelError("MODEL-CORRUPT", "labels.json", "does not number the labels from 0")
    return sorted(by_name, key=lambda label: by_name[label])


def _listed(labels: Sequence[str], noun: str = " labels") -> str:
    shown = ", ".join(labels[:4]) + (", …" if len(labels) > 4 else "")
    return f"{len(labels)}{noun} ({shown})"


def _words(problem: str) -> str:
    return problem.removesuffix("_classification").replace("_", "-")
