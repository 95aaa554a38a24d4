"""An encoder of images or sounds beside that of the text: found, checked, loaded, saved."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig, PreTrainedModel

from tunesmith.data.media import Media, read_image, read_sound
from tunesmith.errors import ConfigError, ModelError, did_you_mean
from tunesmith.models import places, safety, weights
from tunesmith.models.quiet import quiet
from tunesmith.models.source import WRONG_SETTINGS

INPUTS = {"image": ("pixel_values",), "audio": ("input_values", "input_features")}
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
NESTED = {"image": "image_processor", "audio": "feature_extractor"}  # in the second of them
# Draws from other generators than torch's, and layers that are left out, would not repeat.
STEADY: Mapping[str, Any] = {"apply_spec_augment": False, "layerdrop": 0.0}


@dataclass(frozen=True, eq=False)
class MediaSource:
    """Everything known of an encoder before its weights are opened."""

    sense: str  # image, audio
    path: str | None  # as the user typed it; None: by its config alone
    config: PreTrainedConfig
    processor: Any  # makes arrays of images or sounds
    weights: tuple[Path, ...]  # none for one from its config
    seconds: float  # of sounds: what they are cut and padded to


def find(
    sense: str,
    *,
    path: str | None,
    revision: str | None,
    pretrained: bool,
    config: Mapping[str, Any],
    seconds: float = 0.0,
) -> MediaSource:
    """Find the encoder of a sense and check all that can be checked without its weights.

    Without a path it is made from `config`, which is not read otherwise. Of a model that also
    reads texts (CLIP) the part that sees is taken. Raises ConfigError, ModelError, SafetyError.
    """
    if path is None:
        return _made(sense, f"task.{sense}", config, seconds)
    folder = places.folder_of(path, revision, places.MEDIA_FILES)
    safety.refuse_ways_out(folder)
    safety.refuse_own_python(folder, path)
    whole = _config(safety.read_json(folder / "config.json"), path)
    settled = getattr(whole, "vision_config", whole) if sense == "image" else whole
    _check_class(settled, sense, path)
    processor = _processor(folder, sense, whole, settled, path)
    files: tuple[Path, ...] = ()
    if pretrained:
        files = weights.weight_files(folder, path)
        weights.check_weights(files)
    return MediaSource(sense, path, settled, processor, files, seconds)


def _made(sense: str, where: str, config: Mapping[str, Any], seconds: float) -> MediaSource:
    if config.get("model_type") is None:
        what = f"no {sense} encoder: neither {where}.path nor {where}.config.model_type is set"
        raise ConfigError("CONF-MODEL", where, what)
    settled = _config(config, f"{where}.config")
    _check_class(settled, sense, f"{where}.config")
    processor = _default_processor(sense, settled, settled, f"{where}.config")
    return MediaSource(sense, None, settled, processor, (), seconds)


def _config(raw: Mapping[str, Any], where: str) -> Any:
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        fix = did_you_mean(str(kind), CONFIG_MAPPING.keys())
        raise ModelError("MODEL-CONFIG", where, f"unknown model_type {kind!r}", fix)
    try:
        with quiet():
            return CONFIG_MAPPING[kind].from_dict(dict(raw))
    except WRONG_SETTINGS as error:
        raise _unusable(error, where) from None


def _unusable(error: Exception, where: str) -> ModelError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ModelError("MODEL-CONFIG", where, f"its config cannot be used: {reason}")


def _check_class(config: PreTrainedConfig, sense: str, where: str) -> None:
    """Raise ModelError unless transformers has a model for the config that takes the sense."""
    found: Any = MODEL_MAPPING.get(type(config), None)
    if isinstance(found, type) and getattr(found, "main_input_name", "") in INPUTS[sense]:
        return
    what = f"{config.model_type} models are no {sense} encoders"
    raise ModelError("MODEL-CONFIG", where, what)


def _processor(
    folder: Path, sense: str, config: PreTrainedConfig, part: PreTrainedConfig, name: str
) -> Any:
    """Read how inputs are prepared: values from the folder, code from transformers alone."""
    for file in PROCESSOR_FILES:
        if (folder / file).is_file():
            values = safety.read_json(folder / file)
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
        raise _unusable(error, f"{name}/{PROCESSOR_FILES[0]}") from None


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


def _processor_class(sense: str, config: PreTrainedConfig, name: str, told: Any) -> Any:
    """Return the class that a file names, if transformers has it, else the architecture's."""
    # Imported here: a run on texts alone need not load what images need.
    from transformers.models.auto.auto_mappings import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    if sense == "audio":
        known = set(FEATURE_EXTRACTOR_MAPPING_NAMES.values())
        found = told if told in known else FEATURE_EXTRACTOR_MAPPING_NAMES.get(config.model_type)
    else:
        # One class works on Pillow's images alone, the other needs torchvision.
        pairs = [pair for pair in IMAGE_PROCESSOR_MAPPING_NAMES.values() if pair.get("pil")]
        stem = str(told).removesuffix("Fast").removesuffix("Pil")
        same = [p for p in pairs if p["pil"].removesuffix("Pil") == stem]
        own = IMAGE_PROCESSOR_MAPPING_NAMES.get(config.model_type, {})
        found = same[0]["pil"] if same else own.get("pil")
    if found is None:
        what = f"no preprocessor_config.json that says how to read an {sense}"
        raise ModelError("MODEL-CONFIG", name, what)
    return getattr(transformers, found)


