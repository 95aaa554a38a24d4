"""Which encoder of images or sounds there is: checked before its weights are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig

from tunesmith.errors import ConfigError, ModelError, did_you_mean
from tunesmith.models import resolve_path, untrusted_files, weights
from tunesmith.models.hf_logging import quiet
from tunesmith.models.spec import WRONG_SETTINGS

INPUTS = {"image": ("pixel_values",), "audio": ("input_values", "input_features")}
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
NESTED = {"image": "image_processor", "audio": "feature_extractor"}  # in the second of them


@dataclass(frozen=True, eq=False)
class MediaSpec:
    """Everything known of an encoder before its weights are opened."""

    sense: str  # image, audio
    path: str | None  # as the user typed it; None: by its config alone
    config: PreTrainedConfig
    processor: Any  # makes arrays of images or sounds
    weights: tuple[Path, ...]  # none for one from its config
    seconds: float  # of sounds: what they are cut and padded to


def resolve_media_encoder(
    sense: str,
    *,
    path: str | None,
    revision: str | None,
    pretrained: bool,
    config: Mapping[str, Any],
    seconds: float = 0.0,
) -> MediaSpec:
    """Find the encoder of a sense and check all that can be checked without its weights.

    Without a path it is made from `config`, which is not read otherwise. Of a model that also
    reads texts (CLIP) the part that sees is taken. Raises ConfigError, ModelError, SafetyError.
    """
    if path is None:
        return _read_config(sense, f"task.{sense}", config, seconds)
    folder = resolve_path.folder_of(path, revision, resolve_path.MEDIA_FILES)
    untrusted_files.refuse_ways_out(folder)
    untrusted_files.refuse_own_python(folder, path)
    whole = _config(untrusted_files.read_config(folder), path)
    settled = getattr(whole, "vision_config", whole) if sense == "image" else whole
    _check_class(settled, sense, path)
    processor = _processor(folder, sense, whole, settled, path)
    files: tuple[Path, ...] = ()
    if pretrained:
        files = weights.weight_files(folder, path)
        weights.check_weights(files)
    return MediaSpec(sense, path, settled, processor, files, seconds)


def _read_config(sense: str, location: str, config: Mapping[str, Any], seconds: float) -> MediaSpec:
    if config.get("model_type") is None:
        what = (
            f"no {sense} encoder: neither {location}.path nor {location}.config.model_type is set"
        )
        raise ConfigError("CONF-MODEL", location, what)
    settled = _config(config, f"{location}.config")
    _check_class(settled, sense, f"{location}.config")
    processor = _default_processor(sense, settled, settled, f"{location}.config")
    return MediaSpec(sense, None, settled, processor, (), seconds)


def _config(raw: Mapping[str, Any], location: str) -> Any:
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        fix = did_you_mean(str(kind), CONFIG_MAPPING.keys())
        raise ModelError("MODEL-CONFIG", location, f"unknown model_type {kind!r}", fix)
    try:
        with quiet():
            return CONFIG_MAPPING[kind].from_dict(dict(raw))
    except WRONG_SETTINGS as error:
        raise unusable(error, location) from None


def unusable(error: Exception, location: str) -> ModelError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ModelError("MODEL-CONFIG", location, f"its config cannot be used: {reason}")


def _check_class(config: PreTrainedConfig, sense: str, location: str) -> None:
    """Raise ModelError unless transformers has a model for the config that takes the sense."""
    found: Any = MODEL_MAPPING.get(type(config), None)
    if isinstance(found, type) and getattr(found, "main_input_name", "") in INPUTS[sense]:
        return
    what = f"{config.model_type} models are no {sense} encoders"
    raise ModelError("MODEL-CONFIG", location, what)


def _processor(
    folder: Path, sense: str, config: PreTrainedConfig, part: PreTrainedConfig, name: str
) -> Any:
    """Read how inputs are prepared: values from the folder, code from transformers alone."""
    for file in PROCESSOR_FILES:
        if (folder / file).is_file():
            values = untrusted_files.read_json(folder / file)
            own = values.get(NESTED[sense], values if file == PROCESSOR_FILES[0] else None)
            if isinstance(own, dict):
                return _processor_from(own, sense, config, name)
    return _default_processor(sense, config, part, name)


def _processor_from(
    values: Mapping[str, Any], sense: str, config: PreTrainedConfig, name: str
) -> Any:
    told = values.get("image_processor_type") or values.get("feature_extractor_type")
    kind = _processor_class(sense, config, name, told)
    try:
        with quiet():
            return kind.from_dict(dict(values))
    except WRONG_SETTINGS as error:
        raise unusable(error, f"{name}/{PROCESSOR_FILES[0]}") from None


def _default_processor(
    sense: str, config: PreTrainedConfig, part: PreTrainedConfig, name: str
) -> Any:
    """Return the architecture's own, in the size that the `part` that is taken of it reads."""
    kind = _processor_class(sense, config, name, None)
    if sense == "audio":
        return kind(**_masked(config))
    size = getattr(part, "image_size", None)
    with quiet():
        return kind(**_sizes(kind, size)) if size is not None else kind()


def _sizes(kind: Any, size: Any) -> dict[str, Any]:
    height, width = (size, size) if isinstance(size, int) else size
    whole = {"height": height, "width": width}
    if "shortest_edge" in (kind.size or {}):
        return {"size": {"shortest_edge": min(height, width)}, "crop_size": whole}
    return {"size": whole, "do_resize": True, "do_center_crop": False}


def _masked(config: PreTrainedConfig) -> dict[str, Any]:
    # Of its kind those that normalise each frame by itself can leave the padding out.
    return {"return_attention_mask": True} if _normalises_frames(config) else {}


def _normalises_frames(config: PreTrainedConfig) -> bool:
    return getattr(config, "feat_extract_norm", None) == "layer"


def _processor_class(sense: str, config: PreTrainedConfig, name: str, configured: Any) -> Any:
    """Return the class that a file names, if transformers has it, else the architecture's."""
    # Imported here: a run on texts alone need not load what images need.
    from transformers.models.auto.auto_mappings import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    if sense == "audio":
        known = set(FEATURE_EXTRACTOR_MAPPING_NAMES.values())
        found = (
            configured
            if configured in known
            else FEATURE_EXTRACTOR_MAPPING_NAMES.get(config.model_type)
        )
    else:
        # One class works on Pillow's images alone, the other needs torchvision.
        pairs = [pair for pair in IMAGE_PROCESSOR_MAPPING_NAMES.values() if pair.get("pil")]
        stem = str(configured).removesuffix("Fast").removesuffix("Pil")
        same = [p for p in pairs if p["pil"].removesuffix("Pil") == stem]
        own = IMAGE_PROCESSOR_MAPPING_NAMES.get(config.model_type, {})
        found = same[0]["pil"] if same else own.get("pil")
    if found is None:
        what = f"no preprocessor_config.json that says how to read an {sense}"
        raise ModelError("MODEL-CONFIG", name, what)
    return getattr(transformers, found)
