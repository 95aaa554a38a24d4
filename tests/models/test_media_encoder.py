"""Encoders of images and sounds: any that transformers has, from a folder or from a config."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, CLIPConfig, CLIPModel, WhisperConfig, WhisperModel

from support.media_files import png, tone, wav
from support.tiny_models import tiny_bert
from tunesmith.errors import ConfigError, ModelError, SafetyError
from tunesmith.models import media_encoder, media_spec

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 32}
WAVES = SMALL | {"conv_dim": [8, 8], "conv_kernel": [20, 16], "conv_stride": [16, 16]}
WAVES |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
KINDS = {
    "vit": ("image", SMALL | {"image_size": 16, "patch_size": 8}),
    "beit": ("image", SMALL | {"image_size": 16, "patch_size": 8}),
    "dinov2": ("image", SMALL | {"image_size": 14, "patch_size": 7}),
    "swin": (
        "image",
        {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
        | {"window_size": 4},
    ),
    "convnext": ("image", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
    "resnet": (
        "image",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "wav2vec2": ("audio", WAVES | {"feat_extract_norm": "layer"}),
    "hubert": ("audio", WAVES),
    "whisper": (
        "audio",
        {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
        | {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
        | {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        | {"decoder_start_token_id": 1, "max_target_positions": 8, "layerdrop": 0.0},
    ),
    "audio-spectrogram-transformer": ("audio", SMALL | {"max_length": 1024}),
}
OPTIONS = {"path": None, "revision": None, "pretrained": True, "config": {}}


def found(sense, **options):
    seconds = {"seconds": 0.2} if sense == "audio" else {}
    return media_spec.resolve_media_encoder(sense, **{**OPTIONS, **seconds, **options})


def loaded(sense, **options):
    torch.manual_seed(0)
    return media_encoder.load(found(sense, **options))


def cells(sense):
    if sense == "image":
        return [{"bytes": png((200, 10 * i, 0), (20, 9 + i)), "path": None} for i in range(2)]
    sounds = (wav(tone(300, 0.15)), wav(tone(900, 0.1)))
    return [{"bytes": data, "path": None} for data in sounds]


def read(encoder, rows):
    inputs = encoder.prepared(rows)
    present = inputs.pop("present")
    return encoder(inputs), present


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_from_a_config_and_saved_as_transformers_saves(kind, tmp_path):
    sense, config = KINDS[kind]
    encoder = loaded(sense, config={"model_type": kind, **config}).eval()
    with torch.no_grad():
        (tokens, mask), present = read(encoder, cells(sense))
        assert tokens.shape == (2, mask.size(1), encoder.width)
        assert mask.any(1).all() and present.all()
        assert (tokens[0] - tokens[1]).abs().max() > 1e-4
        alone = read(encoder, [None, cells(sense)[0]])[0][0][1]
        torch.testing.assert_close(alone, tokens[0], atol=1e-5, rtol=1e-4)
        media_encoder.save(encoder, tmp_path / "saved")
        assert {p.suffix for p in (tmp_path / "saved").iterdir()} == {".json", ".safetensors"}
        again = loaded(sense, path=str(tmp_path / "saved")).eval()
        assert torch.equal(read(again, cells(sense))[0][0], tokens)
    plain = AutoModel.from_pretrained(tmp_path / "saved")
    assert plain.config.model_type == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_that_learns_gets_a_gradient(kind):
    sense, config = KINDS[kind]
    encoder = loaded(sense, config={"model_type": kind, **config})
    assert encoder.model.training
    (tokens, _), _ = read(encoder, cells(sense) * 2)
    (tokens * torch.randn_like(tokens)).sum().backward()
    learning = [p for p in encoder.parameters() if p.requires_grad]
    assert learning and all(p.grad is not None for p in learning)


def test_the_padding_of_a_sound_has_no_tokens():
    encoder = loaded("audio", config={"model_type": "wav2vec2", **KINDS["wav2vec2"][1]})
    (_, mask), _ = read(encoder.eval(), cells("audio"))
    assert mask.sum(1).tolist() == [9, 6]  # of 0.15 and 0.1 seconds, 256 samples a token
    assert mask.size(1) == 12


def test_the_part_of_clip_that_sees_is_taken(tmp_path):
    parts = {"vision_config": KINDS["vit"][1], "text_config": SMALL | {"vocab_size": 50}}
    CLIPModel(CLIPConfig(**parts, projection_dim=8)).save_pretrained(tmp_path)
    encoder = loaded("image", path=str(tmp_path)).eval()
    whole = CLIPModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        inputs = encoder.prepared(cells("image"))
        wanted = whole.vision_model(inputs["pixel_values"]).last_hidden_state
        assert torch.equal(encoder({"pixel_values": inputs["pixel_values"]})[0], wanted)


def test_the_part_of_whisper_that_listens_is_taken(tmp_path):
    WhisperModel(WhisperConfig(**KINDS["whisper"][1])).save_pretrained(tmp_path)
    encoder = loaded("audio", path=str(tmp_path)).eval()
    whole = WhisperModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        features = encoder.prepared(cells("audio"))["input_features"]
        wanted = whole.encoder(features).last_hidden_state
        assert torch.equal(encoder({"input_features": features})[0], wanted)


def folder_of(tmp_path, kind="vit"):
    config = KINDS[kind][1]
    media_encoder.save(
        loaded(KINDS[kind][0], config={"model_type": kind, **config}), tmp_path / "m"
    )
    return tmp_path / "m"


def test_an_image_is_prepared_as_the_folder_says(tmp_path):
    folder = folder_of(tmp_path)
    values = json.loads((folder / "preprocessor_config.json").read_text())
    values |= {"do_normalize": False, "do_rescale": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    inputs = loaded("image", path=str(folder)).prepared(cells("image")[:1])
    assert inputs["pixel_values"].shape == (1, 3, 16, 16)
    assert inputs["pixel_values"][0, :, 0, 0].tolist() == [200.0, 0.0, 0.0]


def test_weights_that_are_not_read_are_drawn(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "model.safetensors").unlink()
    drawn = loaded("image", path=str(folder), pretrained=False)
    assert drawn.width == 16


def remove(folder, name):
    (folder / name).unlink()


def cut(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def rewrite(folder, name, **values):
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def link(folder, name):
    shutil.move(folder / name, folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)


SPOILT = {
    "no weights": (remove, {"name": "model.safetensors"}, ModelError, "no model.safetensors"),
    "cut weights": (cut, {"name": "model.safetensors"}, ModelError, "truncated"),
    "other sizes": (
        rewrite,
        {"name": "config.json", "hidden_size": 32},
        ModelError,
        "in the weights",
    ),
    "a layer more": (
        rewrite,
        {"name": "config.json", "num_hidden_layers": 2},
        ModelError,
        "the weights lack ",
    ),
    "own python": (rewrite, {"name": "config.json", "auto_map": {}}, SafetyError, "its own Python"),
    "python that prepares": (
        rewrite,
        {"name": "preprocessor_config.json", "auto_map": {}},
        SafetyError,
        "its own Python",
    ),
    "a way out": (link, {"name": "model.safetensors"}, SafetyError, "leads out of the model"),
    "unknown": (rewrite, {"name": "config.json", "model_type": "vitt"}, ModelError, "'vitt'; did"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_folder_that_cannot_be_used_is_one_line(name, tmp_path):
    spoil, how, kind, message = SPOILT[name]
    folder = folder_of(tmp_path)
    spoil(folder, **how)
    with pytest.raises(kind) as caught:
        loaded("image", path=str(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_in_the_folder_chooses_among_the_classes_of_transformers_alone(tmp_path):
    folder = folder_of(tmp_path)
    rewrite(folder, "preprocessor_config.json", image_processor_type="os.system")
    assert type(found("image", path=str(folder)).processor).__name__.startswith("ViT")


def test_what_reads_something_else_is_refused(tmp_path):
    with pytest.raises(ModelError, match="bert models are no image encoders"):
        found("image", path=str(tiny_bert(tmp_path / "bert")))
    with pytest.raises(ModelError, match="vit models are no audio encoders"):
        found("audio", path=str(folder_of(tmp_path)))
    with pytest.raises(ConfigError, match=r"neither task\.image\.path nor"):
        found("image")
    with pytest.raises(ModelError, match="its config cannot be used"):
        loaded("image", config={"model_type": "vit", "hidden_size": "wide"})
    with pytest.raises(ModelError, match="reads another part of the same input each time"):
        loaded("image", config={"model_type": "vit_mae", **KINDS["vit"][1], "patch_size": 2})


def test_a_sound_is_cut_and_a_short_one_still_a_token():
    encoder = loaded("audio", config={"model_type": "hubert", **KINDS["hubert"][1]}).eval()
    long, short = (
        {"bytes": wav(samples), "path": None} for samples in (tone(300, 1.0), np.full(3, 0.1))
    )
    inputs = encoder.prepared([long, short])
    assert inputs["input_values"].shape == (2, 3200)
    assert encoder({"input_values": inputs["input_values"]})[1].any(1).all()
