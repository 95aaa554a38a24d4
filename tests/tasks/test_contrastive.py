"""Contrastive learning: which pairs are drawn, what they cost, and the head that is fitted."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from support.commands import only_run, small, train
from support.runs import composed, predicted, scored_again, to_the_bit, trained
from support.tiny_models import KINDS, TOKENIZERS, sentences, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.config import resolved
from tunesmith.errors import TunesmithError
from tunesmith.models import heads
from tunesmith.models.encoder import head_parameters, load_model
from tunesmith.models.logistic_head import LogisticHead
from tunesmith.models.spec import resolve_model
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import IGNORE
from tunesmith.tasks.contrastive import Contrastive
from tunesmith.tasks.losses import PairCosine
from tunesmith.training import checkpoint_io

LABELS = ["a", "b", "c"]


class Bag(torch.nn.Module):
    """An encoder that only looks tokens up."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"hidden_size": 4})
        self.table = torch.nn.Embedding(400, 4)

    def forward(self, input_ids, **inputs):
        return type("Output", (), {"last_hidden_state": self.table(input_ids)})


def task_of(pairs=1, labels=LABELS, **options):
    torch.manual_seed(0)
    return Contrastive(
        pairs_per_text=pairs,
        l2=1.0,
        tokenizer=TOKENIZERS["bert"](),
        labels=labels,
        max_length=16,
        truncation="right",
        loss=PairCosine(),
        **{"model": Bag(), **options},
    )


def split_of(task, labels):
    """Return the encoded rows of a split with these labels, as a loader has them."""
    rows = [{"text": t, "label": x} for t, x in zip(sentences(len(labels)), labels, strict=True)]
    features = [f | {"row": i} for i, row in enumerate(rows) for f in task.encode(row)]
    return Dataset.from_list(features)


# The head


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_head_is_scikit_learns(penalty):
    dice = np.random.default_rng(int(penalty * 10))
    rows, labels = dice.normal(size=(60, 7)), np.concatenate([range(4), dice.integers(0, 4, 56)])
    head = LogisticHead(7, 4, penalty)
    head.fit(torch.from_numpy(rows), torch.from_numpy(labels))
    reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(rows, labels)
    np.testing.assert_allclose(head.weight, reference.coef_, atol=1e-4)
    wanted = reference.predict_proba(rows)
    shares = head(torch.from_numpy(rows).float()).softmax(-1)
    np.testing.assert_allclose(shares, wanted, atol=1e-4)


def test_the_head_of_two_labels_is_scikit_learns_with_half_the_penalty():
    dice = np.random.default_rng(0)  # its weight is one vector, the difference of our two
    rows, labels = dice.normal(size=(40, 5)), np.concatenate([[0, 1], dice.integers(0, 2, 38)])
    head = LogisticHead(5, 2, 1.0)
    head.fit(torch.from_numpy(rows), torch.from_numpy(labels))
    reference = LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000).fit(rows, labels)
    shares = head(torch.from_numpy(rows).float()).softmax(-1)
    np.testing.assert_allclose(shares, reference.predict_proba(rows), atol=1e-4)


# Pairs


def test_a_row_meets_as_many_of_its_class_as_of_others_and_never_itself():
    task = task_of(pairs=3)
    labels = [LABELS[i % 3] for i in range(12)]
    split = split_of(task, labels)
    met = Counter()
    for i in range(12):
        for epoch in range(20):
            found = task.augment(split[i], np.random.default_rng([0, epoch, i]), split)
            assert found["same"] == [1, 1, 1, 0, 0, 0]
            others = [(partner["row"], labels[partner["row"]]) for partner in found["partners"]]
            assert all(row != i and label == labels[i] for row, label in others[:3])
            assert all(label != labels[i] for _, label in others[3:])
            met.update((i, row) for row, _ in others)
    assert len(met) == 12 * 11  # each has met each other


def test_the_same_seed_epoch_and_row_draw_the_same_pairs():
    task = task_of(pairs=2)
    split = split_of(task, LABELS * 5)
    draws = [
        task.augment(split[3], np.random.default_rng(seed), split) for seed in ([1, 0, 3],) * 2
    ]
    assert draws[0] == draws[1]
    rows = [
        [
            p["row"]
            for p in task.augment(split[3], np.random.default_rng([1, e, 3]), split)["partners"]
        ]
        for e in range(5)
    ]
    assert len(set(map(tuple, rows))) > 1


