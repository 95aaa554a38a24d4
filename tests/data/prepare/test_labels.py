"""Labels get their names from train or the config, spelled one way in every split."""

import json
import logging
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from support.bad_inputs import row
from support.load_rows import CLASSIFY, GOOD, SCORE, rows, write
from tunesmith.data.columns import Column, ColumnType, Rows
from tunesmith.data.prepare.choices import right_one
from tunesmith.data.prepare.parse_cells import converter, reader, right_texts_of
from tunesmith.errors import DataError, TunesmithError

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
@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ('["win", "lose"]', ["win", "lose"]),
        (["win", "lose"], ["win", "lose"]),
        ('["a" "b"]', ['["a" "b"]']),
        ("[1] a footnote", ["[1] a footnote"]),
        ("win | lose", ["win | lose"]),
        ("", [""]),
        ("[]", ["[]"]),
    ],
)
def test_a_text_to_write_is_a_list_only_where_it_is_one(cell, texts):
    assert right_texts_of(cell) == texts


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


# What a cell of a label may hold, whatever the format


def lines(name: str, cells: Sequence[Any], column: str = "label") -> str:
    rows = [{"text": f"{name} {i}", column: cell} for i, cell in enumerate(cells)]
    return write(name, "".join(json.dumps(row) + "\n" for row in rows))


def many(cells: Sequence[Any], **options: Any) -> tuple[list[str] | None, list[list[str]]]:
    """Read rows of several labels, from json lines."""
    found = rows(MANY, train_file=lines("m.jsonl", cells), need_validation=False, **options)
    return found.labels, found.splits["train"]["label"][:]


ABC = ["a", "b", "c"]


