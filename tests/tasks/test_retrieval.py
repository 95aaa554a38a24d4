"""Retrieval: what is a negative in a batch, what is a candidate in a file, and what is scored."""

import json
from collections import defaultdict

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from support.bad_inputs import row
from support.runs import composed, lines, of_files, predicted, scored_again, to_the_bit, trained
from support.tiny_models import sentences, tiny_bert
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.errors import DataError
from tunesmith.inference import finished_run
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.losses import InfoNCE
from tunesmith.tasks.retrieval import in_batch

SIZES = {"train": 40, "validation": 16, "test": 24}


def asked(split, number):
    """Make a query of the first words of its passage; some passages have two queries."""
    passage = " ".join(sentences(2, seed=1000 * len(split) + number // 2))
    words = passage.split()
    query = " ".join(words[:3] if number % 2 else words[2:5])
    return {"query": query, "passage": passage, "other": sentences(1, seed=number)[0]}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    tiny_bert(folder / "model")
    for split, count in SIZES.items():
        lines(folder / f"{split}.jsonl", (asked(split, i) for i in range(count)))
    columns = ["data.text=query", "data.text_pair=passage", "data.negatives=[other]"]
    return folder, of_files(folder, "retrieval", *columns, "trainer.precision=32")


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    return trained(folder, *arguments, "trainer.max_epochs=3")


def test_it_learns_more_than_chance(finished):
    _, record = finished
    assert record["scores"]["test/recall_at_5"] > 2 * 5 / 12


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    directory, record = finished
    assert scored_again(directory) == to_the_bit(record["scores"])


def test_predictions_are_what_was_scored(finished, inputs, tmp_path, monkeypatch):
    directory, record = finished
    rows = map(json.loads, (inputs[0] / "test.jsonl").read_text().splitlines())
    lines(tmp_path / "in.jsonl", ({k: v for k, v in r.items() if k != "other"} for r in rows))
    given = predicted(directory, tmp_path / "in.jsonl", tmp_path / "o.jsonl")
    assert len(given) == SIZES["test"]
    ranks = defaultdict(set)
    for answer in given:
        listed = [best["passage"] for best in answer["n_best"]]
        assert len(listed) == 10
        assert answer["predicted_passage"] == listed[0]
        if answer["rank"] <= 10:
            assert listed[answer["rank"] - 1] == answer["passage"]
        ranks[answer["query"]].add(answer["rank"])
    scores = record["scores"]
    for k in (1, 5, 10):
        share = [sum(r <= k for r in found) / len(found) for found in ranks.values()]
        assert sum(share) / len(share) == pytest.approx(scores[f"test/recall_at_{k}"])
    reciprocal = [1 / min(found) for found in ranks.values()]
    assert sum(reciprocal) / len(reciprocal) == pytest.approx(scores["test/mrr"])


def test_all_rows_of_a_file_are_candidates_however_many(finished, monkeypatch):
    directory, _ = finished
    rows = [tuple(asked("test", i).values())[:2] for i in range(24)]
    whole = load(directory).predict(rows)
    monkeypatch.setattr(finished_run, "CHUNK", 5)
    assert load(directory).predict(rows) == whole


def test_a_row_may_only_ask_or_only_be_a_candidate(finished):
    directory, _ = finished
    passages = [asked("test", i)["passage"] for i in range(0, 10, 2)]
    query = asked("test", 4)["query"]
    answers = load(directory).predict([(query, ""), *(("", p) for p in passages), (" ", " ")])
    assert sorted(best["passage"] for best in answers[0]["n_best"]) == sorted(passages)
    assert answers[0]["rank"] is None
    assert answers[1:] == [{"passage": None, "score": None, "rank": None, "n_best": []}] * 6
    [alone] = load(directory).predict([(query, "")])
    assert alone == answers[1]


def test_plain_transformers_repeats_the_scores(finished):
    directory, _ = finished
    pair = asked("test", 3)
    [answer] = load(directory).predict([(pair["query"], pair["passage"])])
    words = AutoTokenizer.from_pretrained(directory / "model")
    model = AutoModel.from_pretrained(directory / "model").eval()
    texts = [pair["query"], pair["passage"]]
    read = words(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    hidden, mask = model(**read).last_hidden_state, read["attention_mask"].unsqueeze(-1)
    first, second = (hidden * mask).sum(1) / mask.sum(1)
    cosine = torch.cosine_similarity(first, second, dim=0)
    assert answer["score"] == pytest.approx(float(cosine), abs=1e-5)


@row(68)
def test_a_query_without_a_file_of_passages_is_refused(finished):
    directory, _ = finished
    with pytest.raises(DataError) as caught:
        load(directory).predict(["where?"])
    assert str(caught.value) == "error[DATA-COL] row 1: 1 value; the run reads text, text_pair"


# Negatives


def vectors(*shape):
    made = torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(made, dim=-1)


def test_every_other_passage_of_the_batch_is_a_negative_and_so_are_hard_ones():
    texts = vectors(3, 3)  # a query, its passage, one negative each
    is_text = torch.ones(3, 3, dtype=torch.bool)
    is_text[1, 2] = False
    cosines, labels = in_batch(texts, is_text, torch.arange(9).view(3, 3))
    passages = torch.stack([texts[0, 1], texts[0, 2], texts[1, 1], texts[2, 1], texts[2, 2]])
    torch.testing.assert_close(cosines, texts[:, 0] @ passages.T)
    assert labels.tolist() == [0, 2, 3]


def test_an_equal_passage_is_no_negative_nor_is_another_one_of_the_same_query():
    texts, is_text = vectors(4, 3), torch.ones(4, 3, dtype=torch.bool)
    keys = torch.tensor([[1, 10, 20], [2, 10, 21], [1, 12, 22], [4, 13, 12]])
    cosines, labels = in_batch(texts, is_text, keys)
    hidden = (cosines == -torch.inf).int().tolist()
    #          10 20 10 21 12 22 13 12
    assert hidden == [
        [0, 0, 1, 0, 1, 0, 0, 1],  # 10 again; 12, right for query 1 too, twice
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0, 0, 1],  # 10, twice; 12 again, as a negative of another row
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert labels.tolist() == [0, 2, 4, 6]


def test_a_row_without_a_query_gives_a_negative_and_one_without_a_passage_nothing():
    texts = vectors(3, 2)
    is_text = torch.tensor([[True, True], [False, True], [True, False]])
    cosines, labels = in_batch(texts, is_text, torch.arange(6).view(3, 2))
    torch.testing.assert_close(cosines, texts[:1, 0] @ texts[:2, 1].T)
    assert labels.tolist() == [0]
    none, nothing = in_batch(texts[2:], is_text[2:], torch.arange(2).view(1, 2))
    mean, weight = InfoNCE(0.1)(none, nothing)
    assert (float(mean), float(weight)) == (0.0, 0.0)


def test_the_loss_is_cross_entropy_of_cosines_over_the_temperature():
    cosines, labels = torch.rand(4, 7), torch.tensor([0, 2, 4, 6])
    mean, weight = InfoNCE(0.2)(cosines, labels)
    torch.testing.assert_close(mean, torch.nn.functional.cross_entropy(cosines / 0.2, labels))
    assert weight == 4


PIECES = "error[CONF-BATCH] task.negatives_scope=batch: cannot be those of a batch divided into "
BAD = {
    "a batch in parts": (["trainer.micro_batches=2"], 2, PIECES + "2 (devices x micro-batches); "),
    "a batch on two devices": (
        ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"],
        2,
        PIECES + "2 (devices x micro-batches); task.negatives_scope=micro_batch is another loss",
    ),
    "a temperature of nothing": (
        ["loss.temperature=0"],
        2,
        "error[CONF-RANGE] loss.temperature=0: must be a number > 0",
    ),
    "no pair to score": (
        ["data.validation_file={folder}/lone.jsonl"],
        3,
        "error[DATA-LABEL] validation: no row has a query and a passage: val/mrr is not defined",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    folder, arguments = inputs
    lone = {"query": "", "passage": "lo vote", "other": ""}
    (folder / "lone.jsonl").write_text(json.dumps(lone))
    more, code, message = BAD[name]
    cfg = composed(*arguments, *(one.format(folder=folder) for one in more), "name=bad")
    assert exit_code(lambda: run(cfg)) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1
    assert said[0].startswith(message)


def test_in_parts_it_is_learnt_once_that_is_asked_for(inputs):
    _, arguments = inputs
    more = ["task.negatives_scope=micro_batch", "trainer.micro_batches=2", "trainer.max_steps=1"]
    assert run(composed(*arguments, *more, "name=parts", "test=false")) > 0
