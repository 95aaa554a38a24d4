"""Multimodal classification from the command line: trained, evaluated, predicted, refused."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from support.commands import only_run, tunesmith
from support.media_files import write_media
from support.runs import composed, of_files, predicted, scored_again, to_the_bit, trained
from support.tiny_models import sentences, tiny_bert
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.config import resolved
from tunesmith.errors import DataError, ModelError, SafetyError, TunesmithError
from tunesmith.inference import finished_run
from tunesmith.models import media_encoder, media_spec
from tunesmith.models.fusion import FUSIONS
from tunesmith.pipeline.components import build_data, build_task, frozen_at_random
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.capabilities import encoders_of, head_names
from tunesmith.training.adapt.frozen_layers import frozen
from tunesmith.training.adapt.full_tuning import full

VIT = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT |= {"intermediate_size": 32, "image_size": 16, "patch_size": 8}
BESIDE = ["data.image=photo", "data.numeric=[price,age]", "data.categorical=[brand]"]
SIZES = {"train": 40, "validation": 20, "test": 20}


def rows_of(count, seed):
    """Make rows of which a third lacks the image, another the price, another the brand."""
    return [
        {
            "text": text,
            "label": ["no", "yes"][i % 2],
            "photo": f"photos/{i % 5}.png" if (i + seed) % 3 else None,
            "price": None if i % 4 == 3 else 10.0 * (i % 7),
            "age": i,
            "brand": None if i % 5 == 4 else "abc"[i % 3],
        }
        for i, text in enumerate(sentences(count, seed=seed))
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multimodal")
    tiny_bert(folder / "model")
    write_media(folder / "photos")
    for seed, (split, count) in enumerate(SIZES.items()):
        write(folder / f"{split}.jsonl", rows_of(count, seed))
    torch.manual_seed(0)
    options = {"path": None, "revision": None, "pretrained": True, "config": VIT}
    media_encoder.save(
        media_encoder.load(media_spec.resolve_media_encoder("image", **options)), folder / "vit"
    )
    own = [*BESIDE, f"task.image.path={folder}/vit", "data.max_length=24", "trainer.max_epochs=1"]
    return folder, of_files(folder, "multimodal", *own)


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """Train a run, and take away all that it was made from but the rows."""
    folder, arguments = inputs
    apart = tmp_path_factory.mktemp("apart")
    for name in ("model", "vit"):
        shutil.copytree(folder / name, apart / name)
    used = [*arguments, f"task.image.path={apart}/vit", f"model.path={apart}/model"]
    done = trained(folder, *used, name="one")
    shutil.rmtree(apart)
    return done


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])


def test_predictions_are_what_was_scored(finished, inputs, tmp_path, monkeypatch):
    directory, record = finished
    monkeypatch.setattr(finished_run, "CHUNK_OF_FILES", 7)  # of 20 rows
    given = predicted(directory, inputs[0] / "test.jsonl", tmp_path / "o.jsonl")
    right = sum(row["predicted_label"] == row["label"] for row in given)
    assert right / len(given) == pytest.approx(record["scores"]["test/accuracy"])
    rows = [
        {
            "text": row["text"],
            "image": row["photo"] and str(inputs[0] / row["photo"]),
            "numeric": [row["price"], row["age"]],
            "categorical": [row["brand"]],
        }
        for row in given
    ]
    answers = load(directory).predict(rows)
    for row, answer in zip(given, answers, strict=True):
        assert answer["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)


def test_a_row_may_lack_all_but_its_text(finished):
    directory, _ = finished
    bare = {"text": sentences(1)[0], "image": None, "numeric": [None, None], "categorical": [None]}
    unseen = bare | {"categorical": ["never seen"]}
    for answer in load(directory).predict([bare, unseen]):
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_what_was_learnt_lies_in_the_run_and_nothing_is_pickled(finished):
    directory, _ = finished
    files = {str(p.relative_to(directory / "model")) for p in (directory / "model").rglob("*")}
    assert {"image/config.json", "image/model.safetensors", "task.safetensors"} < files
    assert {p.rpartition(".")[2] for p in files if "." in p} == {"json", "safetensors"}
    names = set(load_file(directory / "model/task.safetensors"))
    assert not [name for name in names if name.startswith(("model.", "encoders."))]
    assert {
        "table.mean",
        "table.codes",
        "projections.image.0.weight",
        "classifier.1.weight",
    } < names


def copied(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "run")


def spoil(run_, change):
    file = run_ / "model/task.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


SPOILT = {
    "a part is missing": (
        lambda t: t.pop("classifier.1.weight"),
        ModelError,
        "lacks 1, such as classifier.1.weight",
    ),
    "another shape": (
        lambda t: t.update({"classifier.1.weight": torch.zeros(3)}),
        ModelError,
        "'classifier.1.weight' has another shape",
    ),
    "a table without its sizes": (lambda t: t.pop("table.codes"), ModelError, "no whole table"),
    "the model from elsewhere": (
        lambda t: t.update({"model.embeddings.word_embeddings.weight": torch.zeros(3)}),
        SafetyError,
        "sets 'model.embeddings.word_embeddings.weight', nothing of the task's",
    ),
    "an encoder from elsewhere": (
        lambda t: t.update({"encoders.image.model.layernorm.weight": torch.zeros(16)}),
        SafetyError,
        "nothing of the task's",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_run_that_was_tampered_with_is_refused(name, finished, tmp_path):
    change, kind, message = SPOILT[name]
    run_ = copied(finished[0], tmp_path)
    spoil(run_, change)
    with pytest.raises(kind) as caught:
        load(run_).predict([("a", None, [1, 2], ["a"])])
    assert message in str(caught.value)


def test_a_run_cannot_name_weights_outside_of_it(finished, inputs, tmp_path):
    run_ = copied(finished[0], tmp_path)
    shutil.rmtree(run_ / "model/image")
    with pytest.raises(ModelError, match="no such directory"):  # whatever its config names
        load(run_).predict([("a", None, [1, 2], ["a"])])
    (run_ / "model/image").symlink_to(inputs[0] / "vit")
    with pytest.raises(SafetyError, match="UNSAFE-PATH"):
        load(run_).predict([("a", None, [1, 2], ["a"])])


# What it computes


@pytest.fixture(scope="module", params=FUSIONS)
def built(request, inputs):
    cfg = composed(*inputs[1], f"task.fusion={request.param}", "name=built")
    parts = load_inputs(resolved(cfg))
    task, _ = build_task(resolved(cfg), parts)
    return cfg, parts, task.eval(), build_data(resolved(cfg), parts, task)


def logits_of(task, features):
    with torch.no_grad():
        return task.logits(task.collate(features))


def test_what_other_rows_have_changes_no_logits(built):
    _, _, task, data = built
    features = [data.encoded["train"].features[i] for i in range(6)]
    assert {bool(f["image"]["path"]) for f in features} == {True, False}
    together = logits_of(task, features)
    alone = torch.cat([logits_of(task, [f]) for f in features])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_every_part_is_read(built):
    _, _, task, data = built
    [first] = [f for f in data.encoded["train"].features if f["row"] == 1]
    other = data.encoded["train"].features[2]
    changes = {
        "image": {"image": {"path": "", "bytes": b""}},
        "numbers": {"numbers": [np.nan, 3.0]},
        "codes": {"codes": other["codes"]},
        "text": {"input_ids": [*first["input_ids"][:-2], *first["input_ids"][-1:]]},
    }
    before = logits_of(task, [first])
    for name, change in changes.items():
        drop = ("token_type_ids",) if name == "text" else ()
        changed = {k: v for k, v in {**first, **change}.items() if k not in drop}
        assert (logits_of(task, [changed]) - before).abs().max() > 1e-4, name


def test_the_head_learns_where_all_else_is_frozen(inputs):
    cfg = composed(*inputs[1], "name=frozen", "task.image.pretrained=false")
    task, _ = build_task(resolved(cfg), load_inputs(resolved(cfg)))
    everything = set(full(task, 10.0).factors)
    adaptation = frozen(task, "all", 10.0)
    factors = adaptation.factors
    assert set(factors) == head_names(task) < everything
    assert set(factors.values()) == {10.0}
    assert {name.partition(".")[0] for name in factors} == {
        "projections",
        "table",
        "fusion",
        "classifier",
    }
    assert not any(p.requires_grad for one in encoders_of(task) for p in one.parameters())
    found = load_inputs(resolved(cfg))
    assert frozen_at_random(task, found, adaptation) == ["task.image"]
    whole, learns = build_task(resolved(cfg), found)
    assert frozen_at_random(whole, found, learns) == []


@pytest.mark.parametrize(
    "beside", [["data.numeric=[age]"], ["data.audio=clip"], ["data.image=photo"]]
)
def test_each_modality_alone_is_enough(beside, inputs, tmp_path):
    _, arguments = inputs
    write_media(tmp_path)
    rows = [{**row, "clip": f"{i % 5}.wav"} for i, row in enumerate(rows_of(16, 0))]
    train = write(inputs[0] / "clips.jsonl", rows)
    words = [word for word in arguments if word not in BESIDE and "_file=" not in word]
    words += [
        *beside,
        f"data.train_file={train}",
        "data.split.validation=0.3",
        "trainer.max_steps=1",
    ]
    words += ["task.audio.seconds=0.1", "test=false", "logger=none", f"paths.runs={tmp_path}/runs"]
    media_folder = [f"data.media={tmp_path}"] if "clip" in beside[0] else []
    run(composed(*words, *media_folder))
    finished = load(only_run(tmp_path))
    cell = {"data.numeric=[age]": [3], "data.audio=clip": str(tmp_path / "1.wav")}
    [answer] = finished.predict([("a text", cell.get(beside[0], str(inputs[0] / "photos/1.png")))])
    assert answer["label"] in ("no", "yes")


# What cannot be

BAD = {
    "nothing beside the text": (
        ["data.image=null", "data.numeric=null", "data.categorical=null"],
        2,
        "error[CONF-MISSING] task: nothing stands beside the text; set data.image, ",
    ),
    "a column that is not there": (["data.image=foto"], 3, "no column 'foto'; columns: "),
    "one of several columns": (["data.numeric=[price,agee]"], 3, "no column 'agee'; columns: "),
    "no such encoder": (["task.image.path=./none"], 4, "error[MODEL-404] ./none: no such dir"),
    "an encoder of texts": (["task.image.path=${model.path}"], 4, "bert models are no image enc"),
    "no encoder at all": (
        ["task.image.path=null", "task.image.config.model_type=null"],
        2,
        "error[CONF-MODEL] task.image: no image encoder: neither task.image.path nor ",
    ),
    "an unknown fusion": (["task.fusion=sum"], 2, "error[CONF-CHOICE] task.fusion=sum: "),
    "another folder": (["data.media=/tmp"], 3, ".jsonl:2: photo 'photos/"),
    "words for numbers": (["data.numeric=[brand]"], 3, ".jsonl:1: brand 'a' is not a number"),
    "windows": (["data.truncation=windows"], 2, "error[CONF-LENGTH] data.truncation=windows: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    more, code, message = BAD[name]
    cfg = composed(*inputs[1], *more, "name=bad")
    assert exit_code(lambda: run(cfg)) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[0]
    assert all(line.startswith("error[") for line in said)  # one a split


FILES = {
    "missing": ("image", "none.png", "photo 'none.png': no such file in "),
    "corrupt": ("image", "broken.png", "photo 'broken.png' cannot be read as an image ("),
    "of an unknown format": ("audio", "song.mp3", "photo 'song.mp3' is no PCM wav file ("),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named_with_its_row(inputs, name, tmp_path, finished, capsys):
    kind, file, message = FILES[name]
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "song.mp3").write_bytes(b"ID3 and so on")
    rows = [{**row, "photo": file if i == 6 else None} for i, row in enumerate(rows_of(16, 0))]
    train = write(tmp_path / "train.jsonl", rows)
    words = [word for word in inputs[1] if "_file=" not in word and word not in BESIDE]
    words += [f"data.{kind}=photo", f"data.train_file={train}", "data.split.validation=0.3"]
    assert exit_code(lambda: run(composed(*words, "name=bad"))) == 3
    said = capsys.readouterr().err.strip()
    assert f"train.jsonl:7: {message}" in said
    assert "\n" not in said
    if kind == "image":
        done = tunesmith(["predict", finished[0], train])
        assert done.returncode == 3
        assert f"train.jsonl:7: {message}" in done.stderr


def test_a_file_that_went_away_is_one_line(built):
    _, _, task, data = built
    features = dict(data.encoded["train"].features[1])
    features["image"] = {"path": "/gone/1.png", "bytes": b""}
    with pytest.raises(DataError, match=r"image: '1.png' cannot be read"):
        task.collate([features])


def test_the_same_text_with_another_image_is_another_row(inputs, tmp_path, caplog):
    write_media(tmp_path, 2)
    shutil.copy(tmp_path / "0.png", tmp_path / "again.png")
    rows = [{"text": "one text", "label": "ab"[i], "photo": f"{i}.png"} for i in range(2)]
    rows += [{"text": f"text {i}", "label": "ab"[i % 2], "photo": None} for i in range(6)]
    words = [word for word in inputs[1] if "_file=" not in word and word not in BESIDE]
    for more, count in (([], 0), ([{**rows[0], "photo": "again.png", "label": "b"}], 1)):
        train = write(tmp_path / "train.jsonl", rows + more)
        dev = write(tmp_path / "dev.jsonl", [{**row, "text": "dev " + row["text"]} for row in rows])
        files = [f"data.train_file={train}", f"data.validation_file={dev}", "data.image=photo"]
        notes = load_inputs(resolved(composed(*words, *files))).rows.notes
        assert len([note for note in notes if "two labels" in note]) == count


def test_a_number_that_is_none_is_missing_as_null_is(inputs, tmp_path):
    for split in ("train", "validation"):
        lines = (inputs[0] / f"{split}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for i, row in enumerate(rows):
            row["price"] = [math.nan, None, 2.5][i % 3]
        write(tmp_path / f"{split}.jsonl", rows)
    files = [f"data.{split}_file={tmp_path}/{split}.jsonl" for split in ("train", "validation")]
    words = [word for word in inputs[1] if "_file=" not in word and word not in BESIDE]
    words += [*files, "data.numeric=[price]", "test=false", f"paths.cache={tmp_path}/cache"]
    read = load_inputs(resolved(composed(*words))).rows.splits["train"]["numeric"]
    assert list(read)[:6] == [[None], [None], [2.5]] * 2


def test_a_file_that_was_replaced_under_its_name_makes_other_rows(inputs, tmp_path):
    write_media(tmp_path / "photos")
    for split in ("train", "validation"):
        shutil.copy(inputs[0] / f"{split}.jsonl", tmp_path)
    files = [f"data.{split}_file={tmp_path}/{split}.jsonl" for split in ("train", "validation")]
    cfg = composed(*inputs[1], *files, "test=false", f"paths.cache={tmp_path}/cache")
    before, again = load_inputs(resolved(cfg)).rows, load_inputs(resolved(cfg)).rows
    assert (again.fingerprint, again.hashes) == (before.fingerprint, before.hashes)
    shutil.copy(tmp_path / "photos/1.png", tmp_path / "photos/0.png")
    after = load_inputs(resolved(cfg)).rows
    assert after.fingerprint != before.fingerprint
    assert after.hashes["train"] != before.hashes["train"]
    (tmp_path / "photos/0.png").unlink()
    with pytest.raises(TunesmithError, match=r"photo 'photos/0.png': no such file in "):
        load_inputs(resolved(cfg))
