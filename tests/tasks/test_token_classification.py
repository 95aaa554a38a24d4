"""Token classification: what is learnt, answered and scored of each word."""

import json
import random
import sys
import warnings

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from seqeval import metrics as reference
from sklearn.metrics import f1_score

from support.commands import only_run, searched, train, tunesmith
from support.runs import composed, lines
from support.tiny_models import TOKENIZERS, WORDS, tiny_bert
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.config import resolved
from tunesmith.errors import DataError
from tunesmith.inference.predict_file import predict_file
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import IGNORE, TaskContext
from tunesmith.tasks.losses import CrossEntropy
from tunesmith.tasks.token_classification import TokenClassification

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
BIOES = ["O", "B-X", "I-X", "E-X", "S-X"]


class Echo(torch.nn.Module):
    """A model that finds each tag certain in turn, by the position of the token."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, input_ids, **inputs):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids) % self.count
        logits = torch.nn.functional.one_hot(places, self.count).float() * 20
        return type("Output", (), {"logits": logits})


def task_of(labels=BIO, *, entities=True, max_length=20, stride=4, kind="bert"):
    return TokenClassification(
        stride=stride,
        entities=entities,
        model=Echo(len(labels)),
        tokenizer=TOKENIZERS[kind](),
        labels=labels,
        max_length=max_length,
        truncation="left",
        loss=CrossEntropy(),
    )


def tagged(count, seed=0):
    """Make sentences whose tags can be learnt: a `lo` word and the one after it are a place."""
    dice = random.Random(seed)
    rows = []
    for _ in range(count):
        words = dice.choices(WORDS, k=dice.randint(4, 12))
        starts = [i for i in range(0, len(words) - 1, 4) if dice.random() < 0.5]
        tags = ["O"] * len(words)
        for i in starts:
            words[i], tags[i], tags[i + 1] = "lo", "B-LOC", "I-LOC"
        rows.append((words, tags))
    return rows


def conll(path, rows):
    path.write_text(
        "\n".join("".join(f"{w} {t}\n" for w, t in zip(*row, strict=True)) for row in rows)
    )
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return the overrides of a small run on CoNLL files, with sentences longer than a window."""
    folder = tmp_path_factory.mktemp("tagging")
    for seed, (name, count) in enumerate({"train": 60, "validation": 20, "test": 10}.items()):
        conll(folder / f"{name}.conll", tagged(count, seed))
    tiny_bert(folder / "model")
    files = [f"data.{n}_file={folder}/{n}.conll" for n in ("train", "validation", "test")]
    model = [
        "model=base",
        f"model.path={folder}/model",
        "optimizer.lr=3e-3",
        "trainer.num_threads=1",
    ]
    window = ["data.max_length=10", "task.stride=4", "data.batch_size=8", "trainer.precision=32"]
    task = ["task=token_classification", "data=files", f"paths.runs={folder}/runs"]
    return folder, [*task, *files, *window, *model]


@pytest.fixture(scope="module")
def finished(inputs):
    folder, arguments = inputs
    done = train([*arguments, "trainer.max_epochs=6"])
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, only_run(folder)


# What a window learns and answers


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_each_word_has_its_label_once_at_its_first_token(kind):
    task = task_of(kind=kind)
    for words, tags in tagged(10, seed=3):
        features = task.encode({"words": words * 3, "tags": tags * 3})
        labels = [
            (word, BIO[label])
            for feature in features
            for word, label in zip(feature["words"], feature["labels"], strict=True)
            if label != IGNORE
        ]
        assert sorted(labels) == list(enumerate(tags * 3))
        assert all(f["length"] == f["full_length"] <= 20 for f in features)
        assert [f["words"] for f in task.encode({"words": words * 3})] == [
            f["words"] for f in features
        ]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_nothing_of_a_long_sentence_is_without_an_answer(kind):
    task = task_of(kind=kind)
    words = [dice_word for words, _ in tagged(30) for dice_word in words] + ["", "\x01"]
    features = task.encode({"words": words})
    predictions = task.predict(task.collate(features))
    (answer,) = task.aggregate([predictions], [{"words": words}])
    expected = {
        word: BIO[token % len(BIO)]
        for feature in features
        for token, word in enumerate(feature["words"])
        if word >= 0
    }
    assert len(features) > 5
    assert answer["tags"] == [expected[i] for i in range(len(words))]