class MediaEncoder(nn.Module):
    """A model of transformers with its processor: from images or sounds to tokens (B, T, H).

    `seconds` are what sounds are cut and padded to, so that no row depends on another's length.
    """

    def __init__(self, model: PreTrainedModel, processor: Any, sense: str, seconds: float) -> None:
        super().__init__()
        self.model, self.processor = model, processor
        self.sense, self.seconds = sense, seconds
        self.width = self._probed()

    def prepared(self, media: Sequence[Media | None]) -> dict[str, Tensor]:
        """Read a batch: what the model takes, (B, ...), and which rows are `present` (B,)."""
        there = [self.read(one) for one in media if one is not None]
        arrays = self.arrays(there or [self.blank()])
        present = torch.tensor([one is not None for one in media])
        # Where no row has any, the first is given a blank one: every rank reads something.
        read = present if there else torch.arange(len(media)) == 0
        return {"present": present} | {
            name: _spread(values, read) for name, values in arrays.items()
        }

    def read(self, media: Media) -> Any:
        """Return an image, or a sound of at most `seconds` and at least one token."""
        if self.sense == "image":
            return read_image(media)
        rate = self.processor.sampling_rate
        sound = read_sound(media, rate)[: max(int(self.seconds * rate), 1)]
        return np.pad(sound, (0, max(self._shortest() - len(sound), 0)))

    def _shortest(self) -> int:
        """Return how many samples surely give a token, where convolutions cut sounds."""
        tokens = getattr(self.model, "_get_feat_extract_output_lengths", None)
        samples = 1
        while tokens is not None and int(tokens(torch.tensor(samples))) < 1:
            samples *= 2
        return samples

    def blank(self) -> Any:
        if self.sense == "image":
            from PIL import Image

            return Image.new("RGB", (64, 64))
        return np.zeros(int(self.seconds * self.processor.sampling_rate), dtype=np.float32)

    def arrays(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """Run the processor; every row comes out in the same shape."""
        how: dict[str, Any] = {"return_tensors": "pt"}
        if self.sense == "audio":
            rate = how["sampling_rate"] = self.processor.sampling_rate
            takes = inspect.signature(self.processor.__call__).parameters
            if "input_values" in self.processor.model_input_names and "max_length" in takes:
                length = max(int(self.seconds * rate), 1)
                how |= {"padding": "max_length", "max_length": length, "truncation": True}
        with quiet():
            made = self.processor(list(inputs), **how)
        wanted = (*INPUTS[self.sense], "attention_mask")
        return {name: made[name] for name in wanted if name in made}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, H) and which of them are some (B, T)."""
        hidden = self.model(**inputs).last_hidden_state
        if hidden.ndim == 4:  # a convolution's map (B, H, h, w)
            hidden = hidden.flatten(2).transpose(1, 2)  # (B, T, H)
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        shrink = getattr(self.model, "_get_feature_vector_attention_mask", None)
        if shrink is not None and "attention_mask" in inputs:
            mask = shrink(hidden.size(1), inputs["attention_mask"]).bool()
        return hidden, mask

    def _probed(self) -> int:
        """Return the width of the tokens, and fix the parameters that they do not depend on."""
        self.model.eval()
        inputs = {name: values[:1] for name, values in self.arrays([self.blank()]).items()}
        with torch.enable_grad():
            tokens, _ = self(inputs)
            tokens.float().sum().backward()
        for parameter in self.model.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.model.train()
        return int(tokens.size(-1))


def _spread(values: Tensor, read: Tensor) -> Tensor:
    """Put the rows (P, ...) of those that are read to their places among all (B, ...), else 0."""
    whole = values.new_zeros(len(read), *values.shape[1:])
    whole[read] = values
    return whole


def load(source: MediaSource) -> MediaEncoder:
    """Build the encoder in train mode and float32; from its config, from torch's generator."""
    where = source.path or f"task.{source.sense}"
    for name, value in STEADY.items():
        if hasattr(source.config, name):
            setattr(source.config, name, value)
    try:
        with quiet():
            model = _loaded(source) if source.weights else _drawn(source)
        return MediaEncoder(model.float(), source.processor, source.sense, source.seconds)
    except WRONG_SETTINGS as error:
        raise _unusable(error, where) from None


