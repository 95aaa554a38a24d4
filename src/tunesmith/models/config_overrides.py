"""Changes to a model's config: dropout under its one name, sizes of a model from scratch."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean
from tunesmith.models.encoder_decoder import configs_of

# The names of one knob, by architecture; all names of the first group that a config has.
KNOBS: dict[str, list[tuple[str, ...]]] = {
    "hidden_dropout": [
        ("hidden_dropout_prob",),
        ("embedding_dropout", "mlp_dropout"),
        ("dropout",),
    ],
    "attention_dropout": [("attention_probs_dropout_prob",), ("attention_dropout",)],
    "classifier_dropout": [("classifier_dropout",), ("seq_classif_dropout",), ("cls_dropout",)],
}
SIZES = (  # of which a model has one at least
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
)
UNDECLARED: dict[str, set[str]] = {
    "deberta": {"cls_dropout"},
    "deberta-v2": {"cls_dropout"},
}  # read, but not declared


def set_dropout(config: PreTrainedConfig, knob: str, value: float | None) -> list[TunesmithError]:
    """Set a dropout in place under the names it has in this architecture; return mistakes."""
    if value is None:
        return []
    where = f"model.{knob}={value}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        return [ConfigError("CONF-RANGE", where, "must be a number, 0 <= p < 1")]
    for part in configs_of(config):
        if not _set_knob(part, knob, float(value)):
            what = f"{part.model_type} models have no such dropout"
            return [ConfigError("CONF-MODEL", where, what)]
    return []


def _set_knob(config: PreTrainedConfig, knob: str, value: float) -> bool:
    known = set(vars(config)) | UNDECLARED.get(config.model_type, set())
    for names in KNOBS[knob]:
        if known.issuperset(names):
            for name in names:
                setattr(config, name, value)
            return True
    return False


def changed(
    raw: Mapping[str, Any], known: PreTrainedConfig, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config.json `raw` with the changes of `model.config`.

    Raises ConfigError for a key that the architecture does not have.
    """
    keys = {*vars(known), *known.attribute_map} - {"model_type", "architectures"}
    for key in changes:
        if key not in keys:
            what = f"{known.model_type} configs have no such key"
            where = f"model.config.{key}"
            raise ConfigError("CONF-KEY", where, what, did_you_mean(key, sorted(keys)))
    for key, value in changes.items():
        is_size = known.attribute_map.get(key, key) in SIZES
        if is_size and isinstance(value, int | float) and not value >= 1:
            where = f"model.config.{key}={value}"
            raise ConfigError("CONF-RANGE", where, "must be at least 1")
    names = {known.attribute_map.get(key, key): value for key, value in changes.items()}
    settings = {**raw, **names}
    if known.attribute_map.get("num_hidden_layers", "num_hidden_layers") in names:
        settings.pop("layer_types", None)  # one entry per layer: made again from the count
    return settings
