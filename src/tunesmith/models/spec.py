"""A model before its weights are opened: found, described, and checked."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith.errors import ConfigError, ModelError, did_you_mean, raise_all
from tunesmith.models import (
    config_overrides,
    encoder_decoder,
    heads,
    resolve_path,
    untrusted_files,
    weights,
)
from tunesmith.models.hf_logging import quiet
from tunesmith.runtime.atomic_files import sha256 as file_hash

WRONG_SETTINGS = (  # what a config's values can raise, read or built into modules
    StrictDataclassError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
ATTENTION = ("sdpa", "eager")
UNLIMITED = 10**9  # what a tokenizer says when it knows no limit is larger
# Their position ids begin after the padding id, so the first rows of the table hold no position.
SHIFTED = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """Everything known of a model before its weights are opened."""

    path: str  # as the user typed it
    folder: Path  # where it is on this machine
    revision: str | None  # the commit, of a hub model
    config: PreTrainedConfig  # with the labels and all changes, in the role of the task
    checkpoint: PreTrainedConfig  # as the checkpoint has it, so changed
    head: heads.Head  # what the task puts on the encoder
    pretrained: bool
    new_head: bool
    own_head: bool  # the checkpoint's own head is kept
    attention: str  # sdpa, eager
    weights: tuple[Path, ...]  # none for a model from scratch
    tokenizer_fingerprint: str  # SHA-256
    words: PreTrainedTokenizerBase = field(repr=False)  # take a copy: `tokenizer(source)`


def resolve_model(
    path: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    pretrained: bool = True,
    new_head: bool = False,
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
    classifier_dropout: float | None = None,
    sizes: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    attention: str = "sdpa",
    labels: Sequence[str] | None,
    head: heads.Head,
) -> ModelSpec:
    """Find a model and check all that can be checked without opening its weights.

    `head` is the task's; `labels` are in the order of their numbers. `sizes` are of
    a model from scratch: a checkpoint has its own. `config` changes it further.
    Raises ConfigError, ModelError, MachineError (a missing package) or SafetyError.
    """
    changes = dict(config or {})
    _check_arguments(changes, pretrained, attention)
    changes = changes if pretrained else {**(sizes or {}), **changes}
    folder = _safe_folder(path, revision)
    raw = untrusted_files.read_config(folder)
    checkpoint = _config(raw, changes, path)
    _set_dropouts(checkpoint, hidden_dropout, attention_dropout, classifier_dropout)
    settled = encoder_decoder.config_as(head.role, checkpoint)
    model = _skeleton(settled, changes, path, head)
    files, tensors = _weights(folder, path, sha256) if pretrained else ((), set())
    own_head = pretrained and not new_head and heads.has_own_head(raw, model, tensors, path)
    if own_head:
        heads.check_labels(folder, settled, labels, head, path)
    else:
        heads.need_labels(labels, head)
    heads.set_labels(settled, labels, head)
    words = _tokenizer(folder, path)
    _check_vocabulary(words, settled, path)
    return ModelSpec(
        path=path,
        folder=folder,
        revision=folder.name if folder.parent.name == "snapshots" else revision,
        config=settled,
        checkpoint=checkpoint,
        head=head,
        pretrained=pretrained,
        new_head=new_head,
        own_head=own_head,
        attention=_supported(attention, model),
        weights=files,
        tokenizer_fingerprint=_fingerprint(words),
        words=words,
    )


def tokenizer(source: ModelSpec) -> PreTrainedTokenizerBase:
    """Return the model's fast tokenizer, a copy of the caller's own."""
    return deepcopy(source.words)


def fingerprint(source: ModelSpec) -> str:
    """Return what tells base models apart: a hub model's commit, else its files' SHA-256."""
    if source.folder.parent.name == "snapshots" and source.revision is not None:
        return source.revision
    digest = hashlib.sha256(source.tokenizer_fingerprint.encode())
    for file in (source.folder / "config.json", *source.weights):
        digest.update(bytes.fromhex(file_hash(file)))
    return digest.hexdigest()


def max_tokens(source: ModelSpec) -> int:
    """Return how many tokens a text may have, special ones included."""
    config = encoder_decoder.configs_of(source.config)[0]
    limits = [getattr(config, "max_position_embeddings", None), source.words.model_max_length]
    if limits[0] is not None:
        limits[0] -= first_position(config)
    known = [int(n) for n in limits if n is not None and 0 < n < UNLIMITED]
    return min(known, default=512)


def first_position(config: PreTrainedConfig) -> int:
    """Return the position id of a text's first token."""
    return (config.pad_token_id or 0) + 1 if config.model_type in SHIFTED else 0


