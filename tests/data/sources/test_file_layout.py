"""What is read of a file that no option describes, what is said of it, and what helps."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.load_rows import CLASSIFY, GOOD, SCORE, rows, write
from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.data.sources.files import columns_of, stream
from tunesmith.errors import ConfigError, DataError, TunesmithError

TAGGED = {"words": Column(ColumnType.WORDS), "tags": Column(ColumnType.TAGS, target=True)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(name: str, *records: dict[str, Any]) -> str:
    return write(name, "".join(json.dumps(record) + "\n" for record in records))


def said(name: str, content: str, caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    """Read a train file; return the guesses that were told."""
    rows(train_file=write(name, content), need_validation=False, **options)
    return [m for m in caplog.messages if m.startswith(name)]


# Quotes


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.tsv", 'text\tlabel\n"a" b\tx\n"open\ty\n', "line 2: text after a closing quote"),
        ("a.tsv", 'text\tlabel\n"open\tx\nclosed"\ty\n', "line 2: quoted cell swallows rows"),
        ("a.csv", 'text,label\n"open,x\nb,y\n', "line 2: quote opened here never closes"),
    ],
)  # fmt: skip
def test_quotes_that_break_the_rules_are_text_and_it_is_said(
    name: str, content: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    [guess] = said(name, content, caplog)
    assert guess.startswith(f"{name}: quotes are text ({line}")
    assert guess.endswith("data.quoting=csv refuses")
    with pytest.raises(DataError, match=r"data\.quoting=none if quotes are text"):
        rows(train_file=name, need_validation=False, quoting="csv")


def test_quotes_that_keep_the_rules_are_quotes_and_a_broken_file_stays_broken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = 'text,label\n"a, ""b""\nc",x\nd,y\n'
    assert said("a.csv", content, caplog) == []
    assert next(stream("a.csv"))[1]["text"] == 'a, "b"\nc'
    write("b.csv", 'text,label\n"a, b,x\nd,y\n')  # without quotes it has three cells and two
    with pytest.raises(DataError, match=r"b\.csv:2: quote opened here never closes"):
        list(stream("b.csv"))


# Separators and Excel's oddities


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_the_separator_of_the_header_is_taken(sep: str, caplog: pytest.LogCaptureFixture) -> None:
    content = f"text{sep}label\na, b{sep}x\nc{sep}y\n"
    assert said("a.csv", content, caplog) == [
        f"a.csv: cells are parted by {sep!r}; data.sep says otherwise"
    ]
    assert next(stream("a.csv"))[1] == {"text": "a, b", "label": "x"}


def test_a_tsv_of_commas_and_a_csv_of_one_column() -> None:
    write("a.tsv", "text,label\na,x\nb,y\n")
    assert columns_of("a.tsv") == ["text", "label"]
    write("b.csv", "text\na\nb; c\n")
    assert [row for _, row in stream("b.csv")] == [{"text": "a"}, {"text": "b; c"}]


def test_columns_without_a_name_and_rows_without_a_cell_are_not_read() -> None:
    write("a.csv", "text,label,,\na,x,1,\n,,,\nb,y,,,\n")
    assert columns_of("a.csv") == ["text", "label"]
    assert list(stream("a.csv")) == [
        (2, {"text": "a", "label": "x"}),
        (4, {"text": "b", "label": "y"}),
    ]
    write("b.csv", "text,text,label\na,b,x\n")
    with pytest.raises(DataError, match="column 'text' occurs twice"):
        columns_of("b.csv")


# Headers


def test_a_file_without_a_header_is_told_and_its_columns_can_be_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = "".join(f"id{i}\t{i % 2}\tsome words of row {i}\n" for i in range(20))
    with pytest.raises(TunesmithError) as error:
        rows(train_file=write("a.tsv", content), need_validation=False)
    assert error.value.lines == [  # type: ignore[attr-defined]
        "error[DATA-COL] a.tsv: no column 'text', and the first row looks like data; "
        'data.header=none "data.column_names=[column_1,label,text]"'
    ]
    names = ["column_1", "label", "text"]
    found = rows(train_file="a.tsv", need_validation=False, header="none", column_names=names)
    assert len(found.splits["train"]) == 20
    assert caplog.messages == []
    named = FileFormat(header="none")
    assert columns_of("a.tsv", named) == ["column_1", "column_2", "column_3"]
    first = FileFormat(header="first")
    assert len(list(stream("a.tsv", first))) == 19


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["text", "text"], "data.column_names: a name occurs twice"),
        (["a", "b", "c", "d"], "a.tsv: 3 columns, and data.column_names has 4"),
    ],
)
def test_names_that_do_not_fit_are_refused(names: list[str], message: str) -> None:
    write("a.tsv", "1\t2\t3\n4\t5\t6\n")
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        rows(train_file="a.tsv", need_validation=False, column_names=names)


def test_cells_beyond_the_names_are_not_read() -> None:
    write("a.tsv", "1\tx\n2\ty\tmore\n3\tz\tmore\tstill\n")
    form = FileFormat(column_names=("n", "text"))
    assert [row["text"] for _, row in stream("a.tsv", form)] == ["x", "y", "z"]


@pytest.mark.parametrize(
    "header", ["sentence,label,idx", "text,target", "Tweet text,class (0/1)", "q,a,b,c,d"]
)
def test_a_header_does_not_look_like_data(header: str) -> None:
    width = header.count(",")
    write("a.csv", f"{header}\n" + "".join("x" + ",1" * width + "\n" for _ in range(5)))
    with pytest.raises(TunesmithError) as error:
        rows(CLASSIFY, train_file="a.csv", need_validation=False, label="label", text="nothing")
    assert "looks like data" not in str(error.value)


# Rows that lack a key


def test_a_key_that_the_first_row_lacks_is_a_column(caplog: pytest.LogCaptureFixture) -> None:
    lines("t.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "y"})
    lines("e.jsonl", {"text": "c"}, {"text": "d", "label": "x"})
    with pytest.raises(DataError, match=r"e\.jsonl: 1 row without label \(first: line 1\)"):
        rows(train_file="t.jsonl", test_file="e.jsonl", need_validation=False)
    found = rows(
        train_file="t.jsonl", test_file="e.jsonl", need_validation=False, on_missing_label="drop"
    )
    assert (found.hidden_labels, len(found.splits["test"])) == (frozenset(), 1)
    lines("e.jsonl", {"text": "c"}, {"text": "d", "label": "x"}, {"text": "e", "label": "z"})
    train = rows(train_file="e.jsonl", need_validation=False, on_missing_label="drop")
    assert train.splits["train"]["text"][:] == ["d", "e"]
    lines("p.jsonl", {"text": "a", "label": "x"}, {"text": "b", "pair": "c", "label": "y"})
    with pytest.raises(DataError, match=r"p\.jsonl:1: key 'pair' missing"):
        rows(train_file="p.jsonl", need_validation=False, text_pair="pair")


def test_a_test_file_with_its_label_column_misspelt_is_refused_and_one_without_is_hidden() -> None:
    write("t.csv", GOOD)
    write("e.csv", "text,lable\nx,pos\n")
    with pytest.raises(DataError, match="no column 'label'; columns: text, lable; did you mean"):
        rows(train_file="t.csv", test_file="e.csv", need_validation=False)
    write("e.csv", "text,source\nx,web\n")
    hidden = rows(train_file="t.csv", test_file="e.csv", need_validation=False)
    assert hidden.hidden_labels == {"test"}


# Formats


def test_a_format_can_be_said_and_wins_over_the_extension() -> None:
    write("rows.dat", "a;x\nb;y\n")
    form = FileFormat(format="csv", sep=";", column_names=("text", "label"))
    assert [row for _, row in stream("rows.dat", form)][1] == {"text": "b", "label": "y"}
    write("rows.txt", "text;label\na;x\n")
    assert columns_of("rows.txt", FileFormat(sep=";")) == ["text", "label"]
    write("rows.json", '{"text": "a"}\n')
    assert list(stream("rows.json", FileFormat(format="text"))) == [(1, {"text": '{"text": "a"}'})]


def test_json_is_one_document_and_jsonl_is_lines_where_it_is_said() -> None:
    records = [{"text": "a"}, {"text": "b"}]
    write("rows.data", json.dumps(records))
    assert [row for _, row in stream("rows.data", FileFormat(format="json"))] == records
    write("rows.data", json.dumps({"data": [{"text": "a"}]}))  # a row of its own, if lines are said
    [(_, row)] = stream("rows.data", FileFormat(format="jsonl"))
    assert row == {"data": [{"text": "a"}]}


def test_names_imply_a_table_and_go_with_no_header() -> None:
    write("rows.txt", "a\tx\nb\ty\n")
    names = ["text", "label"]
    assert columns_of("rows.txt", FileFormat(column_names=names)) == names
    with pytest.raises(
        ConfigError, match=r"CONF-BOTH.* names the columns of files without a header"
    ):
        columns_of("rows.txt", FileFormat(column_names=names, header="first"))


def test_a_column_that_the_first_row_lacks_can_part_rows() -> None:
    """Rows are cut by a label that the task does not read: it is one, wherever it begins."""
    records = [{"text": f"text {i}", **({"label": "ab"[i % 2]} if i else {})} for i in range(40)]
    lines("t.jsonl", *records)
    alone = {"text": Column(ColumnType.TEXT)}
    split = {"validation": 0.5, "method": "stratified"}
    found = rows(alone, train_file="t.jsonl", split=split)
    assert 18 <= len(found.splits["validation"]) <= 22


def test_an_unknown_extension_is_told_with_what_was_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert said("rows.data", GOOD, caplog) == [
        "rows.data: no extension that is known: read as csv; data.format says otherwise",
        "rows.data: cells are parted by ','; data.sep says otherwise",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n "b": 2}', "one JSON object, and no list of rows in it"),
        ('{\n"a": [{}], "b": [{}]}', "2 lists of objects (a, b): which are the rows?"),
        ('[{"text": "a"}, 3]', "a.json: row 2: a JSON value, not an object"),
        ('[{"text": "\\ud800"}]', "a.json: row 1: text holds half a character"),
        ('[{"text": "a"}', "a.json:1: invalid JSON at column"),
    ],
)
def test_a_document_without_rows_is_refused(content: str, message: str) -> None:
    write("a.json", content)
    with pytest.raises(DataError) as error:
        list(stream("a.json"))
    assert message in str(error.value)


# Tags


def test_tags_of_iob1_are_read_as_bio(caplog: pytest.LogCaptureFixture) -> None:
    iob1 = [["I-a", "I-a", "B-a", "O", "I-b"], ["O", "I-b", "I-a"]]
    records = [{"tokens": ["w"] * len(tags), "ner_tags": tags} for tags in iob1]
    found = rows(TAGGED, train_file=lines("t.jsonl", *records), need_validation=False)
    assert found.splits["train"]["tags"][:] == [
        ["B-a", "I-a", "B-a", "O", "B-b"],
        ["O", "B-b", "B-a"],
    ]
    assert found.labels == ["B-a", "B-b", "I-a", "O"]
    assert "t.jsonl: tags are IOB1 (I- begins an entity): read as BIO" in caplog.messages


@pytest.mark.parametrize(
    "tags", [["B-a", "I-a", "O"], ["B-a", "I-b", "O"], ["S-a", "I-a"], ["NOUN", "I-a"]]
)
def test_other_tags_stay_as_they_are(tags: list[str]) -> None:
    record = {"tokens": ["w"] * len(tags), "ner_tags": tags}
    found = rows(TAGGED, train_file=lines("t.jsonl", record), need_validation=False)
    assert found.splits["train"]["tags"][:] == [tags]


def test_comments_set_no_number_of_columns() -> None:
    write("t.conll", "# sent_id = 1\na O\n# O\n\n# sent_id = 2\nb O\n")
    assert [row["tokens"] for _, row in stream("t.conll")] == [["a", "#"], ["b"]]


# Choices


QUESTIONS = {
    "text": Column(ColumnType.TEXT),
    "choices": Column(ColumnType.CHOICES),
    "label": Column(ColumnType.CHOICE, target=True),
}


def asked(*labels: Any) -> list[int]:
    records = [{"text": f"{i}", "choices": ["a", "b"], "label": x} for i, x in enumerate(labels)]
    found = rows(QUESTIONS, train_file=lines("t.jsonl", *records), need_validation=False)
    return found.splits["train"]["label"][:]


def test_choices_counted_from_one_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert asked(1, 2, 1) == [0, 1, 0]
    note = "t.jsonl: choices are numbered from 1; data.label_from=0 says otherwise"
    assert note in caplog.messages
    assert asked("1", "2") == [0, 1]
    assert asked(0, 1, 1) == [0, 1, 1]
    assert asked(1, 1) == [1, 1]  # never 2: from 0, as elsewhere
    assert asked("A", "b") == [0, 1]
    with pytest.raises(DataError, match="'2' is none of 2 choices: index from 0, letter, text"):
        asked(0, 2)
    records = [{"text": "x", "choices": ["a", "b"], "label": 1}]
    found = rows(
        QUESTIONS, train_file=lines("t.jsonl", *records), need_validation=False, label_from=1
    )
    assert (found.splits["train"]["label"][:], found.label_from) == ([0], 1)


def test_a_separator_of_two_characters_is_refused() -> None:
    with pytest.raises(ConfigError, match="'--' is not one character"):
        rows(SCORE, train_file=write("a.csv", GOOD), need_validation=False, sep="--")