def test_windows_that_a_limited_validation_left_out_are_outside_of_all():
    task = task_of()
    words = tagged(1)[0][0] * 6
    predictions = task.predict(task.collate(task.encode({"words": words})))
    (answer,) = task.aggregate([predictions[:1]], [{"words": words}])
    assert answer["tags"][-5:] == ["O"] * 5
    assert len(answer["tags"]) == len(words)


def test_padding_has_no_word_and_no_label():
    task = task_of(max_length=64)
    rows = [{"words": ["lo"], "tags": ["B-LOC"]}, {"words": ["lo"] * 9, "tags": ["O"] * 9}]
    batch = task.collate([task.encode(row)[0] for row in rows])
    assert batch["labels"][0].tolist() == [IGNORE, 3, IGNORE] + [IGNORE] * 8
    assert batch["words"][0].tolist() == [-1, 0, -1] + [-1] * 8
    output = task(batch)
    assert float(output.weight) == 10


# What is answered


def answer_of(task, given, tags, sure=0.9):
    """Return the answer where each word has its tag with a certainty."""
    rest = (1 - sure) / (len(task.label_to_id) - 1)
    rows = [[sure if label == tag else rest for label in task.label_to_id] for tag in tags]
    found = (list(range(len(tags))), np.array(rows, dtype=np.float32))
    return task.aggregate([[found]], [{"words": given}])[0]


def test_spans_of_words_say_where_they_are():
    answer = answer_of(task_of(), ["anna", "bo", "saw", "rome"], ["B-PER", "I-PER", "O", "B-LOC"])
    assert answer == {
        "tags": ["B-PER", "I-PER", "O", "B-LOC"],
        "probability": pytest.approx(0.9),
        "entities": [
            {
                "label": "PER",
                "text": "anna bo",
                "start": 0,
                "end": 2,
                "probability": pytest.approx(0.9),
            },
            {
                "label": "LOC",
                "text": "rome",
                "start": 3,
                "end": 4,
                "probability": pytest.approx(0.9),
            },
        ],
    }


def test_spans_of_a_text_say_which_characters_they_are():
    text = "  Anna\t Bo saw Rome"
    answer = answer_of(task_of(), text, ["B-PER", "I-PER", "O", "B-LOC"])
    assert answer["words"] == ["Anna", "Bo", "saw", "Rome"]
    person, place = answer["entities"]
    assert (person["text"], person["start_char"], person["end_char"]) == ("Anna\t Bo", 2, 10)
    assert text[place["start_char"] : place["end_char"]] == place["text"] == "Rome"


def test_spans_of_bioes_are_read_as_such():
    answer = answer_of(task_of(BIOES), ["a", "b", "c", "d"], ["S-X", "B-X", "E-X", "E-X"])
    assert [(e["start"], e["end"]) for e in answer["entities"]] == [(0, 1), (1, 3), (3, 4)]


def test_the_certainty_of_a_span_is_the_mean_of_its_words():
    task = task_of(["O", "B-X", "I-X"])
    found = ([0, 1, 2], np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.4, 0, 0.6]], dtype=np.float32))
    (answer,) = task.aggregate([[found]], [{"words": ["a", "b", "c"]}])
    assert [e["probability"] for e in answer["entities"]] == [pytest.approx(0.7)]
    assert answer["probability"] == pytest.approx(2.3 / 3)


def test_a_row_without_words_has_no_tags():
    task = task_of()
    (feature,) = task.encode({"words": [], "tags": []})
    (found,) = task.predict(task.collate([feature]))
    (answer,) = task.aggregate([[found]], [{"words": []}])
    assert (answer["tags"], answer["entities"]) == ([], [])


# What is scored


