"""Files are read row by row, with every cell as it was written."""

from itertools import islice
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from support.bad_inputs import row
from tunesmith.data.columns import LONGEST_ROW
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.data.sources.files import columns_of, stream
from tunesmith.errors import DataError

TWO = [(2, {"a": "1", "b": "x"}), (3, {"a": "2", "b": "y"})]


@row(13)
@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y\r\n",
        b"a,b\r1,x\r2,y\r",
        b"\xef\xbb\xbfa,b\n1,x\n2,y",
        b'"a","b"\n"1","x"\n"2","y"\n',
    ],
)
def test_csv_reads_the_same_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    assert list(stream(path)) == TWO
    assert columns_of(path) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"])
def test_csv_reads_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("a,b\n1,é\n".encode(encoding))
    assert list(stream(path, FileFormat(encoding=encoding))) == [(2, {"a": "1", "b": "é"})]


def test_the_separator_is_told_by_the_extension_or_given(tmp_path: Path) -> None:
    tab, other = tmp_path / "x.tsv", tmp_path / "x.csv"
    tab.write_text("a\tb\n1\tx,y\n")
    other.write_text("a\tb\n1\tx,y\n")
    row = [(2, {"a": "1", "b": "x,y"})]
    assert list(stream(tab)) == row
    assert list(stream(other, FileFormat(sep="\t"))) == row
    assert list(stream(other, FileFormat(sep=r"\t"))) == row


def test_line_numbers_count_lines_not_records(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"one\ntwo\n\nthree",x\n\n2,"say ""hi"""\n')
    expected = [(2, {"a": "one\ntwo\n\nthree", "b": "x"}), (7, {"a": "2", "b": 'say "hi"'})]
    assert list(stream(path)) == expected


def test_a_header_alone_gives_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n")
    assert list(stream(path)) == []
    assert columns_of(path) == ["a", "b"]


def test_json_lines_keep_their_types_and_skip_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1, "b": "x\\ny"}\n\n{"a": null, "b": ["p", "q"], "c": true}\n')
    assert list(stream(path)) == [
        (1, {"a": 1, "b": "x\ny"}),
        (3, {"a": None, "b": ["p", "q"], "c": True}),
    ]
    assert columns_of(path) == ["a", "b"]


def test_parquet_is_not_held_in_memory(tmp_path: Path) -> None:
    path, image = tmp_path / "x.parquet", bytes(100_000)
    rows = pyarrow.table({"n": range(400), "image": [image] * 400})
    kept = {"compression": "none", "use_dictionary": False, "row_group_size": 50}
    pyarrow.parquet.write_table(rows, path, **kept)
    del rows
    before = pyarrow.total_allocated_bytes()
    held = [pyarrow.total_allocated_bytes() - before for _ in stream(path)]
    assert len(held) == 400 and max(held) < 20_000_000  # of 40 MB


def test_parquet_numbers_rows_from_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", None]}), path)
    assert list(stream(path)) == [(1, {"a": 1, "b": "x"}), (2, {"a": 2, "b": None})]
    assert columns_of(path) == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_part_the_documents_of_a_plain_text(tmp_path: Path, end: str) -> None:
    path = tmp_path / "x.txt"
    lines = ["", "A title, with commas", 'and "quotes', "  ", "", "Another", ""]
    path.write_bytes(end.join(lines).encode())
    whole = f'A title, with commas{end}and "quotes'
    assert list(stream(path)) == [(2, {"text": whole}), (6, {"text": "Another"})]
    assert columns_of(path) == ["text"]


def test_an_endless_document_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a\n\n" + "a line\n" * (LONGEST_ROW // 7 + 1))
    with pytest.raises(DataError, match=r"x\.txt:3: one document of more than 10 MB"):
        list(stream(path))


def test_a_stream_reads_no_further_than_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,x\n" * 100_000 + "broken\n")
    assert len(list(islice(stream(path), 10))) == 10
    with pytest.raises(DataError, match=r"x\.csv:100002: 1 field, expected 2"):
        list(stream(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xls", b"abc", "[DATA-FORMAT] x.xls: a spreadsheet; save the sheet as csv or tsv"),
        ("x.bin", b"a\0b", "[DATA-FORMAT] x.bin: unknown extension '.bin', and no text; data."),
        ("x.parquet", b"PAR1 nothing", "[DATA-PARQUET] x.parquet: not a whole parquet file"),
        ("x.csv", b"\xef\xbb\xbf", "[DATA-EMPTY] x.csv: file is empty"),
        ("x.csv", b"\n\n", "[DATA-EMPTY] x.csv: file is empty"),
        ("x.jsonl", b"[" * 100_000 + b"\n", "[DATA-JSON] x.jsonl: JSON too deep"),
        ("x.jsonl", b'{"a": ' + b"9" * 9999 + b"}", "[DATA-JSON] x.jsonl:1: JSON too deep"),
        ("x.jsonl", b'{"a": "caf\xe9"}', "[DATA-ENC] x.jsonl:1 byte 11: not UTF-8 (0xe9)"),
        ("x.txt", b"a caf\xe9", "[DATA-ENC] x.txt:1 byte 6: not UTF-8 (0xe9)"),
        ("x.csv", b"a,b,b,b\n", "[DATA-COL] x.csv: column 'b' occurs 3 times"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(stream(name))
    assert str(caught.value).startswith("error" + message)


def test_an_endless_quote_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,x\n"2,y\n' + "3,z\n" * (LONGEST_ROW // 4))
    with pytest.raises(DataError, match=r"x\.csv:3: quote opened here never closes"):
        list(stream(path, FileFormat(quoting="csv")))


RAW = 'text\tlabel\n"Hello" he said\tpos\n"open\tneg\nclosed"\tpos\n'


def test_quotes_can_be_text(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(RAW)
    rows = [row for _, row in stream(path, FileFormat(quoting="none"))]
    assert [row["text"] for row in rows] == ['"Hello" he said', '"open', 'closed"']
    assert columns_of(path, FileFormat(quoting="none")) == ["text", "label"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (RAW, ':2: text after a closing quote; write a quote in a cell as "", or set'),
        ('a\tb\n"open\tneg\nclosed"\tpos\n', ":2: quoted cell swallows rows up to line 3; set"),
        ('a\tb\n"open\tneg\n', ":2: quote opened here never closes; set"),
    ],
)
def test_raw_quotes_between_tabs_swallow_no_rows(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        list(stream(path, FileFormat(quoting="csv")))
    assert f"{says} data.quoting=none if quotes are text" in str(caught.value)


def test_a_quoted_cell_between_tabs_may_hold_a_line_break_or_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text('a\tb\n"one\ntwo"\tpos\n"one\ttwo"\tneg\n')
    assert [row["a"] for _, row in stream(path)] == ["one\ntwo", "one\ttwo"]


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}\n{"a": [{"b": "\\uDFFF"}]}\n')
    rows = stream(path)
    assert next(rows) == (1, {"a": "\U0001f600"})
    with pytest.raises(DataError, match=r"error\[DATA-CELL\] .*x\.jsonl:2: a holds half a char"):
        next(rows)


def test_a_stray_byte_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,caf\xe9\n")
    assert list(stream(path, FileFormat(encoding_errors="replace"))) == [
        (2, {"a": "1", "b": "caf\ufffd"})
    ]
