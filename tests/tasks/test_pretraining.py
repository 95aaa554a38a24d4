"""Learning from texts alone: blocks, pairs, losses, and what a saved run is good for."""

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
from torchmetrics.text import Perplexity
from transformers import AutoModelForMaskedLM, BertForPreTraining, pipeline

from support import runs
from support.tiny_models import KINDS, WORDS, sentences, tiny_bert, tiny_model
from tunesmith import load
from tunesmith.config import resolved
from tunesmith.models import heads
from tunesmith.models.encoder import load_model, save
from tunesmith.models.spec import resolve_model, tokenizer
from tunesmith.pipeline.components import build_data, build_task
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import IGNORE
from tunesmith.tasks.pretraining import RIGHT, WRONG


def document(number):
    """Make a document of some sentences, which begin with its own word."""
    dice = random.Random(number)
    lines = sentences(dice.randint(3, 14), seed=number)
    return "\n".join(f"{WORDS[number]} {line}." for line in lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    tiny_bert(folder / "model")
    (folder / "corpus.txt").write_text("\n\n".join(document(i) for i in range(60)))
    return folder


def composed(folder, *changes, task="pretraining"):
    own = [f"task={task}", "data=files", f"data.train_file={folder}/corpus.txt"]
    own += ["data.split.validation=0.2", "data.max_length=32", "data.batch_size=8"]
    own += ["model=base", f"model.path={folder}/model", f"paths.runs={folder}/runs", "logger=none"]
    own += ["callbacks.progress=false", "trainer.precision=32", "trainer.num_threads=1"]
    return runs.composed(*own, *changes)


def built(folder, *changes, task="pretraining"):
    cfg = composed(folder, *changes, task=task)
    parts = load_inputs(resolved(cfg))
    made, _ = build_task(resolved(cfg), parts)
    return made.eval(), build_data(resolved(cfg), parts, made), parts


@pytest.fixture(scope="module", params=["nsp", "sop"])
def pairs(request, folder):
    """Return the task, its blocks, and 40 draws of each."""
    task, data, _ = built(folder, f"task.objective={request.param}", "task.mask_rate=0.01")
    blocks = list(data.encoded["train"].features)
    drawn = [
        (i, task.paired(block, np.random.default_rng([i, n]), blocks))
        for i, block in enumerate(blocks)
        for n in range(40)
    ]
    return task, [{name: np.asarray(v).tolist() for name, v in b.items()} for b in blocks], drawn


def halves(task, features):
    """Return the two segments' ids, as the token types part them."""
    ids, types = features["input_ids"], features["token_type_ids"]
    assert len(ids) == len(types) == len(features["words"])
    assert ids[0] == task.tokenizer.cls_token_id
    second = types.index(1)
    assert ids[second - 1] == ids[-1] == task.tokenizer.sep_token_id
    assert set(types[second:]) == {1}
    return ids[1 : second - 1], ids[second:-1]


def tails(block):
    """Return the ends of a block from each place on where it may be parted."""
    inside, places = block["input_ids"][1:-1], np.flatnonzero(block["cuts"][1:-1])
    return [inside[place:] for place in places]


def test_half_of_the_pairs_are_wrong(pairs):
    _, _, drawn = pairs
    labels = [features["pair"] for _, features in drawn]
    wrong, total = labels.count(WRONG), len(labels)
    assert labels.count(RIGHT) == total - wrong
    assert abs(wrong - total / 2) < 4 * math.sqrt(total / 4)


def test_a_right_pair_is_a_block_in_two(pairs):
    task, blocks, drawn = pairs
    for i, features in drawn:
        if features["pair"] == RIGHT:
            first, second = halves(task, features)
            assert first and second
            assert first + second == blocks[i]["input_ids"][1:-1]


def test_a_wrong_pair_is_what_the_objective_says(pairs):
    task, blocks, drawn = pairs
    for i, features in drawn:
        if features["pair"] == RIGHT:
            continue
        first, second = halves(task, features)
        own = blocks[i]["input_ids"][1:-1]
        if task.objective == "sop":
            assert second + first == own
            continue
        assert own[: len(first)] == first
        sources = {b["row"] for b in blocks for tail in tails(b) if tail[: len(second)] == second}
        assert sources - {blocks[i]["row"]}


def test_pairs_are_parted_where_sentences_begin(pairs):
    task, _, drawn = pairs
    stop = task.tokenizer.convert_tokens_to_ids(".")
    ends = [halves(task, f)[0][-1] == stop for _, f in drawn if f["pair"] == RIGHT]
    assert sum(ends) > 0.8 * len(ends)  # but for blocks of one sentence


def test_lengths_do_not_tell_a_wrong_pair_and_nothing_is_too_long(pairs):
    _, _, drawn = pairs
    lengths = {
        label: [len(f["input_ids"]) for _, f in drawn if f["pair"] == label]
        for label in (RIGHT, WRONG)
    }
    assert max(map(max, lengths.values())) <= 32
    assert abs(np.mean(lengths[RIGHT]) - np.mean(lengths[WRONG])) < 1.5


def test_words_of_two_segments_are_never_one(pairs):
    _, _, drawn = pairs
    for _, features in drawn:
        second = features["token_type_ids"].index(1)
        words = features["words"]
        assert not ({*words[:second]} & {*words[second:]}) - {-1}


def test_another_document_is_drawn_evenly():
    from tunesmith.tasks.pretraining import _of_another_document

    others = [{"row": row, "n": n} for n, row in enumerate([0, 0, 1, 1, 1, 1, 1, 2, 2, 3])]
    rng, count = np.random.default_rng(0), 4000
    drawn = [_of_another_document(others[4], rng, others)["n"] for _ in range(count)]
    times = np.bincount(drawn, minlength=10)
    assert times[2:7].tolist() == [0] * 5
    expected = count / 5
    assert all(abs(times[n] - expected) < 4 * math.sqrt(expected) for n in (0, 1, 7, 8, 9))


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_token_of_a_document_is_in_one_block(folder, side):
    for task_name in ("mlm", "pretraining"):
        task, data, parts = built(folder, f"data.truncation={side}", task=task_name)
        blocks = list(data.encoded["train"].features)
        for i, row in enumerate(parts.rows.splits["train"]):
            whole = task.tokenizer(row["text"], add_special_tokens=False)["input_ids"]
            own = [b["input_ids"][1:-1] for b in blocks if b["row"] == i]
            assert list(itertools.chain(*own)) == whole
            assert max(map(len, own)) <= 30


def epochs(data, *numbers):
    loader = data.train_dataloader()
    found = []
    for number in numbers:
        loader.set_epoch(number)
        found.append(list(loader))
    return found


def same(one, other):
    return len(one) == len(other) and all(
        all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys()
        for a, b in zip(one, other, strict=True)
    )


def test_masks_are_drawn_anew_in_each_epoch_and_the_same_for_a_seed(folder):
    _, data, _ = built(folder)
    _, again, _ = built(folder)
    _, other, _ = built(folder, "seed=1")
    (first, second), (repeated,) = epochs(data, 0, 1), epochs(again, 0)
    assert same(first, repeated)
    assert not same(first, second)
    assert not same(first, epochs(other, 0)[0])
    validation = [list(d.val_dataloader()) for d in (data, data, again, other)]
    assert all(same(validation[0], batches) for batches in validation[1:])


def test_a_resumed_epoch_has_the_same_batches(folder):
    _, data, _ = built(folder)
    (whole,) = epochs(data, 3)
    loader = data.train_dataloader()
    loader.set_epoch(3)
    stream = iter(loader)
    for _ in range(4):
        next(stream)
    resumed = built(folder)[1].train_dataloader()
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert same(whole[4:], list(resumed))


def test_the_loss_is_that_of_transformers(folder):
    task, data, _ = built(folder)
    batch = next(iter(data.val_dataloader()))
    model = BertForPreTraining.from_pretrained(folder / "model")
    model.load_state_dict(task.model.state_dict())
    for row in range(3):
        one = {k: v[row : row + 1] for k, v in batch.items()}
        with torch.no_grad():
            ours = task(one)
            theirs = model.eval()(
                **task.model_inputs(one), labels=one["labels"], next_sentence_label=one["pair"]
            )
        torch.testing.assert_close(ours.loss, theirs.loss)
        assert ours.weight == (one["labels"] != IGNORE).sum()


def test_scores_are_those_of_torchmetrics_on_whole_logits(folder):
    task, data, parts = built(folder, task="mlm")
    reference, right, unigram, total = Perplexity(ignore_index=IGNORE), 0, 0.0, 0
    counts = np.ones(len(task.tokenizer))
    counts[task.tokenizer.all_special_ids] = 0
    for row in parts.rows.splits["train"]:
        for token in task.tokenizer(row["text"], add_special_tokens=False)["input_ids"]:
            counts[token] += token not in task.tokenizer.all_special_ids
    tallies = []
    for batch in data.val_dataloader():
        with torch.no_grad():
            logits, output = task.logits(batch), task(batch)
        reference.update(logits, batch["labels"])
        hidden = batch["labels"] != IGNORE
        right += int((logits.argmax(-1) == batch["labels"])[hidden].sum())
        unigram -= np.log(counts[batch["labels"][hidden].numpy()] / counts.sum()).sum()
        total += int(hidden.sum())
        tallies += [[tally] for tally in task.decode(batch, output)]
    scores = task.score(task.aggregate(tallies, [{}] * len(tallies)), [{}] * len(tallies))
    perplexity = float(reference.compute())
    assert total > 50
    assert scores["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    assert scores["mlm_loss"] == pytest.approx(math.log(perplexity), rel=1e-5)
    assert scores["mlm_accuracy"] == pytest.approx(right / total)
    assert scores["unigram_loss"] == pytest.approx(unigram / total, rel=1e-5)


@pytest.fixture(scope="module")
def finished(folder):
    """Train a little, to a run directory for each task."""
    found = {}
    for task in ("mlm", "pretraining"):
        # By rows two epochs are 14 steps at most: documents are learnt in blocks, which are more.
        options = ["trainer.max_epochs=2", "trainer.val_check_interval=20"]
        options += ["optimizer.lr=3e-3", f"name={task}"]
        score = run(composed(folder, *options, task=task))
        (found[task],) = (folder / "runs" / task).iterdir()
        assert score == json.loads((found[task] / "metrics.json").read_text())["best"]
    return found


@pytest.mark.parametrize("task", ["mlm", "pretraining"])
def test_evaluate_repeats_what_validation_scored_to_the_bit(finished, task):
    recorded = json.loads((finished[task] / "metrics.json").read_text())["scores"]
    again = load(finished[task]).evaluate("validation")
    assert again == {name: recorded[name] for name in again}
    assert ("val/pair_accuracy" in again) == (task == "pretraining")
    assert 0 < again["val/mlm_loss"] < math.log(339) + 1


def test_a_mask_is_filled_as_transformers_fills_it(finished):
    run_ = finished["mlm"]
    text = f"{WORDS[3]} [MASK] {WORDS[5]} {WORDS[9]} [MASK]."
    (answer,) = load(run_).predict([text])
    model = AutoModelForMaskedLM.from_pretrained(run_ / "model")
    fill = pipeline("fill-mask", model=model, tokenizer=load(run_).task.tokenizer, top_k=5)
    wanted = [[(f["token_str"], f["score"]) for f in mask] for mask in fill(text)]
    given = [[(f["token"], f["probability"]) for f in mask] for mask in answer["fills"]]
    assert [[token for token, _ in mask] for mask in given] == [
        [token for token, _ in mask] for mask in wanted
    ]
    flat = [p for mask in given for _, p in mask]
    assert flat == pytest.approx([p for mask in wanted for _, p in mask], abs=1e-5)


@pytest.mark.parametrize("task", ["mlm", "pretraining"])
def test_the_loss_of_a_text_hides_each_token_once(finished, task):
    stored = load(finished[task])
    text = document(61).replace("\n", " ")[:120]
    model = (AutoModelForMaskedLM if task == "mlm" else BertForPreTraining).from_pretrained(
        finished[task] / "model"
    )
    encoded = stored.task.tokenizer(text, return_tensors="pt")
    ids, rounds = encoded["input_ids"][0], stored.task.masks.rounds
    assert len(ids) <= 29
    nats = []
    for number in range(rounds):
        chosen = torch.tensor(
            [i % rounds == number and 0 < i < len(ids) - 1 for i in range(len(ids))]
        )
        given = ids.masked_fill(chosen, stored.task.tokenizer.mask_token_id)[None]
        with torch.no_grad():
            found = model.eval()(**{**encoded, "input_ids": given})
        logits = found.logits if task == "mlm" else found.prediction_logits
        costs = torch.nn.functional.cross_entropy(logits[0], ids, reduction="none")
        nats += costs[chosen].tolist()
    (answer,) = stored.predict([text])
    assert answer["tokens"] == len(nats) == len(ids) - 2
    assert answer["loss"] == pytest.approx(np.mean(nats), rel=1e-4)
    assert answer["fills"] == []


def test_a_text_of_several_blocks_is_one_answer_and_an_empty_one_has_no_loss(finished):
    stored = load(finished["mlm"])
    long = " ".join(document(i).replace("\n", " ") for i in range(4))
    one, empty = stored.predict([f"{long} [MASK]", ""])
    whole = stored.task.tokenizer(long, add_special_tokens=False)["input_ids"]
    assert one["tokens"] == len(whole) > 60
    assert len(one["fills"]) == 1
    assert (empty["tokens"], empty["loss"], empty["fills"]) == (0, None, [])


@pytest.mark.parametrize("task", ["mlm", "pretraining"])
def test_tied_embeddings_stay_tied(finished, task):
    model = load(finished[task]).task.model
    inside, outside = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert inside is outside


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fresh_head_on_any_encoder_is_tied_and_saved_with_it(kind, tmp_path):
    given = {"labels": None, "head": heads.MASKED_LM}
    source = resolve_model(str(tiny_model(kind, tmp_path / "model")), **given)
    model = load_model(source).eval()
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    words = tokenizer(source)
    save(model, words, tmp_path / "saved")
    again = load_model(resolve_model(str(tmp_path / "saved"), **given)).eval()
    batch = words([" ".join(WORDS[:9])], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, again(**batch).logits)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_encoder_learns_masks_and_cuts_documents_into_blocks(kind, folder, tmp_path):
    tiny_model(kind, tmp_path / "model")
    task, data, parts = built(folder, f"model.path={tmp_path}/model", task="mlm")
    batch = next(iter(data.train_dataloader()))
    loss = task(batch).loss
    loss.backward()
    assert abs(float(loss.detach()) - math.log(len(task.tokenizer))) < 3
    blocks = [b for b in data.encoded["train"].features if b["row"] == 0]
    text = parts.rows.splits["train"][0]["text"]
    whole = task.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sum(sum(word >= 0 for word in b["words"]) for b in blocks) == len(
        [i for i in whole if i not in task.special]
    )


@pytest.mark.parametrize("task", ["mlm", "pretraining"])
def test_a_run_is_an_encoder_for_any_other_task(finished, folder, task):
    trained = load(finished[task]).task.model
    cfg = runs.composed("model=base", f"model.path={finished[task]}")
    source = resolve_model(cfg.model.path, labels=["a", "b"], head=heads.SINGLE_LABEL)
    torch.manual_seed(0)
    model = load_model(source)
    own = dict(trained.base_model.named_parameters())
    taken = dict(model.base_model.named_parameters())
    fresh = set() if task == "pretraining" else {n for n in taken if n.startswith("pooler.")}
    assert set(own) == set(taken) - fresh
    assert all(torch.equal(own[name], taken[name]) for name in own)
    assert {n.removeprefix("bert.") for n in model.fresh_pooler} == fresh


def test_a_run_goes_on_with_its_own_head(finished):
    trained = load(finished["mlm"]).task.model
    again = resolve_model(str(finished["mlm"]), labels=None, head=heads.MASKED_LM)
    assert again.own_head
    state = load_model(again).state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.state_dict().items())
    both = load_model(
        resolve_model(str(finished["mlm"]), labels=None, head=heads.MASKED_LM_AND_PAIRS)
    )
    transform = "cls.predictions.transform.dense.weight"
    assert torch.equal(both.state_dict()[transform], trained.state_dict()[transform])


def test_bbc_news_is_split_as_for_classification(tmp_path):
    def texts(task):
        cfg = runs.composed(f"task={task}", f"paths.cache={tmp_path}")
        from tunesmith.pipeline.inputs import read_rows

        splits = read_rows(resolved(cfg)).splits
        return {name: rows["text"][:] for name, rows in splits.items()}, splits["train"]

    (ours, rows), (theirs, _) = texts("mlm"), texts("classification")
    assert ours == theirs
    assert rows.column_names == ["row", "text"]


WRONG_INPUTS = {
    "a model that judges no pairs": (
        ["model.path={folder}/roberta"],
        4,
        "error[MODEL-CONFIG] {folder}/roberta: roberta models are not encoders that can judge "
        "pairs of segments; task=mlm needs no pairs",
    ),
    "no other document": (
        ["data.train_file={folder}/one.txt", "data.validation_file={folder}/corpus.txt"],
        3,
        "error[DATA-DOCUMENTS] data: one document, and none other to take a second segment from; "
        "task.objective=sop needs no other",
    ),
    "no other document, found out by a worker": (
        [
            "data.train_file={folder}/one.txt",
            "data.validation_file={folder}/corpus.txt",
            "data.workers=1",
        ],
        3,
        "error[DATA-DOCUMENTS] data: one document, and none other to take a second segment from; "
        "task.objective=sop needs no other",
    ),
    "weights for classes": (
        ["loss.class_weights=inverse"],
        2,
        "error[CONF-LOSS] loss.class_weights=inverse: "
        "a vocabulary's tokens are no classes to weigh",
    ),
    "no room for two segments": (
        ["data.max_length=4"],
        2,
        "error[CONF-LENGTH] data.max_length=4: "
        "two segments and three special tokens need more room; at least 5",
    ),
    "never scored": (
        ["trainer.val_check_interval=500", "trainer.max_epochs=1"],
        2,
        "error[CONF-RANGE] trainer.val_check_interval=500: the run has 26 steps and would never be "
        "scored",
    ),
    "an unknown objective": (
        ["task.objective=npc"],
        2,
        "error[CONF-CHOICE] task.objective=npc: must be one of nsp, sop; did you mean 'nsp'?",
    ),
    "a mask rate of everything": (
        ["task.mask_rate=1"],
        2,
        "error[CONF-RANGE] task.mask_rate=1: must be a number > 0 and < 1",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG_INPUTS))
def test_what_is_wrong_is_said_in_one_line(folder, case):
    changes, code, says = WRONG_INPUTS[case]
    if not (folder / "roberta").exists():
        tiny_model("roberta", folder / "roberta")
        (folder / "one.txt").write_text(document(80))
    cfg = composed(folder, *(change.format(folder=folder) for change in changes))
    error = runs.refused(cfg)
    assert str(error) == says.format(folder=folder)
    assert error.exit_code == code