def test_a_pair_that_cannot_be_is_not_counted():
    task = task_of()
    lonely = split_of(task, ["a", "b", "b"])
    first = task.augment(lonely[0], np.random.default_rng(0), lonely)
    assert first["same"] == [IGNORE, 0]
    one_class = split_of(task, ["a", "a"])
    assert task.augment(one_class[0], np.random.default_rng(0), one_class)["same"] == [1, IGNORE]
    alone = split_of(task, ["a"])
    output = task(task.collate([task.augment(alone[0], np.random.default_rng(0), alone)]))
    assert (float(output.loss), float(output.weight)) == (0.0, 0.0)


@pytest.mark.parametrize("pairs", [1, 2])
def test_the_loss_is_the_squared_error_of_the_cosines(pairs):
    task = task_of(pairs=pairs)
    split = split_of(task, [*LABELS, "a", "b"])  # nobody else is a c
    varied = [task.augment(split[i], np.random.default_rng(i), split) for i in range(5)]
    output = task(task.collate(varied))

    def embedded(features):
        vector = task.model.table.weight[features["input_ids"]].mean(0).detach().numpy()
        return vector / np.linalg.norm(vector)

    errors = [
        (embedded(f) @ embedded(partner) - same) ** 2
        for f in varied
        for partner, same in zip(f["partners"], f["same"], strict=True)
        if same != IGNORE
    ]
    assert float(output.loss) == pytest.approx(np.mean(errors), abs=1e-6)
    assert float(output.weight) == len(errors) == 9 * pairs


# Encoders


@pytest.mark.parametrize("kind", KINDS)
def test_every_encoder_embeds_and_all_of_it_learns(kind, tmp_path):
    folder = tiny_model(kind, tmp_path / kind)
    source = resolve_model(str(folder), labels=LABELS, head=heads.NO_HEAD)
    model = load_model(source)
    task = task_of(model=model).eval()
    task.tokenizer = source.words
    split = split_of(task, LABELS * 2)
    varied = [task.augment(split[i], np.random.default_rng(i), split) for i in range(6)]
    task(task.collate(varied)).loss.backward()
    assert [name for name, p in task.named_parameters() if p.grad is None] == []
    assert head_parameters(model) == set()
    plain = AutoModel.from_pretrained(folder).eval()
    [features] = task.encode({"text": sentences(1)[0]})
    ids = torch.tensor([features["input_ids"]])
    wanted = plain(ids).last_hidden_state.mean(1)
    found = task.embed(task.collate([features]))
    torch.testing.assert_close(found, torch.nn.functional.normalize(wanted), atol=1e-5, rtol=1e-4)


def test_any_head_of_a_checkpoint_is_left_out(tmp_path):
    folder = tiny_bert(tmp_path / "model", head="classification", labels=["x", "y"])
    model = load_model(resolve_model(str(folder), labels=LABELS, head=heads.NO_HEAD))
    assert not any("classifier" in name or "pooler" in name for name, _ in model.named_parameters())


# Runs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    arguments = [
        "task=contrastive",
        "data.shots_per_class=6",
        "trainer.max_epochs=4",
        "logger=none",
    ]
    return folder, [*small(folder), *arguments, "data.batch_size=4", "trainer.precision=32"]


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    return trained(folder, *arguments, name="whole")


def test_it_learns_from_a_few_rows(finished):
    _, record = finished
    assert record["steps"] == 4 * 12 / 4
    assert record["scores"]["test/accuracy"] >= record["baseline"]["test/accuracy"] + 0.25


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished, inputs):
    directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])
    assert load(directory).evaluate("train")["train/accuracy"] > 0.5
    again = load(directory).evaluate(data=f"{inputs[0]}/test.csv")
    assert again["test/accuracy"] == record["scores"]["test/accuracy"]


def test_predictions_are_what_was_scored(finished, inputs, tmp_path):
    directory, record = finished
    given = predicted(directory, inputs[0] / "test.csv", tmp_path / "o.jsonl")
    right = [row["label"] == row["predicted_label"] for row in given]
    assert sum(right) / len(right) == pytest.approx(record["scores"]["test/accuracy"])


