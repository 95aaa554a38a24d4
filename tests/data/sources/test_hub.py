"""Data sets of the hub by their names: read from small folders of their layout, and trained on."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from omegaconf import OmegaConf

from support.commands import only_run
from support.runs import composed
from support.tiny_models import sentences, tiny_bert
from tunesmith import config
from tunesmith.config import CONF, resolved
from tunesmith.pipeline.inputs import read_rows
from tunesmith.pipeline.train import train as run

ROWS = {"train": 80, "validation": 12, "test": 9, "unsupervised": 5}  # by how a split's name begins
THREE = ("train", "validation", "test")
MNLI = ("train", *(f"{s}_{kind}" for s in THREE[1:] for kind in ("matched", "mismatched")))


class Hub(NamedTuple):
    """What a data set is on the hub."""

    texts: tuple[str, ...]  # its columns of texts
    classes: tuple[str, ...] = ()  # of its column `label`, in order; it has none without
    config: str = "default"
    splits: tuple[str, ...] = THREE
    hidden: str = ""  # how the names of splits begin whose labels are all -1
    named: bool = True  # False: the source has the numbers of the classes, and no names
    index: bool = False  # it has a column `idx`
    task: str = "classification"


def glue(config: str, *texts: str, classes: str, splits: tuple[str, ...] = THREE) -> Hub:
    return Hub(texts, tuple(classes.split()), config, splits, hidden="test", index=True)


SETS = {
    "ag_news": Hub(
        ("text",), ("World", "Sports", "Business", "Sci/Tech"), splits=("train", "test")
    ),
    "chnsenticorp": Hub(("text",), ("negative", "positive"), named=False),
    "cola": glue("cola", "sentence", classes="unacceptable acceptable"),
    "imdb": Hub(
        ("text",), ("neg", "pos"), "plain_text", ("train", "test", "unsupervised"), "unsupervised"
    ),
    "mnli": glue(
        "mnli", "premise", "hypothesis", classes="entailment neutral contradiction", splits=MNLI
    ),
    "mrpc": glue("mrpc", "sentence1", "sentence2", classes="not_equivalent equivalent"),
    "qnli": glue("qnli", "question", "sentence", classes="entailment not_entailment"),
    "qqp": glue("qqp", "question1", "question2", classes="not_duplicate duplicate"),
    "rte": glue("rte", "sentence1", "sentence2", classes="entailment not_entailment"),
    "sms_spam": Hub(("sms",), ("ham", "spam"), "plain_text", ("train",)),
    "sst2": glue("sst2", "sentence", classes="negative positive"),
    "wikitext2": Hub(("text",), config="wikitext-2-raw-v1", task="mlm"),
    "wnli": glue("wnli", "sentence1", "sentence2", classes="not_entailment entailment"),
}


def truths(hub: Hub, split: str) -> list[str]:
    """Return the labels that a split of a made folder has."""
    return [hub.classes[i % len(hub.classes)] for i in range(ROWS[split.partition("_")[0]])]


def texts(column: str, split: str) -> list[str]:
    """Return a column of different texts; those of WikiText, without labels, are empty at times."""
    count = ROWS[split.partition("_")[0]]
    return [f"{column} {split} {i} {text}" for i, text in enumerate(sentences(count))]


def features(hub: Hub) -> Features:
    columns: dict[str, Any] = {column: Value("string") for column in hub.texts}
    if hub.classes:
        named = ClassLabel(names=list(hub.classes))
        columns["label"] = named if hub.named else Value("int64")
    return Features(columns | ({"idx": Value("int32")} if hub.index else {}))


def ours_of(hub: Hub, row: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a row as we read it: our names of columns, the names of labels."""
    named = {ours: row[c] for ours, c in zip(("text", "text_pair"), hub.texts, strict=False)}
    labels = {"label": hub.classes[row["label"]]} if hub.classes else {}
    return {"row": number, **named, **labels}


def rows(hub: Hub, split: str) -> Dataset:
    """Make the rows of a split, with the columns and types of the hub."""
    made: dict[str, list[Any]] = {column: texts(column, split) for column in hub.texts}
    if hub.classes:
        hidden = bool(hub.hidden) and split.startswith(hub.hidden)
        made["label"] = [-1 if hidden else hub.classes.index(x) for x in truths(hub, split)]
    else:
        made["text"] = [text if i % 2 else "" for i, text in enumerate(made["text"])]
    if hub.index:
        made["idx"] = list(range(len(made["label"])))
    return Dataset.from_dict(made, features=features(hub))


def folder_of(name: str, folder: Path) -> Path:
    """Write a small data set into `folder` as the hub lays it out, GLUE beside another config."""
    hub = SETS[name]
    place = "data" if hub.config == "default" else hub.config
    for split in hub.splits:
        file = folder / place / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows(hub, split).to_parquet(str(file))
    configs = {hub.config: hub.splits}
    if hub.config not in ("default", "plain_text"):
        configs["ax"] = ("test",)
        other = Dataset.from_dict({"premise": ["of another config"]})
        other.to_parquet(str(folder / "ax" / "test-00000-of-00001.parquet"))
    if hub.config != "default":
        front = json.dumps({"configs": [described(*each) for each in configs.items()]})
        (folder / "README.md").write_text(f"---\n{front}\n---\n")  # JSON is YAML
    return folder


