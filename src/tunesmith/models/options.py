"""The `model` group, and the encoders of images and sounds: which checkpoint, changed in what."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from tunesmith.runtime.options import (
    AnyMapping,
    Fraction,
    Keys,
    Options,
    PathText,
    Positive,
    Sha256,
    Text,
)


class ModelOptions(Options):
    """Every key of `model`."""

    path: PathText = Field(
        description="A hub id, a folder, a finished run's directory, or package:NAME/folder."
    )
    revision: Text | None = Field(description="The hub model's commit, tag or branch.")
    sha256: Sha256 | None = Field(
        description="The hash of model.safetensors, checked before the file is read."
    )
    pretrained: bool = Field(description="false: the same architecture with random weights.")
    new_head: bool = Field(
        description="true: a new head in place of the one that the checkpoint has."
    )
    hidden_dropout: Fraction | None = Field(
        description="Dropout of hidden states; null: as in the model's config."
    )
    attention_dropout: Fraction | None = Field(
        description="Dropout of attention weights; null: as in the model's config."
    )
    classifier_dropout: Fraction | None = Field(
        description="Dropout in front of the head; null: as in the model's config."
    )
    sizes: AnyMapping = Field(
        description="Sizes of the architecture, with pretrained=false; a checkpoint has its own."
    )
    config: AnyMapping = Field(
        description="More changes to the model's config, with pretrained=false: "
        "+model.config.hidden_act=relu."
    )
    attention: Literal["sdpa", "eager"] = Field(description="The implementation of attention.")


def saved_model(path: str, attention: str) -> ModelOptions:
    """Return the options by which the model of a finished run is loaded as it was saved."""
    off = ("revision", "sha256", "hidden_dropout", "attention_dropout", "classifier_dropout")
    return ModelOptions.model_validate(
        dict.fromkeys(off)
        | {"path": path, "attention": attention, "pretrained": True, "new_head": False}
        | {"sizes": {}, "config": {}}
    )


class EncoderOptions(Options):
    """Every key of an encoder of images or sounds."""

    path: PathText | None = Field(
        description="A hub id or folder of a model; null: `config` with random weights."
    )
    revision: Text | None = Field(description="The hub model's commit, tag or branch.")
    pretrained: bool = Field(description="false: its architecture with random weights.")
    config: AnyMapping = Field(
        description="The architecture without a path; with one it is not read."
    )


class AudioEncoderOptions(EncoderOptions):
    """Every key of an encoder of sounds."""

    seconds: Positive = Field(description="Sounds are truncated or padded to so many seconds.")


ImageEncoder = Annotated[Mapping[str, Any], Keys(EncoderOptions)]
AudioEncoder = Annotated[Mapping[str, Any], Keys(AudioEncoderOptions)]