@pytest.mark.parametrize("labels", [BIO, BIOES])
def test_scores_are_those_of_seqeval(labels):
    task = task_of(labels)
    dice = random.Random(4)
    for _ in range(50):
        wanted = [dice.choices(labels, k=dice.randint(1, 9)) for _ in range(6)]
        given = [[t if dice.random() < 0.7 else dice.choice(labels) for t in w] for w in wanted]
        found = task.score([{"tags": g} for g in given], [{"tags": w} for w in wanted])
        scheme = __import__("seqeval.scheme").scheme
        strict = {"mode": "strict", "scheme": scheme.IOBES if labels is BIOES else scheme.IOB2}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = {
                "f1": reference.f1_score(wanted, given),
                "precision": reference.precision_score(wanted, given),
                "recall": reference.recall_score(wanted, given),
                "f1_strict": reference.f1_score(wanted, given, **strict),
                "accuracy": reference.accuracy_score(wanted, given),
            }
        assert found == pytest.approx(theirs, abs=1e-12)


def test_tags_that_are_no_entities_are_scored_by_the_word():
    task = task_of(["NOUN", "VERB"], entities=False)
    rows = [{"words": ["a", "b", "c", "d"], "tags": ["NOUN", "NOUN", "VERB", "NOUN"]}]
    answer = answer_of(task, rows[0]["words"], ["NOUN", "NOUN", "VERB", "VERB"])
    assert set(answer) == {"tags", "probability"}
    scores = task.score([answer], rows)
    assert scores == pytest.approx({"f1": (0.8 + 2 / 3) / 2, "accuracy": 0.75})
    assert scores["f1"] == pytest.approx(f1_score(rows[0]["tags"], answer["tags"], average="macro"))
    assert task.examples([answer], rows)[0].answer == "NOUN NOUN VERB VERB"


def test_the_board_shows_counts_of_tags_and_entities_of_examples():
    task = task_of()
    rows = [{"words": ["anna", "bo", "saw", "rome"], "tags": ["B-PER", "I-PER", "O", "O"]}]
    answer = answer_of(task, rows[0]["words"], ["B-PER", "I-PER", "O", "B-LOC"])
    counts = task.confusion([answer], rows)
    assert counts.sum() == 4
    assert counts[0].tolist() == [1, 0, 0, 1, 0]  # of two words outside one is called a place
    (example,) = task.examples([answer], rows)
    assert example.text == "anna bo saw rome"
    assert (example.label, example.answer) == ("PER: anna bo", "PER: anna bo; LOC: rome")


def test_classes_are_weighed_by_their_words():
    task = task_of()
    task.loss = CrossEntropy(class_weights="inverse")
    task.fit_statistics({"tags": [["O"] * 6, ["B-PER", "I-PER", "B-LOC", "I-LOC"]]})
    weights = task.loss.class_weight
    assert weights[1] / weights[0] == pytest.approx(6)


# What is refused


BAD = {
    "a scheme that is none": (
        ["NOUN", "O"],
        [],
        3,
        "error[DATA-TAGS] tag 'NOUN' is neither O nor B-, I-, E- or S- and a type; "
        "task.entities=false scores words, not entities",
    ),
    "tags without prefixes": (
        ["LOC", "PER"],
        [],
        3,
        "error[DATA-TAGS] 2 tags are neither O nor B-, I-, E- or S- and a type (first 'LOC'); "
        "task.entities=false scores words, not entities",
    ),
    "windows that would not go on": (
        ["B-LOC", "O"],
        ["task.stride=8"],
        2,
        "error[CONF-RANGE] task.stride=8: windows of 8 tokens (data.max_length=10) must go on; "
        "set it below 8",
    ),
    "a loss for another task": (["B-LOC", "O"], ["loss=mse"], 2, "error["),
}


def test_windows_share_a_third_where_nothing_is_said():
    assert task_of(stride=None, max_length=30).stride == 10
    options = {"stride": None, "entities": True}
    TokenClassification.check(TaskContext(options, BIO, TOKENIZERS["bert"](), 30, 30))