@pytest.mark.parametrize(
    "cells",
    [
        [[1, 0, 1], [0, 0, 0], [0, 1, 0]],
        [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        [[True, False, True], [False, False, False], [False, True, False]],
        ["[1, 0, 1]", "[0, 0, 0]", "[0, 1, 0]"],  # a list as pandas writes it
        ["1 0 1", "0 0 0", "0 1 0"],  # cut by label_separator
    ],
)
def test_noughts_and_ones_of_one_length_say_which_of_the_named_labels_hold(
    cells: list[Any],
) -> None:
    found = many(cells, labels=ABC, label_separator=" " if cells[0] == "1 0 1" else None)
    assert found == (ABC, [["a", "c"], [], ["b"]])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "each row has 3 labels 0 or 1, as an indicator per label; name all in data.labels"),
        (["a", "b"], "as an indicator per label, and data.labels has 2; name all in data.labels"),
    ],
)
def test_indicators_without_as_many_names_are_refused(names: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        many([[1, 0, 1], [0, 0, 0], [0, 1, 0]], labels=names)
    assert said in str(error.value)


def test_lists_of_noughts_and_ones_of_several_lengths_are_labels() -> None:
    assert many([[1, 0], [0], [1, 1]]) == (["0", "1"], [["1", "0"], ["0"], ["1"]])
    assert many([[1, 0], [0], []], labels=["no", "yes"])[1] == [["yes", "no"], ["no"], []]


def test_a_list_of_the_sources_own_integers_is_no_indicator() -> None:
    feature = datasets.Sequence(datasets.ClassLabel(names=["x", "y"]))
    content = {"text": ["a", "b"], "label": [[0, 1], [1, 0]]}
    features = datasets.Features({"text": datasets.Value("string"), "label": feature})
    datasets.Dataset.from_dict(content, features=features).to_parquet("t.parquet")
    found = rows(MANY, train_file="t.parquet", need_validation=False)
    assert (found.labels, found.splits["train"]["label"][:]) == (
        ["x", "y"],
        [["x", "y"], ["y", "x"]],
    )


TAGGED = {
    "words": Column(ColumnType.WORDS),
    "tags": Column(ColumnType.TAGS, target=True),
}


def test_lists_in_the_cells_of_a_csv_are_lists() -> None:
    content = """text,label
a,"['toxic', 'insult']"
b,"[""insult""]"
c,[]
"""
    found = rows(MANY, train_file=write("t.csv", content), need_validation=False)
    assert found.labels == ["insult", "toxic"]
    assert found.splits["train"]["label"][:] == [["toxic", "insult"], ["insult"], []]
    content = """words,tags
"['New', 'York', '2']","['B-loc', 'I-loc', 'O']"
plain words,O O
"""
    options = {"words": "words", "tags": "tags"}
    tagged = rows(TAGGED, train_file=write("t.csv", content), need_validation=False, **options)
    assert tagged.splits["train"]["words"][:] == [["New", "York", "2"], ["plain", "words"]]
    assert tagged.splits["train"]["tags"][:] == [["B-loc", "I-loc", "O"], ["O", "O"]]


def test_a_list_without_commas_is_refused_and_a_list_is_not_one_label() -> None:
    write("t.csv", """text,label\na,['x' 'y']\nb,['x']\n""")
    with pytest.raises(DataError, match=r"t\.csv:2: label looks like a list, and is none"):
        rows(MANY, train_file="t.csv", need_validation=False)
    write("t.csv", """text,label\na,['x']\nb,['y']\n""")
    with pytest.raises(DataError, match="label is a list, not one label; task=multi_label reads"):
        rows(train_file="t.csv", need_validation=False)
    names, _ = read_labels(["[a]", "[b]"])  # brackets alone make no list
    assert names == ["[a]", "[b]"]


# Numbers and names: never guessed in silence


def test_integers_that_become_names_are_told(caplog: pytest.LogCaptureFixture) -> None:
    read_labels(["1", "0", "1"], labels=["no", "yes"])
    assert "train: integers are places in data.labels, from 0: 0 is no, 1 is yes" in caplog.messages


def test_integers_are_no_places_among_names_that_nobody_declared() -> None:
    write("t.csv", table(["b", "a", "c"]))
    with pytest.raises(DataError, match="validation has 3 labels not in train: '0'"):
        rows(train_file="t.csv", validation_file=write("v.csv", table(["0", "1", "2"])))
    with pytest.raises(DataError) as error:  # as `evaluate --data` reads for a finished run
        rows(
            test_file=write("v.csv", table(["0", "1", "2"])),
            only=["test"],
            of_run=["a", "b", "c"],
        )
    said = "test has 3 labels not in the run: '0' (3 rows, first line 2); its labels are a, b, c"
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        (["0", "1"], ["0.0", "1.0"], ["0", "1"]),
        (["0.0", "1.0"], ["0", "1"], ["0", "1"]),
        (["True", "False"], ["true", "false"], ["True", "False"]),
        (["1", "x", "2"], ["1", "x"], None),  # text and numbers: refused
    ],
)
def test_a_number_and_a_truth_value_have_one_spelling_in_all_splits(
    train: list[str], validation: list[str], expected: list[str] | None
) -> None:
    files = {"train_file": write("t.csv", table(train))}
    files["validation_file"] = write("v.csv", table(validation))
    if expected is None:
        with pytest.raises(DataError, match="labels are text"):
            rows(**files)
    else:
        assert rows(**files).splits["validation"]["label"][:] == expected


@pytest.mark.parametrize("kind", [pa.decimal128(4, 1), pa.float32(), pa.int8(), pa.bool_()])
def test_labels_of_every_kind_of_number_are_read(kind: pa.DataType) -> None:
    values = [True, False] if kind == pa.bool_() else [1, 0]
    column = (
        pa.array(values).cast(kind)
        if kind != pa.decimal128(4, 1)
        else pa.array([Decimal("1.0"), Decimal("0.0")], kind)
    )
    pyarrow.parquet.write_table(pa.table({"text": ["a", "b"], "label": column}), "t.parquet")
    found = rows(train_file="t.parquet", need_validation=False)
    assert found.labels == (["false", "true"] if kind == pa.bool_() else ["0", "1"])
    if kind != pa.bool_():
        scored = rows(SCORE, train_file="t.parquet", need_validation=False)
        assert scored.splits["train"]["label"][:] == [1.0, 0.0]


