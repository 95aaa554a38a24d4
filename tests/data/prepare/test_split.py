"""Splits follow the text: they are stable, fair, and never part copies."""

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from support.load_rows import rows, write
from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.options import SplitOptions
from tunesmith.data.prepare.split import sample, split_rows
from tunesmith.data.row_hashes import digest
from tunesmith.errors import ConfigError, DataError

QA = {
    "question": Column(ColumnType.TEXT),
    "context": Column(ColumnType.TEXT),
    "answers": Column(ColumnType.SPANS, target=True),
}

BOTH = {"validation": True, "test": True}


def options(**given: Any) -> SplitOptions:
    usual = {
        "validation": 0.0,
        "test": 0.0,
        "method": "hash",
        "group": None,
        "seed": 0,
        "folds": None,
        "fold": 0,
    }
    return SplitOptions(**usual | given)


def hashes(texts: list[str]) -> np.ndarray:
    return np.array([digest(text) for text in texts], dtype=np.uint64)


def members(
    texts: list[str], how: SplitOptions, labels: list[str] | None = None
) -> dict[str, list[str]]:
    """Split texts; return {split: its texts}."""
    parts, _ = split_rows(hashes(texts), labels, how, BOTH)
    return {name: [texts[i] for i in rows] for name, rows in parts.items()}


@pytest.mark.parametrize("seed", range(8))
def test_rows_added_or_moved_change_nobodys_split(seed: int) -> None:
    draw = random.Random(seed)
    texts = [f"text {draw.randrange(10_000)}" for _ in range(300)]
    how = options(validation=draw.uniform(0.05, 0.4), test=draw.uniform(0.05, 0.4), seed=seed)
    before = {text: name for name, part in members(texts, how).items() for text in part}
    grown = texts + [f"new {i}" for i in range(draw.randrange(300))]
    draw.shuffle(grown)
    after = {text: name for name, part in members(grown, how).items() for text in part}
    assert {text: after[text] for text in before} == before


@pytest.mark.parametrize("method", ["hash", "stratified"])
@pytest.mark.parametrize("folds", [None, 3])
def test_every_row_is_in_one_split_and_copies_stay_together(method: str, folds: int | None) -> None:
    draw = random.Random(0)
    texts = [f"text {draw.randrange(150)}" for _ in range(400)]
    labels = [str(int(text.split()[1]) % 3) for text in texts]
    how = options(validation=0.2, test=0.2, method=method, folds=folds)
    parts, notes = split_rows(hashes(texts), labels, how, BOTH)
    assert sorted(i for rows in parts.values() for i in rows) == list(range(400))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())
    homes = {frozenset(texts[i] for i in rows) for rows in parts.values()}
    assert sum(len(home) for home in homes) == len(set(texts))
    assert notes == []


def test_hash_fractions_come_out_right() -> None:
    texts = [f"text {i}" for i in range(20_000)]
    sizes = {
        name: len(part) for name, part in members(texts, options(validation=0.1, test=0.2)).items()
    }
    assert sizes["validation"] == pytest.approx(2000, abs=150)
    assert sizes["test"] == pytest.approx(4000, abs=200)


def test_stratified_gives_each_label_its_share() -> None:
    texts = [f"text {i}" for i in range(1000)]
    labels = ["rare" if i % 20 == 0 else "common" for i in range(1000)]
    how = options(validation=0.1, test=0.2, method="stratified")
    label_of = dict(zip(texts, labels, strict=True))
    parts = members(texts, how, labels)
    counts = {name: Counter(label_of[text] for text in part) for name, part in parts.items()}
    assert counts == {
        "train": {"common": 665, "rare": 35},
        "validation": {"common": 95, "rare": 5},
        "test": {"common": 190, "rare": 10},
    }


def test_stratified_leaves_every_label_in_train() -> None:
    texts = ["a"] * 50 + ["b"] * 50 + ["c", "d", "e"]
    labels = ["x"] * 100 + ["y", "y", "lonely"]
    how = options(validation=0.4, test=0.5, method="stratified")
    parts, notes = split_rows(hashes(texts), labels, how, BOTH)
    assert {labels[i] for i in parts["train"]} == {"x", "y", "lonely"}
    assert notes == ["class 'lonely' has fewer than 2 different texts: kept in train, not split"]


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_each_row_validates_in_one_fold_and_tests_never(method: str) -> None:
    texts = [f"text {i}" for i in range(200)]
    labels = [str(i % 4) for i in range(200)]
    held, tests = [], set()
    for fold in range(5):
        how = options(test=0.2, method=method, folds=5, fold=fold)
        parts = members(texts, how, labels)
        held += parts["validation"]
        tests.add(frozenset(parts["test"]))
    assert len(tests) == 1
    assert sorted([*held, *next(iter(tests))]) == sorted(texts)


def test_another_seed_gives_another_split() -> None:
    texts = [f"text {i}" for i in range(100)]
    assert members(texts, options(validation=0.3, seed=0)) == members(
        texts, options(validation=0.3, seed=0)
    )
    assert members(texts, options(validation=0.3, seed=0)) != members(
        texts, options(validation=0.3, seed=1)
    )


def test_stratified_without_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs labels; set data\.split\.method=hash"):
        members(["a", "b"], options(validation=0.5, method="stratified"))


def test_a_sample_is_stable_and_in_order() -> None:
    texts = hashes([f"text {i}" for i in range(100)])
    few, more = sample(texts, 10, 0), sample(texts, 20, 0)
    assert len(few) == 10
    assert set(few) < set(more)
    assert (np.diff(more) > 0).all()
    assert set(sample(texts[::-1], 10, 0)) == {99 - i for i in few}
    assert len(sample(texts, 1000, 0)) == len(sample(texts, None, 0)) == 100


def test_questions_on_one_passage_share_a_split(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = [
        {"id": f"{i}", "question": f"question {i}?", "context": f"passage {i % 20} of all",
         "answers": {"text": ["passage"], "answer_start": [0]}, "author": f"author {i % 5}"}
        for i in range(200)
    ]  # fmt: skip
    write("t.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    share = {"validation": 0.2, "test": 0.2}

    def passages(**options) -> list[set[str]]:
        found = rows(QA, train_file="t.jsonl", split={**share, **options}, id="id")
        return [set(found.splits[split]["context"][:]) for split in found.splits]

    by_passage = passages()
    assert sum(map(len, by_passage)) == 20
    by_author = passages(group="author")
    authors = [{int(p.split()[1]) % 5 for p in part} for part in by_author]
    assert sum(map(len, authors)) == 5
    with pytest.raises(DataError, match="no column 'nobody'"):
        passages(group="nobody")


def test_a_cut_that_leaves_a_label_out_of_train_names_the_way_out(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = "".join(f"text {i},label {i // 2}\n" for i in range(40))
    with pytest.raises(
        DataError, match=r"data\.split\.method=stratified keeps each label in train"
    ):
        rows(train_file=write("t.csv", "text,label\n" + body), split={"validation": 0.5})
