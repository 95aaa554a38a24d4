"""Few-shot: so many different texts of each class, drawn by a seed of their own."""

import dataclasses
import random
from collections import Counter
from pathlib import Path

import pytest

from support.load_rows import CLASSIFY, SCORE, rows, write
from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import ConfigError, DataError

CUT = {"validation": 0.3, "method": "stratified"}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def csv(counts: dict[str, int], copies: int = 1, name: str = "train.csv") -> str:
    """Write so many different texts of each label, each of them `copies` times."""
    lines = [
        f"{label} text {i},{label}"
        for label, count in counts.items()
        for i in range(count)
        for _ in range(copies)
    ]
    random.Random(0).shuffle(lines)
    return write(name, "\n".join(["text,label", *lines]))


def drawn(file: str, **options):
    return rows(train_file=file, **{"split": CUT, **options}).splits["train"].to_list()


def test_each_class_gets_as_many_and_each_draw_others() -> None:
    file = csv({"a": 40, "b": 20, "c": 90})
    first, again, other = (drawn(file, shots_per_class=4, shot_seed=draw) for draw in (0, 0, 1))
    assert Counter(row["label"] for row in first) == {"a": 4, "b": 4, "c": 4}
    assert first == again
    shared = {row["text"] for row in first} & {row["text"] for row in other}
    assert len(shared) < 6


def test_a_larger_draw_holds_the_smaller_one() -> None:
    file = csv({"a": 30, "b": 30})
    small, large = ({row["text"] for row in drawn(file, shots_per_class=k)} for k in (3, 9))
    assert small < large


def test_a_copy_is_no_second_text() -> None:
    file = csv({"a": 6, "b": 6}, copies=3)
    texts = [
        row["text"]
        for row in drawn(
            file,
            shots_per_class=6,
            split={"validation": 0},
            shot_seed=3,
            validation_file=csv({"a": 2, "b": 2}, name="dev.csv"),
            leakage="ignore",
        )
    ]
    assert len(texts) == len(set(texts)) == 12
    with pytest.raises(DataError) as caught:
        drawn(
            file,
            shots_per_class=7,
            split={"validation": 0},
            validation_file="dev.csv",
            leakage="ignore",
        )
    assert str(caught.value) == (
        "error[DATA-SHOTS] train.csv: train has 6 different texts of class 'a', "
        "data.shots_per_class=7 draws "
        "7; 2 such classes; lower data.shots_per_class"
    )


def test_what_is_drawn_is_left_of_what_validates_and_tests() -> None:
    file = csv({"a": 40, "b": 40})
    split = {"validation": 0.2, "test": 0.2, "method": "stratified"}
    whole = rows(train_file=file, split=split)
    few = rows(train_file=file, split=split, shots_per_class=5)
    for name in ("validation", "test"):
        assert few.hashes[name] == whole.hashes[name]
    assert {r["text"] for r in few.splits["train"]} < {r["text"] for r in whole.splits["train"]}


def test_folds_are_cut_before_rows_are_drawn() -> None:
    file = csv({"a": 30, "b": 30})
    folds = [
        rows(train_file=file, split={"folds": 3, "fold": fold}, shots_per_class=4)
        for fold in range(3)
    ]
    tested = [row["text"] for fold in folds for row in fold.splits["validation"]]
    assert len(tested) == len(set(tested)) == 60
    for fold in folds:
        assert len(fold.splits["train"]) == 8
        held = {row["text"] for row in fold.splits["validation"]}
        assert held.isdisjoint(row["text"] for row in fold.splits["train"])


def test_validation_can_be_as_small() -> None:
    file = csv({"a": 40, "b": 40})
    found = rows(train_file=file, split=CUT, shots_per_class=4, validation_shots_per_class=2)
    assert Counter(row["label"] for row in found.splits["validation"]) == {"a": 2, "b": 2}
    whole = rows(train_file=file, split=CUT, shots_per_class=4)
    assert whole.hashes["train"] == found.hashes["train"]
    with pytest.raises(
        DataError, match=r"validation has 12 .*data.validation_shots_per_class=20 draws 20"
    ):
        rows(train_file=file, split=CUT, validation_shots_per_class=20)


def test_a_class_by_its_number_or_under_two_spellings_is_one_class() -> None:
    lines = [f"text {i},{['0', '1.0', '1'][i % 3]}" for i in range(30)]
    file = write("train.csv", "\n".join(["text,label", *lines]))
    found = rows(
        train_file=file, split={"validation": 0.2}, labels=["no", "yes"], shots_per_class=5
    )
    assert Counter(row["label"] for row in found.splits["train"]) == {"no": 5, "yes": 5}


def test_a_declared_class_without_a_row_is_too_few() -> None:
    file = csv({"a": 9, "b": 9})
    with pytest.raises(DataError) as caught:
        rows(train_file=file, split=CUT, labels=["a", "b", "c"], shots_per_class=1)
    assert "train has 0 different texts of class 'c', data.shots_per_class=1 draws 1;" in str(
        caught.value
    )


def test_rows_that_were_drawn_make_other_data() -> None:
    file = csv({"a": 40, "b": 40})
    asked = [
        {},
        {"shots_per_class": 4},
        {"shots_per_class": 5},
        {"shots_per_class": 4, "shot_seed": 1},
        {"validation_shots_per_class": 4},
    ]
    found = [rows(train_file=file, split=CUT, **options) for options in asked]
    assert len({made.fingerprint for made in found}) == len(asked)
    assert len({made.hashes["train"] for made in found}) == 4
    idle = rows(train_file=file, split=CUT, shot_seed=1)
    assert (idle.fingerprint, idle.hashes) == (found[0].fingerprint, found[0].hashes)


@pytest.mark.parametrize("columns", [SCORE, {"text": Column(ColumnType.TEXT)}])
def test_only_classes_have_shots(columns: dict[str, Column]) -> None:
    file = write("train.csv", "text,label\na fine day,1\na bad day,2\n")
    with pytest.raises(ConfigError) as caught:
        rows(columns, train_file=file, shots_per_class=8)
    assert str(caught.value) == (
        "error[CONF-SHOTS] data.shots_per_class=8: rows are drawn by their class, and the task "
        "reads no such "
        "label; data.limit draws any rows"
    )


def test_classes_beside_other_columns_have_shots_too() -> None:
    columns = {**CLASSIFY, "text_pair": dataclasses.replace(CLASSIFY["text_pair"], required=True)}
    lines = [f"text {i},other {i},{'ab'[i % 2]}" for i in range(20)]
    file = write("train.csv", "\n".join(["text,text_pair,label", *lines]))
    found = rows(columns, train_file=file, split=CUT, shots_per_class=2, text_pair="text_pair")
    assert Counter(row["label"] for row in found.splits["train"]) == {"a": 2, "b": 2}
