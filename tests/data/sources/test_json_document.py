"""SQuAD's own files and the hub's flat form of them give the same rows; what is wrong is said."""

import json
from pathlib import Path

import pytest
from datasets import Dataset, Features, List, Value
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from support.bad_inputs import named, row
from support.load_rows import rows, write
from tunesmith.config import CONF
from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.sources.files import columns_of, stream
from tunesmith.errors import DataError

QA = {
    "question": Column(ColumnType.TEXT),
    "context": Column(ColumnType.TEXT),
    "answers": Column(ColumnType.SPANS, target=True),
}
HUB = Features(
    {
        "id": Value("string"),
        "title": Value("string"),
        "context": Value("string"),
        "question": Value("string"),
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
    }
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def question(number: int, *answers: tuple[str, int], **more) -> dict:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": f"q{number}", "question": f"What is {number}?", "answers": found, **more}


def article(*paragraphs: tuple[str, list[dict]]) -> dict:
    return {
        "title": "Ducks",
        "paragraphs": [{"context": context, "qas": qas} for context, qas in paragraphs],
    }


PLAUSIBLE = {"is_impossible": True, "plausible_answers": [{"text": "pond", "answer_start": 9}]}
ARTICLES = [
    article(
        ("A duck on pond.", [question(1, ("duck", 2), ("A duck", 0)), question(2, **PLAUSIBLE)]),
        ("Two.", [question(3, ("Two", 0), is_impossible=False)]),
    ),
    article(("Ünïcode 🦆 duck", [question(4, ("duck", 10))])),
]
FLAT = [
    {
        "id": q["id"],
        "title": a["title"],
        "context": p["context"],
        "question": q["question"],
        "answers": {
            "text": [x["text"] for x in q["answers"]],
            "answer_start": [x["answer_start"] for x in q["answers"]],
        },
    }
    for a in ARTICLES
    for p in a["paragraphs"]
    for q in p["qas"]
]


def read(**options) -> list[dict]:
    options = {"id": "id", "need_validation": False, **options}
    return rows(QA, **options).splits["train"].to_list()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"version": "v2.0", "data": ARTICLES}),
        json.dumps({"data": ARTICLES, "version": "1.1"}),
        json.dumps({"data": ARTICLES}, indent=2, ensure_ascii=False),
        json.dumps({"meta": {"license": {"name": "x"}}, "data": ARTICLES}),
        json.dumps({"meta": {"license": "x"}, "data": ARTICLES}, indent=2),
        "\ufeff" + json.dumps({"version": "1.1", "len": 3, "data": ARTICLES}),
    ],
)
def test_every_form_of_a_set_gives_the_same_rows(text: str) -> None:
    Dataset.from_list(FLAT, features=HUB).to_parquet("flat.parquet")
    write("flat.jsonl", "\n".join(map(json.dumps, FLAT)))
    nested = read(train_file=write("train.json", text))
    assert [r["answers"] for r in nested] == [
        [{"text": "duck", "start": 2}, {"text": "A duck", "start": 0}],
        [],
        [{"text": "Two", "start": 0}],
        [{"text": "duck", "start": 10}],
    ]
    assert nested == read(train_file="flat.parquet") == read(train_file="flat.jsonl")
    assert columns_of("train.json") == ["id", "question", "answers", "title", "context"]


def test_json_lines_stay_lines() -> None:
    lines = [{"data": ["x"], "text": "a"}, {"data": [{"x": 1}], "text": "b"}]
    path = write("rows.json", "\n".join(map(json.dumps, lines)))
    assert [number for number, _ in stream(path)] == [1, 2]


def test_a_test_set_without_answers_hides_them() -> None:
    asked = [
        {k: v for k, v in q.items() if k != "answers"} for q in ARTICLES[1]["paragraphs"][0]["qas"]
    ]
    test = {"data": [article(("A context", asked))]}
    train = write("train.json", json.dumps({"data": ARTICLES}))
    found = rows(
        QA, train_file=train, test_file=write("test.json", json.dumps(test)), need_validation=False
    )
    assert found.hidden_labels == {"test"}
    assert "answers" not in found.splits["test"].column_names