@pytest.mark.parametrize("case", BAD)
def test_it_is_refused_in_one_line_before_the_model_is_opened(
    case, inputs, tmp_path, monkeypatch, capsys
):
    from tunesmith.pipeline import components

    tags, change, code, says = BAD[case]
    _, arguments = inputs
    conll(tmp_path / "odd.conll", [(["a", "b"], tags)])
    monkeypatch.setattr(components, "load_model", None)  # not called: no weight is opened
    files = [f"data.train_file={tmp_path}/odd.conll", "data.split.validation=0"]
    files += [f"data.validation_file={tmp_path}/other.conll"]
    conll(tmp_path / "other.conll", [(["b", "c"], tags)])
    cfg = composed(*arguments, *files, *change, f"paths.runs={tmp_path}/runs", "test=false")
    assert exit_code(lambda: run(cfg)) == code
    said = capsys.readouterr().err.strip()
    assert said.startswith(says)
    assert len(said.splitlines()) == 1
    assert len(said) <= 200


def test_any_tags_are_learnt_once_they_are_said_to_be_none_of_entities(inputs, tmp_path):
    rows = [(words, ["LONG" if len(w) > 4 else "SHORT" for w in words]) for words, _ in tagged(30)]
    conll(tmp_path / "pos.conll", rows)
    _, arguments = inputs
    files = [f"data.{name}_file=null" for name in ("validation", "test")]
    files += [f"data.train_file={tmp_path}/pos.conll", "data.split.validation=0.3"]
    more = ["task.entities=false", "trainer.max_epochs=3", "test=false", "logger=none"]
    f1 = run(composed(*arguments, *files, *more, f"paths.runs={tmp_path}/runs"))
    assert f1 is not None
    assert f1 > 0.6


# Whole runs


