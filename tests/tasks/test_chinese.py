"""Chinese, which has no spaces: a vocabulary of its characters, and tasks that learn with it."""

import json
import random

import pytest
from transformers import AutoTokenizer

from support.commands import only_run
from support.runs import composed
from tunesmith import load
from tunesmith.cli.train_tokenizer import make
from tunesmith.pipeline.train import train as run

LETTERS = "的一是不了在人有我他这个们中来大为和国地到以说时要" + (
    "就出会可也你对生能而子那得于着下自之年过发后作里"
)
GOOD, BAD = "好美", "坏丑"
CITIES = ["北京", "上海", "南京", "广州", "西安"]
ASKED = "他住在哪里"


def text(dice, *parts):
    """Put parts between random characters; return the text and where each part begins."""
    written, starts = "", []
    for part in parts:
        written += "".join(dice.choices(LETTERS, k=dice.randint(2, 5)))
        starts.append(len(written))
        written += part
    return written + dice.choice(LETTERS) + "。", starts


def reviews(count, seed):
    """Tell praise from blame by one character."""
    dice = random.Random(seed)
    kinds = [(GOOD, "pos"), (BAD, "neg")]
    return [
        {"text": text(dice, dice.choice(letters))[0], "label": label}
        for letters, label in (kinds[i % 2] for i in range(count))
    ]


def tagged(count, seed):
    """Make characters and their tags: a city of two characters."""
    dice, rows = random.Random(seed), []
    for _ in range(count):
        written, [start] = text(dice, dice.choice(CITIES))
        tags = ["O"] * len(written)
        tags[start : start + 2] = ["B-LOC", "I-LOC"]
        rows.append({"tokens": list(written), "ner_tags": tags})
    return rows


def questions(count, seed):
    """Ask for the city in a text."""
    dice, rows = random.Random(seed), []
    for _ in range(count):
        context, [start] = text(dice, city := dice.choice(CITIES))
        answers = {"text": [city], "answer_start": [start]}
        rows.append({"question": ASKED, "context": context, "answers": answers})
    return rows


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """Make a vocabulary of a Chinese file, as the command does."""
    folder = tmp_path_factory.mktemp("chinese")
    texts = [row["text"] for row in reviews(200, 1)] + [row["context"] for row in questions(50, 1)]
    (folder / "corpus.txt").write_text("\n\n".join([*texts, ASKED]))
    make([f"{folder}/corpus.txt"], folder / "vocabulary", 300, True)
    return folder / "vocabulary"


def trained(vocabulary, folder, rows, *more):
    """Train a small BERT with the vocabulary; return its run and its scores."""
    words = ["data=files", f"paths.runs={folder}/runs", "data.max_length=24", "data.batch_size=8"]
    for seed, (split, count) in enumerate({"train": 96, "validation": 24, "test": 24}.items()):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows(count, seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
        words.append(f"data.{split}_file={folder}/{split}.jsonl")
    sizes = "hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64"
    words += ["model=base", f"model.path={vocabulary}", "model.pretrained=false", "logger=none"]
    words += [f"+model.sizes={{{sizes}}}", "+model.config={initializer_range: 0.1}"]
    words += ["optimizer.lr=5e-3", "trainer.max_epochs=6", "trainer.precision=32", *more]
    words += ["data.leakage=ignore", "trainer.num_threads=1"]
    run(composed(*words))
    directory = only_run(folder)
    return load(directory), json.loads((directory / "metrics.json").read_text())["scores"]


def test_a_character_is_a_token(vocabulary):
    tokenizer = AutoTokenizer.from_pretrained(vocabulary)
    [row] = reviews(1, 5)
    assert tokenizer.tokenize(row["text"]) == list(row["text"])
    assert tokenizer.tokenize("龘好") == ["[UNK]", "好"]


def test_texts_are_classified(vocabulary, tmp_path):
    stored, scores = trained(vocabulary, tmp_path, reviews, "trainer.max_epochs=10")
    assert scores["test/accuracy"] > 0.8
    answers = stored.predict(["这个很好。", "这个很丑。"])
    assert [answer["label"] for answer in answers] == ["pos", "neg"]


def test_characters_are_tagged_as_words(vocabulary, tmp_path):
    stored, scores = trained(vocabulary, tmp_path, tagged, "task=token_classification")
    assert scores["test/f1"] > 0.9
    [answer] = stored.predict([{"words": list("我在上海。")}])
    [entity] = answer["entities"]
    assert (entity["label"], entity["start"], entity["end"]) == ("LOC", 2, 4)


def test_an_answer_is_found_by_its_characters(vocabulary, tmp_path):
    stored, scores = trained(vocabulary, tmp_path, questions, "task=question_answering")
    assert scores["test/exact_match"] > 0.9
    assert scores["test/f1"] == scores["test/exact_match"]  # its words are what spaces part
    context = "我对你说。他 住在南京。"
    [answer] = stored.predict([{"question": ASKED, "context": context}])
    assert (answer["answer"], answer["start"]) == ("南京", context.index("南京"))
    assert context[answer["start"] : answer["end"]] == "南京"
