"""What a checkpoint becomes in a model: what reads, what writes, or both side by side."""

from collections.abc import Mapping
from copy import deepcopy
from enum import StrEnum
from typing import Any

from torch import Tensor, nn
from transformers import EncoderDecoderConfig, PreTrainedConfig, PreTrainedModel

CROSS = ".crossattention."  # in the names of what a decoder reads its encoder with


class Role(StrEnum):
    """What a task makes of a checkpoint."""

    ENCODER = "encoder"  # each token sees all others
    DECODER = "decoder"  # each token sees those before it
    PAIR = "pair"  # a decoder that also sees what an encoder made of another text


def is_pair(config: PreTrainedConfig) -> bool:
    return isinstance(config, EncoderDecoderConfig)


def configs_of(config: PreTrainedConfig) -> list[Any]:
    """Return the configs of a pair, the encoder's first, else the only one."""
    return [config.encoder, config.decoder] if is_pair(config) else [config]


def encoder_of(model: Any) -> PreTrainedModel:
    """Return the encoder of a pair, else the model without its head."""
    return model.encoder if is_pair(model.config) else model.base_model


def decoder_of(pair: Any) -> PreTrainedModel:
    """Return the decoder of a pair, with its head."""
    return pair.decoder


def config_as(role: Role, config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the config that a checkpoint of this config has in a role.

    A pair gives the part that is asked for. Anything else gives a copy of itself to each part,
    with cross-attention in the decoder (Rothe et al., 2020).
    """
    if role is Role.PAIR:
        if is_pair(config):
            return config
        reader, writer = _set(config, False, False), _set(config, True, True)
        return EncoderDecoderConfig.from_encoder_decoder_configs(reader, writer)
    parts = configs_of(config)
    return _set(parts[-1 if role is Role.DECODER else 0], role is Role.DECODER, False)


def tensors_as(
    role: Role, tensors: Mapping[str, Tensor], config: PreTrainedConfig, model: PreTrainedModel
) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the names that they have in `model`.

    `config` is the checkpoint's own. A pooler that lay idle in a pair is left behind.
    """
    if not is_pair(config):
        return _twice(tensors, model) if role is Role.PAIR else dict(tensors)
    if role is Role.PAIR:
        return dict(tensors)
    part = f"{role}."
    return {
        name.removeprefix(part): tensor
        for name, tensor in tensors.items()
        if name.startswith(part) and not name.startswith("encoder.pooler.")
    }


def tie_weights(model: PreTrainedModel) -> None:
    """Let a pair's decoder use its encoder's weights, but for what an encoder lacks.

    As "BERTShare" (Rothe et al., 2020): cross-attention and the head are the decoder's own.
    """
    theirs = dict(encoder_of(model).named_parameters())
    own = dict(decoder_of(model).base_model.named_parameters())
    new = {id(own[name]): theirs[name] for name in own.keys() & theirs.keys()}
    for module in decoder_of(model).modules():
        for name, parameter in module._parameters.items():
            if id(parameter) in new:  # also where the head is tied to it
                module._parameters[name] = new[id(parameter)]


def untied_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return a pair's state with a copy of its own for each weight that both parts use.

    Plain transformers knows of none that they share.
    """
    state = model.state_dict()
    encoders = {t.data_ptr() for name, t in state.items() if name.startswith("encoder.")}
    copies = {
        t.data_ptr(): t.clone()
        for name, t in state.items()
        if name.startswith("decoder.") and t.data_ptr() in encoders
    }
    return {
        name: copies.get(t.data_ptr(), t) if name.startswith("decoder.") else t
        for name, t in state.items()
    }


def freeze(module: nn.Module | None) -> None:
    """Keep a module as it is: it does not learn."""
    for parameter in module.parameters() if module is not None else ():
        parameter.requires_grad_(False)


def _set(config: PreTrainedConfig, decodes: bool, crosses: bool) -> PreTrainedConfig:
    config = deepcopy(config)
    if hasattr(config, "is_decoder"):
        config.is_decoder, config.add_cross_attention = decodes, crosses
    return config


def _twice(tensors: Mapping[str, Tensor], model: PreTrainedModel) -> dict[str, Tensor]:
    """Name an encoder's tensors for both parts of a pair, those of its head for the decoder's."""
    base = f"{decoder_of(model).base_model_prefix}."
    is_bare = not any(name.startswith(base) for name in tensors)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if is_bare or name.startswith(base):
            inner = name.removeprefix(base)
            named |= {f"encoder.{inner}": tensor, f"decoder.{base}{inner}": tensor}
        else:
            named[f"decoder.{name}"] = tensor
    return named