def described(name: str, splits: tuple[str, ...]) -> dict[str, Any]:
    files = [{"split": split, "path": f"{name}/{split}-*"} for split in splits]
    return {"config_name": name, "data_files": files}


def arguments(name: str, folder: Path) -> list[str]:
    task, path = SETS[name].task, folder_of(name, folder / "hub")
    return [f"task={task}", f"data={name}", f"data.path={path}", f"paths.runs={folder}/runs"]


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_read_by_its_name(name, tmp_path):
    hub, cfg = SETS[name], composed(*arguments(name, tmp_path))
    found = read_rows(resolved(cfg))
    assert sorted(found.splits) == ["test", "train", "validation"]
    assert found.hidden_labels == set()
    assert found.labels == (list(hub.classes) or None)
    read = {ours: cfg.data.splits[ours] for ours in THREE if cfg.data.splits[ours] in hub.splits}
    cut = [row for ours in THREE if ours not in read for row in found.splits[ours]]
    assert all(len(data) >= 2 for data in found.splits.values())
    for ours, theirs in read.items():
        source = rows(hub, theirs).to_list()
        wanted = [ours_of(hub, row, i) for i, row in enumerate(source) if row[hub.texts[0]]]
        given = found.splits[ours].to_list() + (cut if ours == "train" else [])
        assert sorted(given, key=lambda row: row["row"]) == wanted


@pytest.mark.parametrize(
    ("name", "validation", "test"),
    [("cola", "validation", "test"), ("mnli", "validation_matched", "test_mismatched")],
)
def test_splits_that_hide_their_labels_are_read_without_them(name, validation, test, tmp_path):
    more = [f"data.splits.validation={validation}", f"data.splits.test={test}"]
    found = read_rows(resolved(composed(*arguments(name, tmp_path), *more)))
    assert found.hidden_labels == {"test"}
    assert {ours: len(data) for ours, data in found.splits.items()} == {x: ROWS[x] for x in THREE}
    assert "label" not in found.splits["test"].column_names
    assert found.splits["validation"]["label"][:] == truths(SETS[name], validation)


def test_the_other_genres_of_mnli_are_one_override_away(tmp_path):
    more = "data.splits.test=validation_mismatched"
    found = read_rows(resolved(composed(*arguments("mnli", tmp_path), more)))
    assert found.splits["test"]["text"][:] == texts("premise", "validation_mismatched")


HIDDEN = ["data.splits.validation=validation", "data.splits.test=test"]


@pytest.mark.parametrize(
    ("name", "more", "monitor"),
    [
        ("mnli", [], "accuracy"),  # pairs, three classes
        ("mrpc", HIDDEN, "f1"),  # a test split without labels
        ("sms_spam", [], "mcc"),  # one split, of which two are cut
    ],
)
def test_a_set_is_trained_on(name, more, monitor, tmp_path):
    hides, chosen = more == HIDDEN, f"callbacks.checkpoint.monitor=val/{monitor}"
    more = [*more, chosen, "data.max_length=24", "data.batch_size=8", "trainer.max_steps=2"]
    more += ["model=base", f"model.path={tiny_bert(tmp_path / 'model')}", "logger=none"]
    more += ["trainer.precision=32", "trainer.num_threads=1"]
    best = run(composed(*arguments(name, tmp_path), *more))
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())
    assert metrics["monitor"] == f"val/{monitor}"
    assert best == metrics["scores"][f"val/{monitor}"] == metrics["best"]
    assert (f"test/{monitor}" in metrics["scores"]) is not hides
    assert ("val/f1" in metrics["scores"]) == (name != "mnli")  # of two classes alone


# What the files say of themselves


def on_the_hub() -> list[str]:
    """Return the data sets that come from the hub, whoever tests how they are read."""
    paths = {f.stem: OmegaConf.load(f).get("path") for f in (CONF / "data").glob("*.yaml")}
    return sorted(name for name, path in paths.items() if path and ":" not in path)


@pytest.mark.parametrize("name", on_the_hub())
def test_a_file_states_its_command_and_a_published_score_with_its_source(name):
    lines = (CONF / "data" / f"{name}.yaml").read_text().splitlines()
    said = [line.lstrip("# ") for line in lines if line.startswith("#")]
    [command] = [line for line in said if line.startswith("python train.py ")]
    words = shlex.split(command)[2:]
    assert f"data={name}" in words
    assert config.check(composed(*words)) == []
    published = " ".join(said).partition("Published")[2]
    assert re.search(r"\((.* \d{4}|transformers|same paper|model card)", published)


def test_the_readme_lists_the_sets_that_have_a_name():
    section = (CONF.parent / "README.md").read_text().partition("### Data by name")[2]
    rows = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == sorted([*on_the_hub(), "bbc_news"])