def _class_of(config: PreTrainedConfig) -> Any:
    """Return the model's class; of one that also writes (Whisper) that of the part that reads."""
    kind: Any = MODEL_MAPPING[type(config)]
    if not config.is_encoder_decoder:
        return kind
    with torch.device("meta"):
        return type(kind(config).get_encoder())


def _without_writer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = re.compile(r"(model\.)?encoder\.")
    if not any(start.match(name) for name in tensors):
        return tensors  # saved without it
    return {start.sub("", name, 1): t for name, t in tensors.items() if start.match(name)}


def _drawn(source: MediaSource) -> Any:
    kind = _class_of(source.config)
    return kind._from_config(source.config, dtype=torch.float32)


def _loaded(source: MediaSource) -> Any:
    kind, tensors = _class_of(source.config), weights.read_weights(source.weights)
    if source.config.is_encoder_decoder:
        tensors = _without_writer(tensors)
    model, info = kind.from_pretrained(
        None,
        config=source.config,
        state_dict=tensors,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # to say it in our words
        output_loading_info=True,
        trust_remote_code=False,
    )
    if info["mismatched_keys"]:
        name, found, wanted = sorted(info["mismatched_keys"])[0]
        what = f"{name} is {tuple(found)} in the weights, {tuple(wanted)} by config.json"
        raise ModelError("MODEL-SHAPE", str(source.path), what)
    lacking = sorted(name for name in info["missing_keys"] if "pooler." not in name)
    if lacking:
        what = f"the weights lack {len(lacking)} of its parameters, such as {lacking[0]}"
        raise ModelError("MODEL-MISSING", str(source.path), what)
    return model


def save(encoder: MediaEncoder, folder: Path) -> None:
    """Write a folder that plain transformers loads."""
    with quiet():
        encoder.model.save_pretrained(folder, max_shard_size="1TB")
        encoder.processor.save_pretrained(folder)
