"""Choices of a question: where they come from, which is right, and what is refused."""

import json
import random

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hydra import compose, initialize_config_dir

from support.load_rows import rows, write
from tunesmith.config import CONF, resolved
from tunesmith.data.prepare.choices import right_one
from tunesmith.data.prepare.parse_cells import cell_of
from tunesmith.data.synthetic import multiple_choice_rows as multiple_choice
from tunesmith.errors import DataError, TunesmithError
from tunesmith.pipeline.inputs import read_rows
from tunesmith.tasks.multiple_choice import MultipleChoice
from tunesmith.tasks.retrieval import Retrieval

COLUMNS = MultipleChoice.columns
ABC = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(text, name="train.jsonl", **options):
    return rows(COLUMNS, train_file=write(name, text), need_validation=False, **options)


def jsonl(*found):
    return "\n".join(json.dumps(row) for row in found)


def test_choices_below_a_column_keep_their_names():
    choices = {"text": ABC, "label": ["1", "2", "3"]}
    text = jsonl(*({"text": "q", "choices": choices, "label": str(n)} for n in (1, 3)))
    found = read(text, choices="choices.text").splits["train"]
    assert found["choices"][0] == ABC and found["label"][:] == [0, 2]
    listed = [{"text": color, "right": False} for color in ABC]
    text = jsonl({"text": "q", "choices": listed, "label": "b"})
    found = read(text, choices="choices.text").splits["train"]
    assert found["choices"][0] == ABC and found["label"][:] == [1]


@pytest.mark.parametrize(
    ("cell", "names", "wanted"),
    [
        (1, None, 1),
        (1.0, None, 1),
        ("1", None, 1),
        ("1.0", None, 1),
        ("b", None, 1),
        (" C ", None, 2),
        ("green", None, 1),
        ("2", ["1", "2", "3"], 1),  # ARC has letters in some rows and numbers from 1 in others
        ("B", ["A", "B", "C"], 1),
        (None, None, None),
        ("", ["A", "B", "C"], None),
        (-1, None, None),
        ("-1.0", None, None),
    ],
)
def test_an_answer_is_an_index_a_letter_a_name_or_a_text(cell, names, wanted):
    assert right_one(cell, ABC, names) == wanted


@pytest.mark.parametrize(
    ("cell", "choices", "message"),
    [
        (
            *(3, ABC),
            "'3' is none of 3 choices: index from 0, letter, text; data.label_from=1 counts from 1",
        ),
        (4, ABC, "'4' is none of 3 choices: index from 0, letter, text"),
        ("D", ABC, "'D' is none of 3 choices: index from 0, letter, text"),
        (True, ABC, "'True' is none of 3 choices: index from 0, letter, text"),
        ("2", ["1", "2", "3"], "'2' may be choice 1 and 2 (from 0), by number, letter or text"),
        ("red", ["red", "red"], "'red' may be choice 0 and 1 (from 0), by number, letter or text"),
    ],
)
def test_an_answer_that_is_none_or_two_is_refused(cell, choices, message):
    with pytest.raises(ValueError) as caught:
        right_one(cell, choices, None)
    assert str(caught.value) == message


def test_a_number_is_an_index_whatever_the_choices_say():
    assert right_one(2, ["1", "2", "3"], None) == 2


def test_fuzzed_answers_are_found_again():
    dice = random.Random(0)
    for _ in range(300):
        choices = dice.sample([f"word {i}" for i in range(50)], dice.randint(2, 9))
        right = dice.randrange(len(choices))
        letter = "ABCDEFGHI"[right]
        for cell in (right, str(right), letter, letter.lower(), choices[right]):
            assert right_one(cell, choices, None) == right


def test_several_columns_make_one_list_whose_end_may_be_empty():
    raw = {"a": "x", "b": None, "c": "y", "d": "", "e": None}
    assert cell_of(raw, ["a", "b", "c", "d", "e"]) == ["x", None, "y"]
    assert cell_of(raw, "a") == "x"


def test_rows_of_a_csv_may_have_different_numbers_of_choices():
    text = "text,a,b,c,label\nsky,red,blue,,B\ngrass,red,blue,green,green\n"
    found = read(text, "train.csv", choices=["a", "b", "c"]).splits["train"]
    assert found["choices"][:] == [["red", "blue"], ["red", "blue", "green"]]
    assert found["label"][:] == [1, 2]


