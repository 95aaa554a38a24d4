"""An encoder of images or sounds, next to that of the text: loaded, run, saved."""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, PreTrainedConfig, PreTrainedModel

from tunesmith.data.prepare.media import Media, read_image, read_sound
from tunesmith.errors import ModelError
from tunesmith.models import weights
from tunesmith.models.hf_logging import quiet
from tunesmith.models.media_spec import INPUTS, MediaSpec, unusable
from tunesmith.models.scatter import scatter_rows
from tunesmith.models.spec import WRONG_SETTINGS

# Draws from other generators than torch's, and layers that are left out, would not repeat.
STEADY: Mapping[str, Any] = {"apply_spec_augment": False, "layerdrop": 0.0}


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
            name: scatter_rows(values, read) for name, values in arrays.items()
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
        self._refuse_chance(inputs)
        with torch.enable_grad():
            tokens, _ = self(inputs)
            tokens.float().sum().backward()
        for parameter in self.model.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.model.train()
        return int(tokens.size(-1))

    def _refuse_chance(self, inputs: Mapping[str, Tensor]) -> None:
        """Raise ValueError where tokens differ from time to time, as where MAE hides patches."""
        ramps = {
            name: torch.linspace(-1, 1, values.numel()).view_as(values)
            if values.is_floating_point()
            else values
            for name, values in inputs.items()
        }
        with torch.no_grad():
            one, other = (self(ramps)[0] for _ in range(2))
        if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-3, atol=1e-3):
            raise ValueError("it reads another part of the same input each time")


def load(source: MediaSpec) -> MediaEncoder:
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
        raise unusable(error, where) from None


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


def _drawn(source: MediaSpec) -> Any:
    kind = _class_of(source.config)
    return kind._from_config(source.config, dtype=torch.float32)


def _loaded(source: MediaSpec) -> Any:
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