def test_a_run_learns_and_predict_equals_what_validation_scored(finished, tmp_path):
    folder, directory = finished
    logged = json.loads((directory / "metrics.json").read_text())["scores"]
    assert logged["val/f1"] > 0.5
    done = tunesmith(
        ["predict", directory, folder / "validation.conll", "--output", tmp_path / "out.jsonl"]
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    wanted, given = [row["ner_tags"] for row in rows], [row["tags"] for row in rows]
    assert reference.f1_score(wanted, given) == logged["val/f1"]
    assert reference.accuracy_score(wanted, given) == logged["val/accuracy"]
    done = tunesmith(["evaluate", directory, "--split", "validation", "--json"])
    scores = json.loads(done.stdout.splitlines()[-1])
    assert scores == {k: v for k, v in logged.items() if k.startswith("val/")}


def test_a_text_and_its_words_have_the_same_answer(finished, tmp_path):
    _, directory = finished
    texts = ["  ".join(words) for words, _ in tagged(20, 1)]
    (tmp_path / "in.csv").write_text("\n".join(["tokens", *texts]))
    done = tunesmith(["predict", directory, tmp_path / "in.csv"])
    assert done.returncode == 0, done.stderr
    of_file = [json.loads(line) for line in done.stdout.splitlines()]
    stored = load(directory)
    of_text, of_words = stored.predict(texts), stored.predict([{"words": t.split()} for t in texts])
    assert of_file == [{"tokens": t, **answer} for t, answer in zip(texts, of_text, strict=True)]
    assert [a["tags"] for a in of_text] == [a["tags"] for a in of_words]
    places = [(t, e) for t, a in zip(texts, of_text, strict=True) for e in a["entities"]]
    assert all(text[e["start_char"] : e["end_char"]] == e["text"] for text, e in places)
    assert len(places) > 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("cell", [" ".join, list], ids=["texts", "words"])
def test_what_predict_writes_is_read_back_and_all_right(finished, tmp_path, suffix, cell):
    rows = [{"tokens": cell(["|", *words])} for words, _ in tagged(20, 1)]
    lines(tmp_path / "in.jsonl", rows)
    stored, output = load(finished[1]), tmp_path / f"out.{suffix}"
    predict_file(stored, tmp_path / "in.jsonl", output, sys.stdout)
    with pytest.raises(DataError, match=r"no column 'ner_tags'; columns: .*; --set data.tags=tags"):
        stored.evaluate(data=str(output))
    again = load(finished[1], options={"data.tags": "tags"}).evaluate(data=str(output))
    assert [again[f"test/{name}"] for name in ("accuracy", "f1", "f1_strict")] == [1.0, 1.0, 1.0]


def test_tags_between_other_marks_are_read_by_their_separator(finished, tmp_path):
    rows = ["tokens,ner_tags", *(f"{' '.join(w)},{'|'.join(t)}" for w, t in tagged(20, 1))]
    (tmp_path / "in.csv").write_text("\n".join(rows))
    file = str(tmp_path / "in.csv")
    with pytest.raises(DataError, match=r"""; set "data.label_separator='\|'\""""):
        load(finished[1]).evaluate(data=file)
    scores = load(finished[1], options={"data.label_separator": "|"}).evaluate(data=file)
    logged = json.loads((finished[1] / "metrics.json").read_text())["scores"]
    assert scores["test/f1"] == logged["val/f1"]


def test_plain_transformers_loads_the_model(finished):
    from transformers import AutoModelForTokenClassification

    _, directory = finished
    model = AutoModelForTokenClassification.from_pretrained(directory / "model")
    assert list(model.config.id2label.values()) == ["B-LOC", "I-LOC", "O"]


def test_another_stride_is_another_encoding(inputs):
    from tunesmith.pipeline.components import build_data, make_task

    _, arguments = inputs
    keys, counts = set(), set()
    for stride in (0, 6):
        cfg = composed(*arguments, f"task.stride={stride}")
        parts = load_inputs(resolved(cfg))
        data = build_data(resolved(cfg), parts, make_task(resolved(cfg), parts))
        keys.add(data.key)
        counts.add(len(data.encoded["train"].features))
    assert len(keys) == len(counts) == 2


def test_it_is_searched_like_any_other(inputs, tmp_path):
    _, arguments = inputs
    done, _ = searched(tmp_path, [*arguments, "trainer.max_epochs=2"])
    assert "val/f1" in done.stdout


# Data sets of the hub


def hub_folder(folder, labels, configs):
    """Write rows with integers for tags, as the hub has them; a config a folder below."""
    features = Features(
        {
            "id": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=labels)),
        }
    )
    for config in configs:
        for seed, split in enumerate(("train", "validation", "test")):
            rows = [
                {"id": str(i), "tokens": words, "ner_tags": [labels.index(t) for t in tags]}
                for i, (words, tags) in enumerate(tagged(6, seed))
            ]
            place = folder / config / f"{split}-00000-of-00001.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows, features=features).to_parquet(str(place))
    named = "".join(
        f"- config_name: {config}\n  data_files:\n"
        + "".join(
            f"  - split: {split}\n    path: {config}/{split}-*\n"
            for split in ("train", "validation", "test")
        )
        for config in configs
        if config != "."
    )
    if named:
        (folder / "README.md").write_text(f"---\nconfigs:\n{named}---\n")


@pytest.mark.parametrize(
    ("data", "configs"), [("conll2003", ["."]), ("wikiann", ["en", "de"])], ids=["conll", "wikiann"]
)
def test_the_hub_sets_are_read(data, configs, inputs, tmp_path):
    folder, _ = inputs
    plain = composed("task=token_classification", f"data={data}")
    hub_folder(tmp_path / "hub", list(plain.data.labels), configs)
    more = ["model=base", f"model.path={folder}/model", "data.max_length=32"]
    more += [f"data.path={tmp_path}/hub", f"paths.runs={tmp_path}/runs"]
    parts = load_inputs(resolved(composed("task=token_classification", f"data={data}", *more)))
    assert parts.rows.labels == list(plain.data.labels)
    assert set(parts.rows.splits) == {"train", "validation", "test"}
    assert parts.rows.splits["train"]["tags"][:] == [tags for _, tags in tagged(6, 0)]
