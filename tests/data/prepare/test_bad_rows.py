"""Rows that are wrong: each kind of mistake gives its code, its exit code and one line."""

import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from support.bad_inputs import named, row
from support.load_rows import GOOD, SCORE, rows, write
from tunesmith.errors import TunesmithError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bad(code: str, message: str, train: str | bytes, **options: Any) -> tuple[Any, ...]:
    """A case: what `train.csv` holds, the options beside it, and what is said."""
    return code, message, {"train.csv": train}, options


CASES: dict[str, tuple[Any, ...]] = {
    "row 1: file missing": (
        "DATA-404",
        "train.csv: no such file (cwd {cwd}); nearest: train_v2.csv",
        {"train_v2.csv": GOOD},
        {},
    ),
    "row 2: empty": bad("DATA-EMPTY", "train.csv: file is empty", ""),
    "row 3: header only": bad("DATA-EMPTY", "train.csv: header but 0 rows", "text,label\n"),
    "row 4: nothing left": bad(
        "DATA-EMPTY",
        "train: 0 of 3 rows left after: empty text 2, missing label 1",
        "text,label\n,pos\n ,neg\nx,\n",
        on_missing_label="drop",
        on_empty_text="drop",
    ),
    "row 5: no label column": bad(
        "DATA-COL",
        "train.csv: no column 'label'; columns: text, lable; did you mean 'lable'?",
        "text,lable\na,pos\n",
    ),
    "row 6: no text column": bad(
        "DATA-COL",
        "train.csv: no column 'text'; columns: sentence, label; data.text=COLUMN names it",
        "sentence,label\na,pos\n",
    ),
    "row 7: wrong separator": bad(
        "DATA-COL",
        "train.csv: one column 'text;label'; file looks ';'-separated; set \"data.sep=';'\"",
        "text;label\na;pos\n",
        sep=",",
    ),
    "row 8: column twice": bad(
        "DATA-COL", "train.csv: column 'text' occurs twice", "text,text,label\na,b,pos\n"
    ),
    "row 9: too many fields": bad(
        "DATA-CSV", "train.csv:3: 3 fields, expected 2", "text,label\na,pos\nb,neg,x\n"
    ),
    "row 9: too few fields": bad(
        "DATA-CSV", "train.csv:3: 1 field, expected 2", "text,label\na,pos\nb\n"
    ),
    "row 10: quote open to the end": bad(
        "DATA-CSV",
        "train.csv:2: quote opened here never closes; set data.quoting=none if quotes are text",
        'text,label\n"a,pos\nb,neg\n',
        quoting="csv",
    ),
    "row 10: quote open to the next": bad(
        "DATA-CSV",
        "train.csv:2: quote opened here never closes; set data.quoting=none if quotes are text",
        'text,label\n"a,pos\n"b",neg\n',
        quoting="csv",
    ),
    "row 10: text after a quote": bad(
        "DATA-CSV",
        'train.csv:2: text after a closing quote; write a quote in a cell as "", or '
        "set data.quoting=none if quotes are text",
        'text,label\n"a"b,pos\n',
        quoting="csv",
    ),
    "row 11: latin-1": bad(
        "DATA-ENC",
        "train.csv:2 byte 4: not UTF-8 (0xe9); set data.encoding=latin-1",
        b"text,label\ncaf\xe9,pos\n",
    ),
    "row 12: utf-16": bad(
        "DATA-ENC",
        "train.csv: UTF-16 byte-order mark; set data.encoding=utf-16",
        GOOD.encode("utf-16"),
    ),
    "row 15: bad json": (
        "DATA-JSON",
        "train.jsonl:2: invalid JSON at column 13; one object a line",
        {"train.jsonl": '{"text": "a", "label": "pos"}\n{"text": "b"\n'},
        {"train_file": "train.jsonl"},
    ),
    "row 15: json list": (
        "DATA-JSON",
        "train.json: row 1: a JSON list, not an object; a list of objects",
        {"train.json": '[["a", "pos"]]\n'},
        {"train_file": "train.json"},
    ),
    "row 16: json keys differ": (
        "DATA-COL",
        "train.jsonl:2: key 'text' missing",
        {"train.jsonl": '{"text": "a", "label": "pos"}\n{"label": "neg"}\n'},
        {"train_file": "train.jsonl"},
    ),
    "row 16: json text is a list": (
        "DATA-CELL",
        "train.jsonl:1: text is a list, not a text",
        {"train.jsonl": '{"text": ["a"], "label": "pos"}\n'},
        {"train_file": "train.jsonl"},
    ),
    "half a character": (
        "DATA-CELL",
        "train.jsonl:2: text holds half a character (a lone surrogate); "
        "write both halves, or neither",
        {
            "train.jsonl": '{"text": "\\ud83d\\ude00", "label": "a"}\n'
            '{"text": "x\\uD800", "label": "b"}\n'
        },
        {"train_file": "train.jsonl"},
    ),
    "row 19: label missing": bad(
        "DATA-LABEL",
        "train.csv: 1 row without label (first: line 3); drop with data.on_missing_label=drop",
        "text,label\na,pos\nb,\nc,neg\n",
    ),
    "row 19: label NaN": bad(
        "DATA-LABEL",
        "train.csv: 2 rows without label (first: line 2); drop with data.on_missing_label=drop",
        "text,label\na,nan\nb,NaN\nc,neg\n",
    ),
    "row 20: target not finite": bad(
        "DATA-CELL",
        "train.csv:3: label inf is not finite",
        "text,label\na,1.5\nb,inf\n",
        columns=SCORE,
    ),
    "row 20: target NaN": bad(
        "DATA-LABEL",
        "train.csv: 1 row without label (first: line 2); drop with data.on_missing_label=drop",
        "text,label\na,nan\n",
        columns=SCORE,
    ),
    "row 20: target no number": bad(
        "DATA-CELL",
        "train.csv:2: label 'good' is not a number",
        "text,label\na,good\n",
        columns=SCORE,
    ),
    "row 22: two kinds of labels": bad(
        "DATA-LABEL",
        "train.csv: labels are text ('pos', line 2) and numbers ('1', line 4); "
        "name all in data.labels if both are meant",
        "text,label\na,pos\nb,pos\nc,1\n",
    ),
    "row 23: fractions": bad(
        "DATA-LABEL",
        "train.csv: label '1.5' (line 3) is a fraction, not a class; "
        "set task=regression, or data.labels",
        "text,label\na,1.0\nb,1.5\n",
    ),
    "row 24: one class": bad(
        "DATA-LABEL",
        "train.csv: only label 'pos' in train; need >= 2",
        "text,label\na,pos\nb,pos\n",
    ),
    "row 26: strange label": (
        "DATA-LABEL",
        "b.csv: validation has 1 label not in train: 'mixed' (2 rows, first line 3)",
        {"train.csv": GOOD, "b.csv": "text,label\nx,pos\ny,mixed\nz,mixed\n"},
        {"validation_file": "b.csv"},
    ),
    "row 27: label out of range": bad(
        "DATA-LABEL",
        "train.csv: train has 3 labels not in data.labels: '0' (3 rows, first line 2)",
        "text,label\na,0\nb,1\nc,3\n",
        labels=["neg", "pos"],
    ),
    "row 28: no usable label": bad(
        "DATA-LABEL",
        "train.csv: no row has a usable label: all are withheld (-1); check data.label",
        "text,label\na,-100\nb,-100\n",
    ),
    "row 28: no usable label in validation": (
        "DATA-LABEL",
        "b.csv: no row has a usable label: all are withheld (-1); check data.label",
        {"train.csv": GOOD, "b.csv": "text,label\nx,-1\ny,-1\n"},
        {"validation_file": "b.csv"},
    ),
    "row 30: empty text": bad(
        "DATA-TEXT",
        "train.csv: 1 row with empty text (first: line 3); data.on_empty_text=drop or keep",
        "text,label\na,pos\n,neg\n",
        on_empty_text="error",
    ),
    "row 31: control characters": bad(
        "DATA-TEXT",
        "train.csv: 2 rows with empty text (first: line 2); data.on_empty_text=drop or keep",
        "text,label\n \t\x07,pos\n\u200b,neg\nx,neg\n",
        on_empty_text="error",
    ),
    "row 35: endless line": bad(
        "DATA-ROW", "train.csv:2: one row of more than 10 MB", b"text,label\n" + b"x" * 10_000_001
    ),
    "row 36: id twice": bad(
        "DATA-ID",
        "train.csv: id '7' occurs 2 times (line 2 and 4); ids must be unique, or data.id=null",
        "text,label,key\na,pos,7\nb,neg,8\nc,neg,7\n",
        id="key",
    ),
    "row 37: leak": (
        "DATA-LEAK",
        "1 of 2 validation texts are also in train (1 of them but for case and spaces), "
        "first: line 3",
        {"train.csv": GOOD, "b.csv": "text,label\nnew,pos\nA  FINE day,neg\n"},
        {"validation_file": "b.csv", "leakage": "error"},
    ),
    "row 39: same file": (
        "DATA-LEAK",
        "train and validation are the same file (sha {sha}…); data.leakage=ignore allows it",
        {"train.csv": GOOD, "b.csv": GOOD},
        {"validation_file": "b.csv"},
    ),
    "row 40: validation empty": bad(
        "DATA-EMPTY",
        "validation has 0 of the 2 rows of train.csv; more rows, or another data.split",
        GOOD,
        split={"validation": 0.01},
    ),
    "row 40: validation file empty": (
        "DATA-EMPTY",
        "b.csv: header but 0 rows",
        {"train.csv": GOOD, "b.csv": "text,label\n"},
        {"validation_file": "b.csv"},
    ),
    "row 41: no validation": bad(
        "DATA-SPLIT",
        "data: no validation split, and none is cut from train; set data.split.validation=0.1",
        GOOD,
        need_validation=True,
    ),
}