def test_a_list_a_cut_text_and_the_hubs_mapping_are_choices_too():
    wanted = [ABC, ABC]
    found = read(jsonl(*[{"text": t, "choices": ABC, "label": 2} for t in ("sky", "sea")]))
    assert found.splits["train"]["choices"][:] == wanted
    cut = read("text,choices,label\nsky,red|green|blue,2\n", "c.csv", label_separator="|")
    assert cut.splits["train"]["choices"][:] == wanted[:1]
    named = {"text": ABC, "label": ["1", "2", "3"]}
    told = read(jsonl({"text": "sky", "choices": named, "label": "3"}), "arc.jsonl")
    assert told.splits["train"]["choices"][:] == wanted[:1]
    assert told.splits["train"]["label"][:] == [2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "a", "choices": ABC, "label": 7},
            "error[DATA-CELL] train.jsonl:1: label '7' is none of 3 choices: index from 0, "
            "letter, text",
        ),
        (
            {"text": "a", "choices": ["one"], "label": 0},
            "error[DATA-CELL] train.jsonl:1: choices has 1 of at least 2 choices; "
            "data.label_separator cuts a text",
        ),
        (
            {"text": "a", "choices": ABC, "label": -1},
            "error[DATA-LABEL] train.jsonl: 1 row without label (first: line 1); "
            "drop with data.on_missing_label=drop",
        ),
        (
            {"text": "a", "label": 0},
            "error[DATA-COL] train.jsonl: no column 'choices'; columns: text, label; "
            "data.choices=COLUMN names it",
        ),
    ],
)
def test_what_is_no_question_is_one_line(row, message):
    with pytest.raises(DataError) as caught:
        read(jsonl(row))
    assert str(caught.value) == message


def test_each_missing_column_of_the_choices_is_named():
    with pytest.raises(DataError, match="no column 'c'; columns: text, a, b, label"):
        read("text,a,b,label\nsky,red,blue,0\n", "train.csv", choices=["a", "b", "c"])


def swag(rows_, folder, hidden=()):
    """Write rows as the hub has SWAG: the same columns and types; a hidden label is -1."""
    types = ["video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source"]
    columns = [*types, *(f"ending{i}" for i in range(4))]
    features = Features(
        {name: Value("string") for name in columns}
        | {"label": ClassLabel(names=["0", "1", "2", "3"])}
    )
    for split, part in rows_.items():
        made = [
            dict.fromkeys(types, "") | row | ({"label": -1} if split in hidden else {})
            for row in part
        ]
        place = folder / "regular" / f"{split}-00000-of-00001.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(made, features=features).to_parquet(str(place))
    files = "".join(f"  - split: {s}\n    path: regular/{s}-*\n" for s in rows_)
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: regular\n  data_files:\n{files}---\n"
    )
    return folder


def test_swag_is_read_as_the_hub_has_it(tmp_path):
    made = {split: part[:60] for split, part in multiple_choice.rows().items()}
    swag(made, tmp_path / "hub", hidden=["test"])
    own = ["data.splits.validation=validation", "data.splits.test=test"]
    usual, theirs = (
        found(tmp_path, "task=multiple_choice", "data=swag", *more) for more in ([], own)
    )
    first, *_ = dev = made["validation"]
    assert usual.splits["test"]["choices"][0] == [first[f"ending{i}"] for i in range(4)]
    assert usual.splits["test"]["label"][:] == [row["label"] for row in dev]
    assert usual.splits["test"]["text_pair"][0] == first["sent2"]
    assert len(usual.splits["train"]) + len(usual.splits["validation"]) == 60
    assert not usual.hidden_labels
    assert theirs.hidden_labels == {"test"}
    assert len(theirs.splits["test"]) == 60
    assert "label" not in theirs.splits["test"].column_names


def found(folder, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        more = [f"data.path={folder}/hub", f"paths.cache={folder}/cache"]
        return read_rows(resolved(compose("train", [*overrides, *more])))


def test_negatives_are_of_the_train_split_and_others_may_lack_them():
    train = write("train.csv", "text,text_pair,n1,n2\nwho,he,she,\nwhat,it,this,that\n")
    other = write("dev.csv", "text,text_pair\nwhere,here\n")
    named = {"text_pair": "text_pair", "negatives": ["n1", "n2"]}
    read = rows(Retrieval.columns, train_file=train, validation_file=other, **named)
    assert read.splits["train"]["negatives"][:] == [["she"], ["this", "that"]]
    assert "negatives" not in read.splits["validation"].column_names
    assert not read.hidden_labels and not read.notes
    copy = write("copy.csv", "text,text_pair\nwho,he\n")
    [note] = rows(Retrieval.columns, train_file=train, validation_file=copy, **named).notes
    assert note.startswith("1 of 1 validation texts are also in train, first: line 2")
    odd = write("odd.csv", "text,text_pair,n1,n2\nwho,he,,it\nwhat,it,a\0b,\n")
    empty, nul = rows(Retrieval.columns, train_file=odd, validation_file=other, **named).notes
    assert empty.startswith("odd.csv: 1 row with empty text (first: line 2)")
    assert "NUL" in nul and "line 3" in nul
    with pytest.raises(TunesmithError, match=r"dev\.csv: no column 'n1'"):
        rows(Retrieval.columns, train_file=other, validation_file=train, **named)
