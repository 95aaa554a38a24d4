"""Labels get their names from train or the config, spelled one way in every split."""

import logging
from pathlib import Path

import pytest

from support.bad_inputs import row
from support.load_rows import CLASSIFY, GOOD, rows, write
from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import DataError

MANY = {"text": Column(ColumnType.TEXT), "label": Column(ColumnType.CLASSES, target=True)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(labels: list[str]) -> str:
    return "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))


def read_labels(cells: list[str], **options: object) -> tuple[list[str] | None, list[str]]:
    """Read a train split; return the names and its labels."""
    found = rows(train_file=write("t.csv", table(cells)), need_validation=False, **options)
    return found.labels, found.splits["train"]["label"][:]


@row(21)
def test_names_are_sorted_and_spaces_around_them_are_not_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        names = read_labels(["pos", " neg", "pos "])
    assert names == (["neg", "pos"], ["pos", "neg", "pos"])
    assert "2 labels: neg=0, pos=1" in caplog.messages


def test_integers_are_sorted_by_value() -> None:
    assert read_labels(["10", "9", "-1"])[0] == ["-1", "9", "10"]


def test_leading_zeros_are_part_of_a_name() -> None:
    assert read_labels(["007", "01"]) == (["01", "007"], ["007", "01"])


def test_json_labels_of_any_type_become_names() -> None:
    write("t.jsonl", '{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    found = rows(train_file="t.jsonl", need_validation=False)
    assert found.labels == ["false", "true"]
    write("t.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 0.0}\n')
    found = rows(train_file="t.jsonl", need_validation=False)
    assert (found.labels, found.splits["train"]["label"][:]) == (["0", "1"], ["1", "0"])


def test_configured_names_keep_their_order() -> None:
    assert read_labels(["b", "a", "b"], labels=["b", "a", "c"])[0] == ["b", "a", "c"]


def test_integers_are_indices_into_configured_names() -> None:
    assert read_labels(["1", "0", "1.0"], labels=["no", "yes"])[1] == ["yes", "no", "yes"]
    assert read_labels(["1", "2", "1"], labels=["2", "1"])[1] == ["1", "2", "1"]


def test_configured_names_may_mix_words_and_numbers() -> None:
    assert read_labels(["1", "other"], labels=["1", "other"])[1] == ["1", "other"]


def test_names_come_from_train_alone() -> None:
    write("t.csv", GOOD)
    write("v.csv", table(["neg"]))
    assert rows(train_file="t.csv", validation_file="v.csv").labels == ["neg", "pos"]
    write("v.csv", table(["extra"]))
    with pytest.raises(DataError, match="validation has 1 label not in train: 'extra'"):
        rows(train_file="t.csv", validation_file="v.csv")


def test_several_labels_in_a_cell_are_split_and_may_be_none() -> None:
    write("t.csv", table(["a|b", "", "b | c|b"]))
    found = rows(MANY, train_file="t.csv", label_separator="|", need_validation=False)
    assert found.labels == ["a", "b", "c"]
    assert found.splits["train"]["label"][:] == [["a", "b"], [], ["b", "c"]]


def test_several_labels_in_a_json_list() -> None:
    write("t.jsonl", '{"text": "a", "label": [2, 0]}\n{"text": "b", "label": []}\n')
    found = rows(MANY, train_file="t.jsonl", labels=["x", "y", "z"], need_validation=False)
    assert found.splits["train"]["label"][:] == [["z", "x"], []]


def test_a_null_list_is_a_missing_label() -> None:
    write("t.jsonl", '{"text": "a", "label": ["x"]}\n{"text": "b", "label": null}\n')
    with pytest.raises(DataError, match="1 row without label"):
        rows(MANY, train_file="t.jsonl", need_validation=False)
    found = rows(MANY, train_file="t.jsonl", need_validation=False, on_missing_label="drop")
    assert len(found.splits["train"]) == 1


def test_a_label_inside_another_kind_of_cell_is_refused() -> None:
    write("t.jsonl", '{"text": "a", "label": ["x"]}\n')
    with pytest.raises(DataError, match=r"t\.jsonl:1: label is a list, not one label"):
        rows(CLASSIFY, train_file="t.jsonl", need_validation=False)


def test_ignored_labels_are_missing_ones() -> None:
    write("t.csv", table(["0", "-100", "1"]))
    found = rows(train_file="t.csv", need_validation=False, on_missing_label="drop")
    assert found.labels == ["0", "1"]
    assert found.splits["train"]["row"][:] == [0, 2]
