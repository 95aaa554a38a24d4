"""Similarity: bi- and cross-encoders, their scores, and vectors that plain transformers repeats."""

import json
import math
import random

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Value
from safetensors.torch import load_file
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from support.commands import train
from support.runs import (
    composed,
    lines,
    of_files,
    one_line,
    predicted,
    scored_again,
    to_the_bit,
    trained,
)
from support.tiny_models import KINDS, sentences, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.config import resolved
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model, tokenizer
from tunesmith.pipeline.inputs import read_rows
from tunesmith.tasks.bases.numeric import correlations, errors
from tunesmith.tasks.cross_encoder_similarity import CrossEncoderSimilarity
from tunesmith.tasks.losses import MeanSquaredError
from tunesmith.tasks.similarity import Similarity
from tunesmith.tasks.text.pooling import pooled

SIZES = {"train": 48, "validation": 16, "test": 24}


def pair(number):
    """Make two sentences, and the share of words in both, as a number from 0 to 5."""
    dice = random.Random(number)
    words, others = (text.split() for text in sentences(2, seed=number))
    kept = dice.randint(0, len(words))
    second = words[:kept] + others[: len(words) - kept]
    return {"a": " ".join(words), "b": " ".join(second), "score": round(5 * kept / len(words), 2)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("similarity")
    tiny_bert(folder / "model")
    start = 0
    for split, count in SIZES.items():
        lines(folder / f"{split}.jsonl", (pair(start + i) for i in range(count)))
        start += count
    columns = ["data.text=a", "data.text_pair=b", "data.label=score"]
    return folder, of_files(folder, "similarity", *columns, "trainer.precision=32")


def task_choice(encoder):
    return [] if encoder == "bi" else ["task=cross_encoder_similarity"]


@pytest.fixture(scope="module", params=["bi", "cross"])
def finished(request, inputs):
    folder, arguments = inputs
    encoder = request.param
    return encoder, *trained(folder, *arguments, *task_choice(encoder), name=encoder)


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    _, directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])


def test_predictions_are_what_was_scored_as_scipy_scores_them(finished, inputs, tmp_path):
    encoder, directory, record = finished
    given = predicted(directory, inputs[0] / "test.jsonl", tmp_path / "out.jsonl")
    pairs = [(row["label"], row["score"]) for row in given]
    assert spearmanr(*zip(*pairs, strict=True)).statistic == pytest.approx(
        record["scores"]["test/spearman"]
    )
    assert pearsonr(*zip(*pairs, strict=True)).statistic == pytest.approx(
        record["scores"]["test/pearson"], abs=1e-6
    )
    assert all(("cosine" in row) == (encoder == "bi") for row in given)


def test_plain_transformers_repeats_what_is_predicted(finished):
    encoder, directory, _ = finished
    stored = load(directory)
    texts = tuple(sentences(2, seed=9))
    [answer] = stored.predict([texts])
    words = AutoTokenizer.from_pretrained(directory / "model")
    if encoder == "cross":
        model = AutoModelForSequenceClassification.from_pretrained(directory / "model").eval()
        output = model(**words(*texts, return_tensors="pt")).logits[0, 0]
    else:
        model = AutoModel.from_pretrained(directory / "model")
        read = words(list(texts), padding=True, return_tensors="pt")
        hidden, mask = model.eval()(**read).last_hidden_state, read["attention_mask"].unsqueeze(-1)
        first, second = (hidden * mask).sum(1) / mask.sum(1)
        output = torch.cosine_similarity(first, second, dim=0)
        assert answer["cosine"] == pytest.approx(float(output), abs=1e-5)
    label = float(stored.task.zero) + float(stored.task.unit) * float(output)
    assert answer["label"] == pytest.approx(label, abs=1e-4)


def test_a_bi_encoder_says_the_same_whichever_text_comes_first(finished):
    encoder, directory, _ = finished
    pairs = [tuple(sentences(2, seed=seed)) for seed in range(5)]
    there, back = (load(directory).predict(p) for p in (pairs, [p[::-1] for p in pairs]))
    same = [
        a["label"] == pytest.approx(b["label"], abs=1e-5) for a, b in zip(there, back, strict=True)
    ]
    assert all(same) if encoder == "bi" else not any(same)


@pytest.mark.parametrize("seed", range(4))
def test_correlations_are_scipys(seed):
    generator = torch.Generator().manual_seed(seed)
    guesses = torch.randn(50, generator=generator, dtype=torch.float64)
    truths = (guesses + torch.randn(50, generator=generator)).round()  # with ties
    found = correlations(guesses, truths)
    assert found["spearman"] == pytest.approx(spearmanr(guesses, truths).statistic)
    assert found["pearson"] == pytest.approx(pearsonr(guesses, truths).statistic)


@pytest.mark.parametrize("seed", range(4))
def test_errors_are_scikit_learns(seed):
    dice = np.random.default_rng(seed)
    truths = dice.normal(1e8, 3.0, size=50)
    guesses = truths + dice.normal(size=50)
    found = errors(torch.from_numpy(guesses), torch.from_numpy(truths))
    assert found == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(truths, guesses),
            "mse": metrics.mean_squared_error(truths, guesses),
            "rmse": metrics.root_mean_squared_error(truths, guesses),
            "r2": metrics.r2_score(truths, guesses),
        }
    )
    assert found["r2"] > 0.8


