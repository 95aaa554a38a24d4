"""Question answering from the command line: trained, tested, predicted, searched."""

import json
import random

import pytest
from safetensors.torch import load_file

from support.bad_inputs import row
from support.commands import only_run, searched, tunesmith
from support.runs import composed, of_files, scored_again, to_the_bit, trained
from support.tiny_models import sentences, tiny_bert
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.errors import DataError
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.metrics.exact_match import best_threshold, exact_match, f1
from tunesmith.training import checkpoint_io


def squad_file(path, count, seed, per_paragraph=2):
    """Write questions on contexts of several windows; a third have no answer."""
    dice = random.Random(seed)
    paragraphs, number = [], 0
    for _ in range(count // per_paragraph):
        words = " ".join(sentences(4, seed=dice.randrange(10**6))).split()
        context, asked = " ".join(words), []
        for _ in range(per_paragraph):
            at = dice.randrange(len(words) - 2)
            start = len(" ".join([*words[:at], ""]))
            answer = {"text": " ".join(words[at : at + 2]), "answer_start": start}
            impossible = dice.random() < 1 / 3
            question = {"id": f"{path.stem}-{number}", "question": " ".join(words[at : at + 2])}
            question |= {"answers": [] if impossible else [answer], "is_impossible": impossible}
            asked.append(question)
            number += 1
        paragraphs.append({"context": context, "qas": asked})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]}))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qa")
    tiny_bert(folder / "model")
    for seed, (split, count) in enumerate({"train": 40, "validation": 20, "test": 20}.items()):
        squad_file(folder / f"{split}.json", count, seed)
    own = ["data.id=id", "data.max_length=24"]
    return folder, of_files(folder, "question_answering", *own, suffix="json")


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    return trained(folder, *arguments)


def test_a_stored_run_scores_as_its_training_did_to_the_bit(finished):
    directory, record = finished
    scores = scored_again(directory)
    assert scores == to_the_bit(record["scores"])
    assert {f"{s}/{n}" for s in ("val", "test") for n in ("exact_match", "f1", "loss")} < set(
        scores
    )


def test_the_threshold_is_the_best_of_the_validation_and_not_of_the_test(finished, inputs):
    directory, _ = finished
    stored = load(directory)
    kept = checkpoint_io.read(directory / "checkpoints/best.ckpt")["state_dict"][
        "task.null_threshold"
    ]
    tensors = load_file(directory / "model/task.safetensors")
    assert tensors["null_threshold"] == kept == stored.task.null_threshold
    best = {}
    for split in ("validation", "test"):
        rows = asked(inputs[0] / f"{split}.json")
        answers = stored.predict(rows)
        gains = [
            f1(next(c["answer"] for c in a["n_best"] if c["answer"]), texts(r)) - f1("", texts(r))
            for a, r in zip(answers, rows, strict=True)
        ]
        best[split] = best_threshold([a["no_answer_score"] for a in answers], gains)
    assert best["validation"] == pytest.approx(float(kept), abs=1e-3)
    assert best["test"] != pytest.approx(float(kept), abs=1e-3)


def asked(path):
    [article] = json.loads(path.read_text())["data"]
    return [
        {**question, "context": paragraph["context"]}
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def texts(question):
    return [answer["text"] for answer in question["answers"]]


def test_predictions_are_what_was_scored(finished, inputs, tmp_path):
    directory, record = finished
    folder, _ = inputs
    done = tunesmith(["predict", directory, folder / "test.json", "--output", tmp_path / "o.jsonl"])
    assert done.returncode == 0, done.stderr[-3000:]
    given = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    wanted = asked(folder / "test.json")
    assert [row["id"] for row in given] == [question["id"] for question in wanted]
    pairs = [(a["answer"], texts(q)) for a, q in zip(given, wanted, strict=True)]
    scores = record["scores"]
    assert sum(f1(*pair) for pair in pairs) / len(pairs) == pytest.approx(scores["test/f1"])
    right = sum(exact_match(*pair) for pair in pairs)
    assert right / len(pairs) == pytest.approx(scores["test/exact_match"])
    for row_ in given:
        candidates = [c for c in row_["n_best"] if c["answer"]]
        assert candidates
        for c in candidates:
            assert row_["context"][c["start"] : c["end"]] == c["answer"]
    shares = [sum(c["probability"] for c in row_["n_best"]) for row_ in given]
    assert shares == pytest.approx([1.0] * len(given))


@row(68)
def test_a_row_without_its_context_is_refused(finished, tmp_path):
    directory, _ = finished
    with pytest.raises(DataError) as caught:
        load(directory).predict(["Who?"])
    assert str(caught.value) == ("error[DATA-COL] row 1: 1 value; the run reads question, context")
    [answer] = load(directory).predict([("Who?", sentences(1)[0])])
    assert answer["answer"] in sentences(1)[0]
    (tmp_path / "in.jsonl").write_text('{"question": "Who?"}\n')
    done = tunesmith(["predict", directory, tmp_path / "in.jsonl"])
    assert done.returncode == 3
    assert "no column 'context'; columns: question" in done.stderr


BAD = {
    "no room for the context": (
        ["task.stride=20"],
        2,
        "error[CONF-LENGTH] task.stride=20: 6 of 24 tokens for a question leave 15 for text; ",
    ),
    "a loss for labels": (
        ["loss=cross_entropy"],
        2,
        "error[CONF-LOSS] loss=tunesmith.tasks.losses.",
    ),
    "n_best of none": (["task.n_best=0"], 2, "error[CONF-RANGE] task.n_best=0: must be an integer"),
    "a question longer than may be": (
        ["data.on_truncation=error", "task.max_question_length=1"],
        3,
        "error[DATA-LONG] train: ",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_one_line(inputs, name, capsys):
    _, arguments = inputs
    more, code, message = BAD[name]
    cfg = composed(*arguments, *more, "name=bad")
    assert exit_code(lambda: run(cfg)) == code
    said = capsys.readouterr().err.strip()
    assert said.startswith(message)
    assert "\n" not in said


@row(75)
def test_a_misplaced_answer_ends_the_command_with_3(inputs, tmp_path, capsys):
    folder, arguments = inputs
    whole = json.loads((folder / "train.json").read_text())
    question = next(
        q for p in whole["data"][0]["paragraphs"] for q in p["qas"] if not q["is_impossible"]
    )
    question["answers"][0]["answer_start"] += 1
    (tmp_path / "train.json").write_text(json.dumps(whole))
    cfg = composed(*arguments, f"data.train_file={tmp_path}/train.json", "name=bad")
    assert exit_code(lambda: run(cfg)) == 3
    assert "1 row with an answer that is not in the context there" in capsys.readouterr().err


def test_it_is_searched_like_any_other(inputs, tmp_path):
    _, arguments = inputs
    _, summary = searched(tmp_path, [*arguments, "trainer.max_epochs=1"])
    ends = {trial["rung"]: trial["steps"] for trial in summary["trials"]}
    [steps] = {trial["total_steps"] for trial in summary["trials"]}
    assert steps > 40 / 8  # windows, not rows, make steps
    assert ends == {0: (steps + 1) // 2, 1: steps}


def test_the_experiment_runs_on_a_few_rows(inputs, tmp_path):
    folder, _ = inputs
    model = ["model=base", f"model.path={folder}/model", "data.max_length=64"]
    few = ["data.limit=16", "trainer.max_epochs=1", "trainer.precision=32", "logger=none"]
    score = run(composed("experiment=qa", *model, *few, f"paths.runs={tmp_path}/runs"))
    assert 0 <= score <= 1
    assert (only_run(tmp_path, "qa") / "metrics.json").exists()
