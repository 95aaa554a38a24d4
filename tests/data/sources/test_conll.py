"""A CoNLL file is read sentence by sentence, and says where it is broken."""

from pathlib import Path

import pytest

from support.load_rows import rows, write
from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.sources import files
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.data.sources.files import columns_of, stream
from tunesmith.errors import ConfigError, DataError

TAG = {"words": Column(ColumnType.WORDS), "tags": Column(ColumnType.TAGS, target=True)}
SHARED_TASK = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["x.conll", "x.bio", "x.IOB"])
def test_the_first_column_is_the_word_and_the_last_its_tag(name: str) -> None:
    write(name, SHARED_TASK)
    assert columns_of(name) == ["tokens", "ner_tags"]
    assert list(stream(name)) == [
        (3, {"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]}),
        (6, {"tokens": ["Peter"], "ner_tags": ["B-PER"]}),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "a\tO\nb\tB-X\n\nc\tO",
        "a O\r\nb B-X\r\n\r\n\r\nc O\r\n",
        "\n \t\na   O \nb\t B-X\n\t\nc O\n\n\n",
        "\ufeffa O\nb B-X\n-DOCSTART- O\nc O\n",
    ],
)
def test_it_is_read_the_same_however_it_was_saved(content: str) -> None:
    write("x.conll", content.encode())
    found = [row for _, row in stream("x.conll")]
    assert found == [
        {"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]},
        {"tokens": ["c"], "ner_tags": ["O"]},
    ]


def test_white_space_that_is_no_blank_and_no_tab_is_part_of_a_word() -> None:
    write("x.conll", "10\u00a0000 O\n\u2028 O\n\x0c O\n")
    assert next(stream("x.conll"))[1]["tokens"] == ["10\u00a0000", "\u2028", "\x0c"]


def test_a_given_separator_leaves_blanks_in_words() -> None:
    write("x.conll", "New York\tB-LOC\n-DOCSTART- O\nis\tO\n")
    for sep in ("\t", r"\t"):
        found = [row for _, row in stream("x.conll", FileFormat(sep=sep))]
        assert found == [
            {"tokens": ["New York"], "ner_tags": ["B-LOC"]},
            {"tokens": ["is"], "ner_tags": ["O"]},
        ]
    with pytest.raises(ConfigError, match=r"data\.sep"):
        list(stream("x.conll", FileFormat(sep="--")))


def test_a_file_of_words_alone_has_no_tags() -> None:
    write("x.conll", "a\nb\n\nc\n")
    assert columns_of("x.conll") == ["tokens"]
    assert list(stream("x.conll")) == [(1, {"tokens": ["a", "b"]}), (4, {"tokens": ["c"]})]


BROKEN = {
    "a word without a tag": (
        "a O\nb\nc O\n",
        None,
        "error[DATA-CONLL] x.conll:2: 1 field, expected 2: a word without a tag",
    ),
    "a tag that is empty": (
        "a\tO\nb\t\n",
        "\t",
        "error[DATA-CONLL] x.conll:2: 1 field, expected 2: a word without a tag",
    ),
    "a blank in a word": (
        "a O\n\nNew York B-LOC\n",
        None,
        "error[DATA-CONLL] x.conll:3: 3 fields, expected 2; data.sep says what is between",
    ),
    "no word": ("-DOCSTART- O\n\n", None, "error[DATA-EMPTY] x.conll: no word in the file"),
    "another encoding": (
        b"caf\xe9 O\n",
        None,
        "error[DATA-ENC] x.conll:1 byte 4: not UTF-8 (0xe9); set data.encoding=latin-1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_says_where(case: str) -> None:
    content, sep, message = BROKEN[case]
    write("x.conll", content)
    with pytest.raises(DataError) as caught:
        rows(TAG, train_file="x.conll", sep=sep, need_validation=False)
    assert (str(caught.value), caught.value.exit_code) == (message, 3)


def test_a_sentence_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_ROW", 1000)
    write("x.conll", "a O\n\n" + "word O\n" * 500)
    with pytest.raises(DataError, match=r"x\.conll:3: a sentence of more than"):
        list(stream("x.conll"))


def test_rows_of_conll_are_rows_like_others() -> None:
    write("train.conll", SHARED_TASK)
    write("dev.conll", "Paul NNP B-NP B-PER\n")
    found = rows(TAG, train_file="train.conll", validation_file="dev.conll")
    assert found.labels == ["B-ORG", "B-PER", "O"]
    assert found.splits["train"][:] == {
        "row": [0, 1],
        "words": [["EU", "rejects"], ["Peter"]],
        "tags": [["B-ORG", "O"], ["B-PER"]],
    }


def test_a_test_file_without_tags_has_hidden_ones() -> None:
    write("train.conll", SHARED_TASK)
    write("test.conll", "Paul\nwaits\n")
    found = rows(TAG, train_file="train.conll", test_file="test.conll", need_validation=False)
    assert found.hidden_labels == {"test"}
    assert found.splits["test"]["words"][:] == [["Paul", "waits"]]


UNFIT = {
    "a tag that train lacks": (
        {"train.conll": SHARED_TASK, "dev.conll": "a x y O\n\nb x y B-LOC\n"},
        "error[DATA-LABEL] dev.conll: validation has 1 label not in train: 'B-LOC' "
        "(1 row, first line 3)",
    ),
    "tags and words of two lengths": (
        {"train.jsonl": '{"tokens": ["a", "b"], "ner_tags": ["O"]}\n', "dev.conll": "a O\n"},
        "error[DATA-CELL] train.jsonl:1: 1 tags for 2 words; one tag a word",
    ),
    "a word of many without a tag": (
        {"train.jsonl": '{"tokens": ["a", "b"], "ner_tags": ["O", null]}\n', "dev.conll": "a O\n"},
        "error[DATA-CELL] train.jsonl:1: ner_tags has no tag at word 2",
    ),
    "a validation file of words alone": (
        {"train.conll": SHARED_TASK, "dev.conll": "a\n"},
        "error[DATA-COL] dev.conll: no column 'ner_tags'; columns: tokens; "
        "data.tags=COLUMN names it",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_rows_that_do_not_fit_are_refused(case: str) -> None:
    contents, message = UNFIT[case]
    train, dev = (write(name, content) for name, content in contents.items())
    with pytest.raises(DataError) as caught:
        rows(TAG, train_file=train, validation_file=dev)
    assert (str(caught.value), caught.value.exit_code) == (message, 3)


def test_one_odd_word_empties_no_sentence() -> None:
    write("x.jsonl", '{"tokens": ["a", "\\u0001"], "ner_tags": ["O", "O"]}\n' * 2)
    kept = rows(TAG, train_file="x.jsonl", need_validation=False, on_empty_text="error")
    assert len(kept.splits["train"]) == 2
    write("x.jsonl", '{"tokens": ["", "\\u0001"], "ner_tags": ["O", "O"]}\n')
    with pytest.raises(DataError, match="1 row with empty text"):
        rows(TAG, train_file="x.jsonl", need_validation=False, on_empty_text="error")