def test_integers_with_gaps_are_the_sources_own_names() -> None:
    """pandas makes floats of integers as soon as one is missing."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])}
    )
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([1.0, 0.0, None])})
    table = table.replace_schema_metadata(features.arrow_schema.metadata)
    pyarrow.parquet.write_table(table, "t.parquet")
    found = rows(train_file="t.parquet", need_validation=False, on_missing_label="drop")
    assert (found.labels, found.splits["train"]["label"][:]) == (["x", "y"], ["y", "x"])


# What is no label


def hidden(train: list[str], test: list[str], **options: Any) -> Rows:
    files = {"train_file": write("t.csv", table(train)), "test_file": write("e.csv", table(test))}
    return rows(**files, need_validation=False, leakage="ignore", **options)


def test_minus_one_is_a_class_where_train_has_it(caplog: pytest.LogCaptureFixture) -> None:
    found = hidden(["-1", "1", "1"], ["-1", "-1"])
    assert found.hidden_labels == frozenset()
    assert found.splits["test"]["label"][:] == ["-1", "-1"]
    note = "t.csv: label -1 is a class like others (1 of 3 rows); data.labels without it"
    assert any(message.startswith(note) for message in caplog.messages)
    of_run = rows(test_file="e.csv", only=["test"], of_run=["-1", "1"])
    assert of_run.splits["test"]["label"][:] == ["-1", "-1"]


def test_minus_one_hides_a_label_where_it_is_no_class() -> None:
    assert hidden(["0", "1"], ["-1", "-1.0"]).hidden_labels == {"test"}
    with pytest.raises(DataError, match="1 row without label"):
        hidden(["0", "1", "-1"], ["0"], labels=[0, 1])
    found = hidden(["0", "1", "-1"], ["0"], labels=[0, 1], on_missing_label="drop")
    assert found.splits["train"]["label"][:] == ["0", "1"]


def test_minus_one_is_a_number_where_train_has_it() -> None:
    def scored(train: list[str]) -> Rows:
        files = {"train_file": write("t.csv", table(train))}
        files["test_file"] = write("e.csv", table(["-1", "-1"]))
        return rows(SCORE, **files, need_validation=False)

    assert scored(["-1", "0.5"]).splits["test"]["label"][:] == [-1.0, -1.0]
    assert scored(["0", "0.5"]).hidden_labels == {"test"}


def test_nan_is_nothing_and_a_label_called_nan_is_one() -> None:
    texts = ["nan", "eng", "deu"]  # of ISO 639-3
    assert read_labels(texts, labels=texts)[1] == texts
    with pytest.raises(DataError, match="1 row without label"):
        read_labels(texts)  # in a csv, where nothing may be written so
    written = rows(train_file=lines("t.jsonl", texts), need_validation=False)
    assert written.labels == ["deu", "eng", "nan"]
    cells = [1.5, math.nan, 2.0]
    for name in ("n.jsonl", "n.csv"):
        file = lines(name, cells) if name == "n.jsonl" else write(name, table([*map(str, cells)]))
        with pytest.raises(DataError, match="1 row without label"):
            rows(SCORE, train_file=file, need_validation=False)
        kept = rows(SCORE, train_file=file, need_validation=False, on_missing_label="drop")
        assert kept.splits["train"]["label"][:] == [1.5, 2.0]


def test_nan_is_no_text() -> None:
    write("t.jsonl", '{"text": NaN, "label": "x"}\n{"text": "nan", "label": "y"}\n')
    with pytest.raises(DataError, match=r"1 row with empty text \(first: line 1\)"):
        rows(train_file="t.jsonl", need_validation=False, on_empty_text="error")


# Names that one cannot tell apart


@pytest.mark.parametrize("other", ["pos\u200b", "pos\u00ad", "p\u2060os", "po\u0000s"])
def test_labels_that_look_alike_are_refused(other: str) -> None:
    with pytest.raises(DataError) as error:
        rows(train_file=lines("t.jsonl", ["pos", "neg", other]), need_validation=False)
    said = f"labels look the same and are not: 'pos' (line 1) and {other!a} (line 3)"
    assert said in str(error.value)
    both = ["pos", "neg", other]
    found = rows(train_file="t.jsonl", need_validation=False, labels=both)
    assert found.labels == both


def test_composed_and_decomposed_letters_look_alike_and_an_accent_does_not() -> None:
    with pytest.raises(DataError, match=r"'caf\\xe9' \(line 1\) and 'cafe\\u0301' \(line 2\)"):
        rows(train_file=lines("t.jsonl", ["caf\u00e9", "cafe\u0301"]), need_validation=False)
    assert read_labels(["cafe", "caf\u00e9"])[0] == ["cafe", "caf\u00e9"]


def test_an_unknown_label_that_looks_like_a_known_one_says_so() -> None:
    files = {"train_file": write("t.csv", GOOD), "validation_file": "v.csv"}
    write("v.csv", table(["pos\u200b"]))
    with pytest.raises(DataError, match=r"it looks like 'pos' and is 'pos\\u200b'"):
        rows(**files)


def test_labels_that_differ_in_case_alone_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert read_labels(["Pos", "pos", "neg"])[0] == ["Pos", "neg", "pos"]
    assert "labels 'Pos' and 'pos' differ in case alone" in caplog.messages


# Categories: values of a column, of one spelling each


def test_a_category_has_one_spelling() -> None:
    columns = {**CLASSIFY, "categorical": Column(ColumnType.CATEGORIES, required=False)}
    cells = [1, 1.0, "1", True, "True", "true", "", None, math.nan, "x "]
    written = [{"text": f"{i}", "label": "ab"[i % 2], "brand": c} for i, c in enumerate(cells)]
    write("t.jsonl", "".join(json.dumps(row) + "\n" for row in written))
    found = rows(columns, train_file="t.jsonl", categorical=["brand"], need_validation=False)
    expected = ["1"] * 3 + ["true"] * 3 + [None] * 3 + ["x"]
    assert [value for (value,) in found.splits["train"]["categorical"][:]] == expected


def test_a_column_that_nobody_reads_may_be_of_any_type() -> None:
    maps = pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64()))
    durations = pa.array([1, 2], pa.duration("ns"))
    columns = {"text": ["a", "b"], "label": ["x", "y"], "meta": maps, "took": durations}
    pyarrow.parquet.write_table(pa.table(columns), "t.parquet")
    assert rows(train_file="t.parquet", need_validation=False).labels == ["x", "y"]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        (Column(ColumnType.TEXT, target=True), ["a", math.nan, None]),
        (Column(ColumnType.TEXTS, target=True), ["", math.nan, None]),
        (Column(ColumnType.SPANS, target=True), [[], math.nan, None]),
        (Column(ColumnType.NUMBER, target=True), [1.0, math.nan, None]),
        (Column(ColumnType.TAGS, target=True), [["O"], math.nan, None]),
    ],
)
def test_nan_is_nothing_in_every_kind_of_column(column: Column, cells: list[Any]) -> None:
    """A target that is NaN is missing, as null is; the kind of column does not matter."""
    read = converter(column, None, None)
    assert [read(cell) is None for cell in cells] == [False, True, True]
    assert right_one(math.nan, ["a", "b"], None) is right_one(None, ["a", "b"], None) is None


def test_a_prediction_reads_lists_in_cells_as_training_did() -> None:
    """A text stays whole, so that an answer can say where a word stands; a list is a list."""
    read = reader(Column(ColumnType.WORDS), None)
    assert read("['New', 'York']") == ["New", "York"]
    assert read("New York") == "New York"
    with pytest.raises(ValueError, match="looks like a list"):
        read("['New' 'York']")


def test_an_answer_that_is_read_as_input_is_refused_whatever_the_task() -> None:
    for columns, options in (
        (CLASSIFY, {"text": "label"}),
        (CLASSIFY, {"text_pair": "label"}),
        (SCORE, {"label": "text"}),
        (TAGGED, {"words": "ner_tags"}),
    ):
        with pytest.raises(TunesmithError, match=r"CONF-BOTH.*the input would be the answer"):
            rows(columns, train_file=write("t.csv", GOOD), need_validation=False, **options)