BROKEN = {
    "no paragraphs": (
        [{"title": "x", "paragraphs": 1}],
        "train.json: article 1: no list 'paragraphs'",
    ),
    "no context": (
        [article(("ok", [])), {"paragraphs": [{"qas": []}]}],
        "train.json: article 2, paragraph 1: no text 'context'",
    ),
    "no question": (
        [article(("ok", [question(1), {"id": "2"}]))],
        "train.json: row 2: no text 'question'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_such_file_is_told_with_its_place(name: str) -> None:
    articles, message = BROKEN[name]
    with pytest.raises(DataError) as caught:
        read(train_file=write("train.json", json.dumps({"data": articles})))
    assert str(caught.value) == f"error[DATA-JSON] {message}; as in SQuAD's files"


@row(15)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"data": [{"title": "x",\n "paragraphs": [}',
            "[DATA-JSON] train.json:2: invalid JSON at",
        ),
        (b'{"data": [{"title": "\xff"}]}', "[DATA-ENC] train.json:1 byte 22: not UTF-8"),
        (b'{"data": []}', "[DATA-EMPTY] train.json: 0 rows"),
        (b'{"data": [{"x": ' + b"[" * 100_000, "[DATA-JSON] train.json:1: JSON too deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(train_file=write("train.json", content))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


MISPLACED = {
    "row 75: elsewhere": ([question(1, ("duck", 3))], "1 row", "row 1: 'duck' at 3"),
    "row 75: not in the context": ([question(1, ("goose", 2))], "1 row", "row 1: 'goose' at 2"),
    "row 75: beyond its end": ([question(1, ("duck", 99))], "1 row", "row 1: 'duck' at 99"),
    "row 75: before its start": ([question(1, ("pond.", -5))], "1 row", "row 1: 'pond.' at -5"),
    "row 75: of nothing": ([question(1, (" ", 1))], "1 row", "row 1: ' ' at 1"),
    "row 75: one of several": (
        [question(1, ("duck", 2)), question(2, ("duck", 2), ("A", 1)), question(3, ("x", 0))],
        "2 rows",
        "row 2: 'A' at 1",
    ),
}


@pytest.mark.parametrize("name", named(MISPLACED))
def test_an_answer_that_is_not_at_its_place_is_refused_or_left_out(name: str) -> None:
    questions, count, first = MISPLACED[name]
    good = question(9, ("pond", 10))
    train = write(
        "train.json", json.dumps({"data": [article(("A duck on pond.", [*questions, good]))]})
    )
    with pytest.raises(DataError) as caught:
        read(train_file=train)
    assert str(caught.value) == (
        f"error[DATA-CELL] train.json: {count} with an answer that is not in the context there "
        f"(first: {first}); drop with data.on_missing_label=drop"
    )
    assert caught.value.exit_code == 3
    left = read(train_file=train, on_missing_label="drop")
    assert [r["id"] for r in left][-1] == "q9"
    assert len(left) == len(questions) + 1 - int(count.split()[0])


@row(75)
@pytest.mark.parametrize("start", [1.5, "2", None, True])
def test_an_offset_that_is_no_whole_number_is_refused(start: object) -> None:
    cell = {"question": "?", "context": "a b", "answers": [{"text": "b", "answer_start": start}]}
    with pytest.raises(DataError) as caught:
        read(train_file=write("train.jsonl", json.dumps(cell)), id=None)
    assert str(caught.value) == (
        "error[DATA-CELL] train.jsonl:1: answers needs a `text` and a whole number "
        "`answer_start` in each answer"
    )


@row(30)
def test_an_empty_context_is_kept_dropped_or_refused() -> None:
    data = {"data": [article(("", [question(1)]), ("Two.", [question(2, ("Two", 0))]))]}
    train = write("train.json", json.dumps(data))
    assert len(read(train_file=train)) == 2
    assert len(read(train_file=train, on_empty_text="drop")) == 1
    with pytest.raises(DataError, match=r"1 row with empty text \(first: row 1\)"):
        read(train_file=train, on_empty_text="error")


@pytest.mark.parametrize(("name", "impossible"), [("squad", False), ("squad_v2", True)])
def test_the_hub_sets_are_read_by_their_names(name: str, impossible: bool) -> None:
    flat = [r for r in FLAT if impossible or r["answers"]["text"]]
    more = [
        {**r, "id": f"{r['id']}-{i}", "context": f"{r['context']} {i}"}
        for i in range(9)
        for r in flat
    ]
    folder = {"squad": "plain_text", "squad_v2": "squad_v2"}[name]
    Path("hub", folder).mkdir(parents=True)
    for split, part in (("train", more), ("validation", flat)):
        data = Dataset.from_list(part, features=HUB)
        data.to_parquet(f"hub/{folder}/{split}-00000-of-00001.parquet")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["task=question_answering", f"data={name}", "data.path=hub"])
    options = {
        k: v
        for k, v in OmegaConf.to_container(cfg.data, resolve=True).items()
        if k in ("path", "id", "splits", "split")
    }
    found = rows(QA, **options | {"split": {"validation": 0.2}})
    assert sorted(found.splits) == ["test", "train", "validation"]
    assert [r["id"] for r in found.splits["test"]] == [r["id"] for r in flat]
    assert len(found.splits["train"]) + len(found.splits["validation"]) == len(more)
    assert OmegaConf.to_container(cfg.data, resolve=True)["path"] == "hub"
    assert cfg.data.max_length == 384