def _check_arguments(changes: dict[str, Any], pretrained: bool, attention: str) -> None:
    errors = []
    if changes and pretrained:
        where, what = "model.config", "changes the architecture, so the weights would not fit"
        errors.append(ConfigError("CONF-MODEL", where, what, "set model.pretrained=false"))
    if attention not in ATTENTION:
        where = f"model.attention={attention}"
        errors.append(ConfigError("CONF-MODEL", where, f"must be one of {', '.join(ATTENTION)}"))
    raise_all(errors)


def _safe_folder(path: str, revision: str | None) -> Path:
    """Return where the model is on this machine; nothing in it leads out or is code."""
    folder = resolve_path.folder_of(path, revision)
    untrusted_files.refuse_ways_out(folder)
    untrusted_files.refuse_own_python(folder, path)
    return folder


def _set_dropouts(
    config: PreTrainedConfig, hidden: float | None, attention: float | None, head: float | None
) -> None:
    raise_all(
        config_overrides.set_dropout(config, "hidden_dropout", hidden)
        + config_overrides.set_dropout(config, "attention_dropout", attention)
        + config_overrides.set_dropout(config, "classifier_dropout", head)
    )


def _config(raw: dict[str, Any], changes: dict[str, Any], path: str) -> PreTrainedConfig:
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        what = f"unknown model_type {kind!r}" if kind else "its config.json has no model_type"
        fix = did_you_mean(str(kind), CONFIG_MAPPING.keys())
        raise ModelError("MODEL-CONFIG", path, what, fix)
    if "quantization_config" in raw:
        raise ModelError("MODEL-CONFIG", path, "its weights are quantised; not supported")
    with quiet():
        if changes:
            known = _from_dict(kind, raw, {}, path)
            raw = config_overrides.changed(raw, known, changes)
        return _from_dict(kind, raw, changes, path)


def _from_dict(
    kind: str, values: dict[str, Any], changes: dict[str, Any], path: str
) -> PreTrainedConfig:
    try:
        return CONFIG_MAPPING[kind].from_dict(dict(values))
    except WRONG_SETTINGS as error:
        raise _wrong_settings(error, changes, path) from None


def _skeleton(
    config: PreTrainedConfig, changes: dict[str, Any], path: str, head: heads.Head
) -> Any:
    try:
        with quiet():
            return heads.meta_model(config, path, head)
    except WRONG_SETTINGS as error:
        raise _wrong_settings(error, changes, path) from None


def _wrong_settings(error: Exception, changes: dict[str, Any], path: str) -> Exception:
    reason = " ".join(str(error).split()) or type(error).__name__
    if changes:
        return ConfigError("CONF-MODEL", f"model.config={changes}", reason)
    return ModelError("MODEL-CONFIG", path, f"its config.json cannot be used: {reason}")


def _weights(folder: Path, path: str, sha256: str | None) -> tuple[tuple[Path, ...], set[str]]:
    files = weights.weight_files(folder, path)
    tensors = weights.check_weights(files)
    if sha256 is not None:
        weights.check_hash(files, sha256, path)
    return files, tensors


def _tokenizer(folder: Path, path: str) -> PreTrainedTokenizerBase:
    if not any((folder / file).is_file() for file in resolve_path.TOKENIZER_FILES):
        raise ModelError("MODEL-TOKENIZER", path, "has no tokenizer files (tokenizer.json)")
    try:
        with quiet():
            words = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True, use_fast=True
            )
    except Exception as error:  # `tokenizers` raises nothing more exact
        reason = " ".join(str(error).split())
        raise ModelError("MODEL-TOKENIZER", path, f"tokenizer not readable: {reason}") from None
    if not words.is_fast:
        raise ModelError("MODEL-TOKENIZER", path, "has no fast tokenizer (tokenizer.json)")
    if words.pad_token_id is None:
        raise ModelError("MODEL-TOKENIZER", path, "its tokenizer has no padding token")
    words.backend_tokenizer.no_truncation()  # some files carry a length of their own
    words.backend_tokenizer.no_padding()
    return words


def _check_vocabulary(words: PreTrainedTokenizerBase, config: PreTrainedConfig, path: str) -> None:
    last = max(words.get_vocab().values(), default=0)
    size = min(part.vocab_size for part in encoder_decoder.configs_of(config))
    if last >= size:
        what = f"tokenizer has ids up to {last}, the model only {size} embeddings"
        raise ModelError("MODEL-VOCAB", path, what, "they do not belong together")


def _supported(attention: str, model: Any) -> str:
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    if attention == "sdpa" and not all(part._supports_sdpa for part in parts):
        log.info("%s has no sdpa attention: eager is used", model.config.model_type)
        return "eager"
    return attention


def _fingerprint(words: PreTrainedTokenizerBase) -> str:
    parts = [words.backend_tokenizer.to_str(), str(words.model_input_names), words.padding_side]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