@pytest.mark.parametrize("case", named(CASES))
def test_a_bad_row_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    code, message, contents, options = CASES[case]
    for name, content in contents.items():
        write(name, content)
    asked = {"train_file": "train.csv", "need_validation": False} | options
    with pytest.raises(TunesmithError) as caught:
        rows(**asked)
    fill = {"{cwd}": str(tmp_path), "{sha}": sha256(GOOD.encode()).hexdigest()[:8]}
    for mark, value in fill.items():
        message = message.replace(mark, value)
    shown = str(caught.value)
    assert shown == f"error[{code}] {message}"
    assert caught.value.exit_code == 3
    assert len(caught.value.lines) == 1
    assert len(shown) <= 200


def test_the_mistakes_of_all_files_are_said_at_once() -> None:
    write("a.csv", "text,label\n")
    write("b.csv", "sentence,label\nx,pos\n")
    with pytest.raises(TunesmithError) as caught:
        rows(train_file="a.csv", validation_file="b.csv", test_file="c.csv")
    assert str(caught.value).startswith("error[DATA-404] c.csv: no such file")
    write("c.csv", "text,gold\nx,pos\n")
    write("b.csv", "text,label\nx\n")
    with pytest.raises(TunesmithError) as caught:
        rows(train_file="a.csv", validation_file="b.csv", test_file="c.csv")
    assert caught.value.lines == [
        "error[DATA-EMPTY] a.csv: header but 0 rows",
        "error[DATA-CSV] b.csv:2: 1 field, expected 2",
    ]


