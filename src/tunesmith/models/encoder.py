"""The model that learns: an encoder or a decoder with a head, its parts, its saved form."""

import functools
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.errors import ModelError
from tunesmith.models.cpu_kernels import use_cpu_kernels
from tunesmith.models.encoder_decoder import encoder_of, freeze, is_pair, tensors_as, untied_state
from tunesmith.models.first_token import KNOWN, skip_other_tokens
from tunesmith.models.heads import class_of, head_names, meta_model, model_kwargs
from tunesmith.models.hf_logging import quiet
from tunesmith.models.spec import ModelSpec
from tunesmith.models.weights import read_weights
from tunesmith.runtime import atomic_files

log = logging.getLogger(__name__)


def load_model(source: ModelSpec) -> PreTrainedModel:
    """Build the model in train mode and float32.

    What the checkpoint lacks and may lack, a head or a pooler, is drawn from torch's global
    generator: seed it before. Raises ModelError if the weights are not the encoder's.
    """
    with quiet():
        model = _pretrained(source) if source.pretrained else _from_scratch(source)
    if is_pair(model.config):  # a summary is written from the tokens: the pooler lies idle
        freeze(getattr(encoder_of(model), "pooler", None))
        model.fresh_pooler = set()  # type: ignore[assignment]
    if source.head.reads_first_token and model.config.model_type in KNOWN:
        skip_other_tokens(model, encoder_layers(model)[-1])
    use_cpu_kernels(model)
    return model.float().train()


def head_parameters(model: PreTrainedModel) -> set[str]:
    """Return the names of the parameters of the head, and of a pooler that was not pretrained."""
    return head_names(model) | getattr(model, "fresh_pooler", set())


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the encoder's blocks, first to last."""
    reader = encoder_of(model)
    count = reader.config.num_hidden_layers
    for module in reader.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError("MODEL-CONFIG", type(model).__name__, "has no list of encoder layers")


def embeddings(model: PreTrainedModel) -> nn.Module:
    """Return the module that turns ids into the first layer's input."""
    module = getattr(encoder_of(model), "embeddings", None)
    return module if isinstance(module, nn.Module) else model.get_input_embeddings()


def checkpoints_gradients(model: nn.Module) -> bool:
    """Tell whether a layer computes its activations again in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    labels: Sequence[str] | None = None,
    extra: Mapping[str, Tensor] | None = None,
    encoders: Mapping[str, Callable[[Path], None]] | None = None,
) -> None:
    """Write a folder that plain transformers loads; it appears whole or not at all.

    `labels` go to labels.json, tensors that a task has learnt outside of the model (`extra`) to
    task.safetensors; each of `encoders` writes another encoder to a folder of its name. Everything
    is safetensors or JSON.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with quiet():
            state = untied_state(model) if is_pair(model.config) else None
            model.save_pretrained(new, state_dict=state, max_shard_size="1TB")
            tokenizer.save_pretrained(new)
        if labels is not None:
            numbers = {label: number for number, label in enumerate(labels)}
            (new / "labels.json").write_text(json.dumps(numbers, ensure_ascii=False), "utf-8")
        if extra:
            tensors = {name: tensor.contiguous().cpu() for name, tensor in extra.items()}
            save_file(tensors, new / "task.safetensors")
        for name, write in (encoders or {}).items():
            write(new / name)
        # Before it gets its name: a power cut must not leave a folder of empty files.
        atomic_files.sync_tree(new)
        _put(new, folder)
        atomic_files.sync(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, folder: Path) -> None:
    # A folder cannot be replaced in one step: the old one makes room first.
    old = new.with_name(f"{new.name}.old")
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _from_scratch(source: ModelSpec) -> PreTrainedModel:
    model_class: Any = class_of(source.config, source.path, source.head)
    return model_class._from_config(
        source.config,
        attn_implementation=source.attention,
        dtype=torch.float32,
        **model_kwargs(model_class),
    )


def _pretrained(source: ModelSpec) -> PreTrainedModel:
    shape = _shape(source)
    role, stored = source.head.role, read_weights(source.weights)
    tensors = tensors_as(role, stored, source.checkpoint, shape)
    if source.new_head:
        names = head_names(shape)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in names}
    # Tensors instead of the folder's path: nothing else that lies there is read.
    model_class: Any = class_of(source.config, source.path, source.head)
    model, info = model_class.from_pretrained(
        None,
        config=source.config,
        state_dict=tensors,
        attn_implementation=source.attention,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # to say it in our words
        output_loading_info=True,
        trust_remote_code=False,
        **model_kwargs(model_class),
    )
    _check_complete(source, model, info)
    return model


@functools.lru_cache(maxsize=4)
def _shape(source: ModelSpec) -> PreTrainedModel:
    """Return the model without its weights; a search asks for the same one in each trial."""
    return meta_model(source.config, source.path, source.head)


def _check_complete(source: ModelSpec, model: PreTrainedModel, info: dict[str, Any]) -> None:
    if info["mismatched_keys"]:
        name, found, wanted = sorted(info["mismatched_keys"])[0]
        what = f"{name} is {tuple(found)} in the weights, {tuple(wanted)} by config.json"
        raise ModelError("MODEL-SHAPE", source.path, what)
    encoder = "encoder" if is_pair(model.config) else model.base_model_prefix
    pooler = f"{encoder}.pooler."
    missing = _missing(model, info["missing_keys"])
    fresh_pooler = {name for name in missing if name.startswith(pooler)}
    head = set() if source.own_head else head_names(model)
    lacking = sorted(missing - fresh_pooler - head)
    if lacking or (source.own_head and fresh_pooler):
        names = lacking or sorted(fresh_pooler)
        what = f"the weights lack {len(names)} of its parameters, such as {names[0]}"
        raise ModelError("MODEL-MISSING", source.path, what)
    model.fresh_pooler = fresh_pooler  # type: ignore[assignment]
    if fresh_pooler:
        log.info("%s has no pooler: a random one is trained with the head", source.path)


def _missing(model: PreTrainedModel, names: set[str]) -> set[str]:
    """Leave out a tied parameter that came under its other name; name the rest as torch does."""
    tied: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), []).append(name)
    others = names - {name for group in tied.values() for name in group}
    return others | {group[0] for group in tied.values() if names.issuperset(group)}