def test_constant_answers_have_r2_and_constant_labels_have_none():
    same, varied = torch.full((3,), 0.1).double(), torch.tensor([0.0, 1.0, 5.0]).double()
    assert errors(same, varied)["r2"] == pytest.approx(metrics.r2_score(varied, same))
    assert errors(varied.mean().expand(3), varied)["r2"] == pytest.approx(0.0)
    found = errors(varied, same)
    assert math.isnan(found["r2"]) and found["rmse"] == pytest.approx(float(found["mse"]) ** 0.5)
    assert errors(same, same)["mae"] == 0.0 and math.isnan(errors(same[:1], same[:1])["r2"])


def task_of(kind, folder, *, encoder="bi", pooling="mean", **model):
    task = Similarity if encoder == "bi" else CrossEncoderSimilarity
    options = {"pooling": pooling} if encoder == "bi" else {}
    path = str(tiny_model(kind, folder, **model))
    source = resolve_model(path, labels=None, head=task.head)
    return task(
        **options,
        model=load_model(source),
        tokenizer=tokenizer(source),
        labels=None,
        max_length=32,
        truncation="right",
        loss=MeanSquaredError(),
    ).eval()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_architecture_embeds_a_text_alike_alone_and_padded(kind, tmp_path):
    task = task_of(kind, tmp_path / "m")
    texts = sentences(4, seed=2)
    rows = [{"text": texts[0], "text_pair": texts[0]}, {"text": texts[1], "text_pair": texts[2]}]
    features = [f for row in rows for f in task.encode(row)]
    both = task.logits(task.collate(features))
    alone = torch.cat([task.logits(task.collate([f])) for f in features])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)
    assert both[0].item() == pytest.approx(1.0, abs=1e-5)
    assert both[1].item() < 0.999


def test_labels_become_cosines_from_0_to_1_or_standard_units(tmp_path):
    labels = Dataset.from_dict({"label": [1.0, 2.0, 5.0]})
    bi, cross = (task_of("bert", tmp_path / e, encoder=e) for e in ("bi", "cross"))
    bi.fit_statistics(labels)
    cross.fit_statistics(labels)
    assert (float(bi.zero), float(bi.unit)) == (1.0, 4.0)
    assert float(cross.zero) == pytest.approx(8 / 3)
    assert float(cross.unit) == pytest.approx(torch.tensor([1.0, 2, 5]).std(correction=0).item())


def test_pooling_is_the_mean_of_a_texts_tokens_or_its_first_one():
    hidden = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    torch.testing.assert_close(pooled(hidden, mask, "mean"), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(pooled(hidden, mask, "first"), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("head", [None, "masked_lm", "question_answering"])
def test_the_encoder_of_any_checkpoint_is_taken(head, tmp_path):
    task = task_of("bert", tmp_path / "model", head=head)
    kept = load_file(tmp_path / "model/model.safetensors")
    for name, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, kept.get(name, kept.get(f"bert.{name}")))


BAD = {
    "nothing that learns": (
        ["adapt=frozen", "adapt.layers=all"],
        "error[CONF-RANGE] adapt.layers=all: the task has no head, so nothing is left to learn; ",
    ),
    "no such pooling": (
        ["task.pooling=max"],
        "error[CONF-CHOICE] task.pooling=max: must be one of mean, first",
    ),
    "no second text": (
        ["data.text_pair=null"],
        "error[CONF-MISSING] data.text_pair=null: the task needs this column; give its name",
    ),
    "another loss": (
        ["loss=cross_entropy", "loss.class_weights=none"],
        "error[CONF-LOSS] loss=tunesmith.tasks.losses.CrossEntropy: Similarity learns by ",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    more, message = BAD[name]
    code, said = one_line(composed(*inputs[1], *more, "name=bad"), capsys)
    assert code == 2
    assert said.startswith(message)


@pytest.mark.torture
def test_encoders_are_compared_in_a_search(inputs, tmp_path):
    words = [word for word in inputs[1] if not word.startswith("task=")]
    words += [f"paths.runs={tmp_path}/runs", "trainer.max_epochs=1", "study=both"]
    done = train(["-m", *words, "executor.workers=1", "task=similarity,cross_encoder_similarity"])
    assert done.returncode == 0, done.stderr[-3000:]
    trials = json.loads((tmp_path / "runs/both/summary.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    assert len({trial["score"] for trial in trials}) == 2


def test_stsb_is_read_as_the_hub_has_it(tmp_path):
    types = {"sentence1": "string", "sentence2": "string", "label": "float32", "idx": "int32"}
    features = Features({name: Value(kind) for name, kind in types.items()})
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        made = [pair(1000 * len(split) + i) for i in range(count)]
        rows = [
            {
                "sentence1": row["a"],
                "sentence2": row["b"],
                "label": -1.0 if split == "test" else row["score"],
                "idx": i,
            }
            for i, row in enumerate(made)
        ]
        place = tmp_path / "hub/stsb" / f"{split}-00000-of-00001.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows, features=features).to_parquet(str(place))
    (tmp_path / "hub/README.md").write_text(
        "---\nconfigs:\n- config_name: stsb\n  data_files:\n"
        + "".join(
            f"  - split: {s}\n    path: stsb/{s}-*\n" for s in ("train", "validation", "test")
        )
        + "---\n"
    )
    more = [f"data.path={tmp_path}/hub", f"paths.cache={tmp_path}/cache"]
    usual = read_rows(resolved(composed("task=similarity", "data=stsb", *more)))
    assert len(usual.splits["train"]) + len(usual.splits["validation"]) == 40
    assert max(usual.splits["test"]["label"]) <= 5 and not usual.hidden_labels
    own = ["data.splits.validation=validation", "data.splits.test=test"]
    theirs = read_rows(resolved(composed("task=similarity", "data=stsb", *more, *own)))
    assert theirs.hidden_labels == {"test"}