def test_a_label_column_may_not_be_the_text_column_by_guess() -> None:
    write("train.csv", "first,second\na,pos\n")
    with pytest.raises(TunesmithError) as caught:
        rows(train_file="train.csv", need_validation=False)
    assert caught.value.lines == [
        "error[DATA-COL] train.csv: no column 'text'; columns: first, second; "
        "data.text=COLUMN names it",
        "error[DATA-COL] train.csv: no column 'label'; columns: first, second; "
        "data.label=COLUMN names it",
    ]


WARNINGS = {
    "row 14: NUL": (
        {"train.csv": "text,label\na\0b,pos\nc,neg\n"},
        {},
        ["train.csv: 1 row with a NUL character (first: line 2), kept"],
    ),
    "row 25: lonely class": (
        {"train.csv": "text,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(20)) + "z,2\n"},
        {"split": {"validation": 0.3, "method": "stratified"}},
        ["class '2' has fewer than 2 different texts: kept in train, not split"],
    ),
    "row 29: hidden labels": (
        {"train.csv": GOOD, "b.csv": "text,label\nx,-1\ny,-1\n"},
        {"test_file": "b.csv"},
        ["test has hidden labels (-1 or none): predict only, not evaluate"],
    ),
    "row 30: empty text": (
        {"train.csv": "text,label\na,pos\n,neg\n  ,neg\n"},
        {},
        [
            "train.csv: 2 rows with empty text (first: line 3); "
            "data.on_empty_text=drop leaves them out"
        ],
    ),
    "row 4: some dropped": (
        {"train.csv": "text,label\na,pos\n,neg\nb,neg\nc,\n"},
        {"on_empty_text": "drop", "on_missing_label": "drop"},
        ["train: 2 of 4 rows dropped: empty text 1, missing label 1"],
    ),
    "row 37: leak": (
        {"train.csv": GOOD, "b.csv": "text,label\na fine day,pos\nA  BAD day,neg\nx,neg\n"},
        {"test_file": "b.csv"},
        [
            "2 of 3 test texts are also in train (1 of them but for case and spaces), "
            "first: line 2; data.leakage=error refuses"
        ],
    ),
    "row 38: two labels": (
        {"train.csv": GOOD + "other,pos\na fine day,neg\n"},
        {},
        ["train: 1 text has two labels, first: 'pos' (line 2) and 'neg' (line 5)"],
    ),
}


@pytest.mark.parametrize("case", named(WARNINGS))
def test_an_odd_row_is_kept_and_warned_of(case: str, caplog: pytest.LogCaptureFixture) -> None:
    contents, options, expected = WARNINGS[case]
    for name, content in contents.items():
        write(name, content)
    with caplog.at_level(logging.WARNING):
        found = rows(**{"train_file": "train.csv", "need_validation": False} | options)
    assert found.notes == expected
    assert [r.message for r in caplog.records] == expected


def test_a_hidden_split_has_no_label_column() -> None:
    write("train.csv", GOOD)
    write("b.csv", "text,label\nx,-1\ny,-1\n")
    write("c.csv", "text\nx\n")
    for file in ("b.csv", "c.csv"):
        found = rows(train_file="train.csv", test_file=file, need_validation=False)
        assert found.hidden_labels == {"test"}
        assert found.splits["test"].column_names == ["row", "text"]


@row(17)
@row(18)
def test_texts_that_look_like_nothing_or_numbers_stay_texts() -> None:
    words = ["NA", "null", "None", "007", "123", "1e5", "nan"]
    write("train.csv", "text,label\n" + "".join(f"{w},{i % 2}\n" for i, w in enumerate(words)))
    found = rows(train_file="train.csv", need_validation=False)
    assert found.splits["train"]["text"][:] == words


@row(23)
def test_whole_numbers_written_as_fractions_are_classes() -> None:
    write("train.csv", "text,label\na,1.0\nb,2.0\nc,10.0\n")
    write("b.csv", "text,label\nx,2\ny,1.0\n")
    found = rows(train_file="train.csv", validation_file="b.csv")
    assert found.labels == ["1", "2", "10"]
    assert found.splits["train"]["label"][:] == ["1", "2", "10"]
    assert found.splits["validation"]["label"][:] == ["2", "1"]


def test_leakage_ignore_lets_one_file_be_two_splits() -> None:
    write("train.csv", GOOD)
    found = rows(train_file="train.csv", validation_file="train.csv", leakage="ignore")
    assert found.notes == []
    assert len(found.splits["validation"]) == 2


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"sep": "||"}, ["error[CONF-VALUE] data.sep: '||' is not one character"]),
        ({"encoding": "utf-9"}, ["error[CONF-VALUE] data.encoding: no encoding 'utf-9'"]),
        (
            {"train_file": None},
            [
                "error[CONF-MISSING] data: nothing to read: "
                "neither data.train_file nor data.path is set"
            ],
        ),
        (
            {"labels": ["a", "a"]},
            ["error[CONF-VALUE] data.labels: 2 names, 1 different; need >= 2, all different"],
        ),
    ],
)
def test_options_that_cannot_be_are_all_said(options: dict[str, Any], lines: list[str]) -> None:
    write("train.csv", GOOD)
    with pytest.raises(TunesmithError) as caught:
        rows(**{"train_file": "train.csv", "need_validation": False} | options)
    assert caught.value.lines == lines
    assert caught.value.exit_code == 2