def test_the_head_is_that_of_the_best_weights_on_the_drawn_rows(finished, inputs):
    directory, _ = finished
    tensors = load_file(directory / "model/task.safetensors")
    assert set(tensors) == {"classifier.weight", "classifier.bias"}
    model = AutoModel.from_pretrained(directory / "model").eval()  # as anybody loads it
    words = AutoTokenizer.from_pretrained(directory / "model")

    rows = load_inputs(resolved(composed(*inputs[1]))).rows.splits["train"].to_list()
    assert Counter(row["label"] for row in rows) == {"neg": 6, "pos": 6}
    with torch.no_grad():
        means = [model(**words(r["text"], return_tensors="pt"))[0].mean(1) for r in rows]
    head = LogisticHead(32, 2, 1.0)
    embeddings = torch.nn.functional.normalize(torch.cat(means))
    head.fit(embeddings, torch.tensor([["neg", "pos"].index(row["label"]) for row in rows]))
    torch.testing.assert_close(head.weight, tensors["classifier.weight"], atol=1e-4, rtol=1e-3)


def test_a_run_that_was_stopped_goes_on_to_the_bit(finished, inputs):
    whole, record = finished
    folder, arguments = inputs
    cfg = composed(*arguments, "name=stopped", "trainer.pause_at_step=4")
    assert exit_code(lambda: run(cfg)) == 75
    directory = only_run(folder, "stopped")
    run(composed(*arguments, "name=stopped", f"resume={directory}"))
    again = json.loads((directory / "metrics.json").read_text())
    assert again["scores"] == record["scores"]
    states = [
        checkpoint_io.read(d / "checkpoints/last.ckpt")["state_dict"] for d in (whole, directory)
    ]
    assert states[0].keys() == states[1].keys()
    assert "task.classifier.weight" in states[0]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_another_seed_draws_other_rows_and_a_fixed_draw_does_not(inputs, tmp_path):

    asked = [[], ["seed=1"], ["seed=1", "data.shot_seed=0"]]
    first, other, held = (
        load_inputs(resolved(composed(*inputs[1], *more))).rows.hashes for more in asked
    )
    assert first["validation"] == other["validation"] == held["validation"]
    assert first["train"] == held["train"] != other["train"]


def test_a_wholly_frozen_encoder_is_refused(inputs):
    cfg = composed(*inputs[1], "adapt=frozen", "name=frozen")
    with pytest.raises(TunesmithError) as caught:
        run(cfg)
    assert str(caught.value) == (
        "error[CONF-RANGE] adapt.layers=all: the task has no head, so nothing is left to learn; "
        "fix fewer layers"
    )


def test_methods_are_compared_over_draws_in_one_command(inputs, tmp_path):
    folder, arguments = inputs
    for split in ("train", "validation"):  # labels that are words of the model's
        text = (folder / f"{split}.csv").read_text().replace(",neg", ",b").replace(",pos", ",d")
        (tmp_path / f"{split}.csv").write_text(text)
    words = [
        w for w in arguments if not w.startswith(("task=", "paths.", "data.test", "trainer.m"))
    ]
    words = [w.replace(f"{folder}/train", f"{tmp_path}/train") for w in words]
    words = [w.replace(f"{folder}/validation", f"{tmp_path}/validation") for w in words]
    command = ["-m", *words, "task=contrastive,classification,prompt", "seed=1,2", "study=few"]
    command += ["trainer.max_epochs=1", "executor.workers=1", f"paths.runs={tmp_path}/runs"]
    done = train(command)
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads((tmp_path / "runs/few/summary.json").read_text())
    tasks = {trial["params"]["task"] for trial in made["trials"]}
    assert tasks == {"contrastive", "classification", "prompt"}
    for trial in made["trials"]:
        assert f"{trial['score']:.4f} ± {trial['deviation']:.4f}" in done.stdout
        runs = [tmp_path / "runs/few" / trial["directory"] / f"seed-{seed}" for seed in (1, 2)]
        rows = [json.loads((r / "metrics.json").read_text())["rows"] for r in runs]
        assert rows[0]["train"] != rows[1]["train"]
        assert rows[0]["validation"] == rows[1]["validation"]
