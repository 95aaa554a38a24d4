"""Windows, labels, spans and the threshold of extractive question answering."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from support.tiny_models import KINDS, TOKENIZERS, sentences, tiny_model
from tunesmith.errors import ConfigError
from tunesmith.models import heads
from tunesmith.models.encoder import load_model
from tunesmith.models.spec import resolve_model, tokenizer
from tunesmith.tasks.base import Output, TaskContext
from tunesmith.tasks.losses import SpanCrossEntropy
from tunesmith.tasks.question_answering import QuestionAnswering
from tunesmith.tasks.text.answer_spans import Window, merged, windows_of

LENGTH, STRIDE = 24, 6


def made_task(kind="bert", model=None, words=None, truncation="right", **options):
    words = TOKENIZERS[kind]() if words is None else words
    words.truncation_side = truncation
    options = {
        "max_length": LENGTH,
        "stride": STRIDE,
        "max_question_length": 8,
        "max_answer_length": 10,
        "n_best": 5,
        **options,
    }
    return QuestionAnswering(
        model=model or nn.Identity(),
        tokenizer=words,
        labels=None,
        truncation=truncation,
        loss=SpanCrossEntropy(),
        **options,
    )


def made_row(dice, words=40, answer=2):
    """Make a row whose answer is so many words, somewhere in the context; 0: none."""
    parts = " ".join(sentences(10, seed=dice.randrange(10**6))).split()[:words]
    at = dice.randrange(len(parts) - answer)
    text, start = " ".join(parts[at : at + answer]), len(" ".join([*parts[:at], ""]))
    answers = [{"text": text, "start": start}] if answer else []
    return {"question": sentences(1)[0], "context": " ".join(parts), "answers": answers}


def places(window):
    return [(s, e) for s, e in zip(window["starts"], window["ends"], strict=True) if s >= 0]


@pytest.mark.parametrize("truncation", ["right", "left"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_windows_share_a_stride_and_together_hold_the_context(kind, truncation):
    dice = random.Random(0)
    task = made_task(kind, truncation=truncation)
    row = made_row(dice)
    windows = sorted(task.encode(row), key=lambda w: max(w["starts"]))
    whole = task.tokenizer(row["context"], add_special_tokens=False).encodings[0].offsets
    assert len(windows) > 2
    assert all(len(w["input_ids"]) == w["length"] <= LENGTH for w in windows)
    assert sorted({place for w in windows for place in places(w)}) == sorted(set(whole))
    shared = [set(places(a)) & set(places(b)) for a, b in pairwise(windows)]
    assert {len(both) for both in shared} == {STRIDE}
    assert len(task.encode({**row, "context": row["context"][:20]})) == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_labels_point_to_the_answer_or_to_the_first_token(kind):
    dice = random.Random(1)
    task = made_task(kind)
    held = 0
    for _ in range(20):
        row = made_row(dice, answer=dice.randint(0, 3))
        windows = task.encode(row)
        answer = row["answers"][0] if row["answers"] else None
        for window in windows:
            first, last = window["labels"]
            inside = places(window)
            start = answer["start"] if answer else -1
            end = start + len(answer["text"]) if answer else math.inf
            if answer is None or start < inside[0][0] or end > inside[-1][1]:
                assert (first, last) == (0, 0)
                continue
            text = row["context"][window["starts"][first] : window["ends"][last]]
            assert text.strip() == answer["text"]
            held += 1
        assert answer is None or any(window["labels"] != [0, 0] for window in windows)
    assert held > 15


def test_an_answer_may_end_inside_a_token_and_have_spaces_around():
    task = made_task()
    context = sentences(1, seed=4)[0]
    second = context.index(" ") + 1
    answers = [{"text": context[second - 1 : second + 1], "start": second - 1}]
    [window] = task.encode({"question": "", "context": context, "answers": answers})
    first, last = window["labels"]
    assert window["starts"][first] == second
    assert window["ends"][last] > second


def test_a_long_question_is_cut_and_said():
    dice = random.Random(2)
    for truncation, kept in (("right", "head"), ("left", "tail")):
        task = made_task(truncation=truncation)
        row = made_row(dice, words=5)
        words = " ".join(sentences(4)).split()
        [window] = task.encode({**row, "question": " ".join(words)})
        pieces = len(task.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"])
        question = task.tokenizer.decode(window["input_ids"]).split("[SEP]")[0].split()[1:]
        assert window["full_length"] - window["length"] == pieces - 8
        edge = words[: len(question)] if kept == "head" else words[-len(question) :]
        assert question[1:-1] == edge[1:-1]  # a word at the cut may have lost a part
    assert task.truncation_note() == "windows with a question truncated at 8 tokens"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stride": 13, "max_question_length": 8},
            "error[CONF-LENGTH] task.stride=13: 8 of 24 tokens for a question leave 13 for text; "
            "lower it or task.max_question_length, or raise data.max_length",
        ),
        ({"stride": None, "max_question_length": 30}, "30 of 24 tokens for a question leave 0"),
    ],
)
def test_windows_that_would_not_go_on_are_refused(options, message):
    plan = TaskContext(options, None, TOKENIZERS["bert"](), LENGTH, LENGTH)
    with pytest.raises(ConfigError) as caught:
        QuestionAnswering.check(plan)
    assert message in str(caught.value)
    automatic = {"stride": None, "max_question_length": None}
    assert QuestionAnswering.check(plan._replace(options=automatic)) is None


def test_the_best_spans_of_a_window_are_found():
    dice = torch.Generator().manual_seed(0)
    longest, count = 4, 7
    logits = torch.randn(3, 12, 2, generator=dice)
    offsets = torch.arange(24).view(1, 12, 2).repeat(3, 1, 1)
    is_context = torch.rand(3, 12, generator=dice) > 0.3
    is_context[:, 0] = False
    offsets[~is_context] = -1
    allowed = is_context.clone()
    allowed[:, 0] = True
    logits = logits.masked_fill(~allowed.unsqueeze(-1), -math.inf)
    for b, window in enumerate(windows_of(logits, offsets, longest, count)):
        pairs = {
            (int(offsets[b, i, 0]), int(offsets[b, j, 1])): float(logits[b, i, 0] + logits[b, j, 1])
            for i in range(12)
            for j in range(i, min(i + longest, 12))
            if is_context[b, i] and is_context[b, j]
        }
        best = sorted(pairs, key=lambda pair: -pairs[pair])[:count]
        assert list(map(tuple, window.spans.tolist())) == best
        assert window.scores.tolist() == pytest.approx([pairs[pair] for pair in best])
        assert window.null == pytest.approx(float(logits[b, 0].sum()))


def test_windows_are_merged_by_their_best_scores():
    context = "ab cd ef"
    one = Window(3.0, np.array([[0, 2], [2, 5]]), np.array([1.0, 2.0]))
    other = Window(-1.0, np.array([[3, 5], [2, 3], [6, 8]]), np.array([5.0, 9.0, 0.5]))
    null, spans = merged([one, other], context)
    assert null == -1.0
    assert [(context[s.start : s.end], s.score) for s in spans] == [
        ("cd", 5.0),  # once, without its space; the space alone is no answer
        ("ab", 1.0),
        ("ef", 0.5),
    ]


def scored(null, *scored_spans):
    spans = np.array([[s, e] for s, e, _ in scored_spans]).reshape(-1, 2)
    return [Window(null, spans, np.array([score for *_, score in scored_spans]))]


ROWS = [
    {"question": "", "context": "ab cd", "answers": [{"text": "ab", "start": 0}]},
    {"question": "", "context": "ab cd", "answers": []},
    {"question": "", "context": "", "answers": []},
]
WINDOWS = [scored(1.0, (0, 2, 2.0), (3, 5, 0.0)), scored(2.5, (0, 2, 2.0)), scored(0.0)]


def test_the_threshold_is_tuned_and_kept_with_the_weights():
    task = made_task()
    always = task.aggregate(WINDOWS, ROWS)
    assert [a["answer"] for a in always] == ["ab", "ab", ""]
    assert task.score(always, ROWS)["f1"] == pytest.approx(2 / 3)
    task.calibrate(WINDOWS, ROWS)
    assert task.state_dict()["null_threshold"] == -0.25  # midway between -1 and 0.5
    assert task.score(task.aggregate(WINDOWS, ROWS), ROWS) == {
        "exact_match": 1.0,
        "f1": 1.0,
        "has_answer_f1": 1.0,
        "no_answer_accuracy": 1.0,
    }
    task.calibrate(WINDOWS[:1], ROWS[:1])
    assert task.null_threshold == math.inf  # every question has an answer: so each gets one


def test_no_threshold_scores_more_than_the_tuned_one():
    dice = random.Random(3)
    task = made_task()
    rows, windows = [], []
    for _ in range(60):
        row = made_row(dice, answer=dice.choice([0, 1, 2]))
        ends = sorted(dice.sample(range(len(row["context"])), 2))
        right = row["answers"] and dice.random() < 0.7
        start = row["answers"][0]["start"] if right else ends[0]
        end = start + len(row["answers"][0]["text"]) if right else ends[1]
        rows.append(row)
        windows.append(scored(dice.gauss(0.5 * (not row["answers"]), 1), (start, end, 0.0)))
    task.calibrate(windows, rows)
    tuned = task.score(task.aggregate(windows, rows), rows)["f1"]
    tried = []
    for threshold in [-math.inf, *np.linspace(-4, 4, 161), math.inf]:
        task.null_threshold.fill_(threshold)
        tried.append(task.score(task.aggregate(windows, rows), rows)["f1"])
    assert tuned >= max(tried) - 1e-9
    assert tuned > max(tried[0], tried[-1])


def test_an_answer_lists_candidates_with_probabilities():
    task = made_task()
    [given] = task.aggregate(WINDOWS[:1], ROWS[:1])
    assert [c["answer"] for c in given["n_best"]] == ["ab", "cd"]  # none would not be taken
    assert sum(c["probability"] for c in given["n_best"]) == pytest.approx(1)
    assert given["probability"] == pytest.approx(1 / (1 + math.exp(-2)))
    task.null_threshold.fill_(-2.0)
    [none] = task.aggregate(WINDOWS[:1], ROWS[:1])
    assert (none["answer"], none["start"], none["end"]) == ("", None, None)
    assert none["no_answer_score"] == -1.0
    assert [c["answer"] for c in none["n_best"]] == ["ab", "", "cd"]
    assert none["probability"] == none["n_best"][1]["probability"] < 0.5


def test_scores_of_what_there_is_none_of_are_no_numbers():
    task = made_task()
    scores = task.score(task.aggregate(WINDOWS[:1], ROWS[:1]), ROWS[:1])
    assert (scores["f1"], math.isnan(scores["no_answer_accuracy"])) == (1.0, True)


def test_what_there_is_none_of_is_said_to_be_undefined():
    task = made_task()
    assert task.undefined_metrics(Dataset.from_list(ROWS)) == {}
    every = task.undefined_metrics(Dataset.from_list(ROWS[:1]))
    assert every == {"no_answer_accuracy": "every question has an answer"}
    none = task.undefined_metrics(Dataset.from_list([{"answers": []}] * 2))
    assert none == {"has_answer_f1": "no question has an answer"}


def test_the_answer_that_reads_nothing_is_the_commonest():
    task = made_task()
    twice = [*ROWS[:1], *ROWS[:1], ROWS[1]]
    assert [a["answer"] for a in task.baseline(Dataset.from_list(twice), ROWS)] == ["ab"] * 3
    assert [a["answer"] for a in task.baseline(Dataset.from_list(ROWS), ROWS[:1])] == [""]


def test_examples_tell_right_from_wrong_by_the_metric():
    task = made_task()
    rows = [ROWS[0] | {"answers": [{"text": "AB.", "start": 0}]}, ROWS[1]]
    right, wrong = task.examples(task.aggregate(WINDOWS[:2], rows), rows)
    assert right.label == right.answer == "ab"
    assert (wrong.label, wrong.answer) == ("(no answer)", "ab")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_model_answers_with_a_part_of_the_context(kind, tmp_path):
    folder = tiny_model(kind, tmp_path / kind)
    source = resolve_model(str(folder), labels=None, head=heads.QUESTION_ANSWERING)
    torch.manual_seed(0)
    task = made_task(kind, load_model(source), tokenizer(source)).eval()
    dice = random.Random(5)
    rows = [made_row(dice, words=n) for n in (5, 12, 40)] + [{**made_row(dice), "context": ""}]
    rows[-1]["answers"] = []
    features = [task.encode(row) for row in rows]
    with torch.no_grad():
        batches = [task.collate(windows) for windows in features]
        outputs = [task(batch) for batch in batches]
        predictions = [task.decode(b, o) for b, o in zip(batches, outputs, strict=True)]
    for row, answer in zip(rows, task.aggregate(predictions, rows), strict=True):
        for given in (answer, *answer["n_best"]):
            assert row["context"][given["start"] : given["end"]] == given["answer"]
            assert given["answer"] == given["answer"].strip() != "" or row is rows[-1]
    assert all(math.isfinite(output.loss) for output in outputs)
    probabilities = outputs[2].logits.softmax(1)
    assert (
        probabilities.masked_select(batches[2]["offsets"][..., :1].expand(-1, -1, 2) < 0).max() < 1
    )
    assert isinstance(outputs[0], Output)
