"""What is read of a text that is too long: an end, both ends, or all of it in windows."""

import json

import numpy as np
import pytest

from support.commands import make_inputs, only_run, train, tunesmith, use_inputs
from support.tiny_models import TOKENIZERS, sentences
from tunesmith.errors import ConfigError
from tunesmith.tasks.capabilities import truncation_modes
from tunesmith.tasks.classification import Classification
from tunesmith.tasks.text.long_text import (
    OF_A_TEXT,
    check_room,
    check_truncation,
    encoded,
    overlap,
    pooled,
    truncation_side,
)
from tunesmith.tasks.token_classification import TokenClassification

LENGTH = 16
LONG = " ".join(sentences(8))
SHORT = sentences(1)[0].split()[0]


def read(text, truncation, kind="bert"):
    tokenizer = TOKENIZERS[kind]()
    tokenizer.truncation_side = truncation_side(truncation)
    [features] = encoded(tokenizer, [{"text": text}], LENGTH, truncation)
    return features


def ids(text, kind="bert"):
    return TOKENIZERS[kind]()(text)["input_ids"]


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@pytest.mark.parametrize("truncation", OF_A_TEXT)
def test_what_fits_is_read_whole(kind, truncation):
    [only] = read(SHORT, truncation, kind)
    assert only["input_ids"] == ids(SHORT, kind)
    assert only["length"] == only["full_length"] == len(ids(SHORT, kind))


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_the_middle_is_left_out(kind):
    [only] = read(LONG, "middle", kind)
    whole = ids(LONG, kind)
    assert only["input_ids"] == [*whole[:4], *whole[-12:]]
    assert (only["length"], only["full_length"]) == (LENGTH, len(whole))
    assert {len(v) for v in only.values() if isinstance(v, list)} == {LENGTH}


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_windows_share_a_third_and_leave_nothing_out(kind):
    tokenizer = TOKENIZERS[kind]()
    windows = read(LONG, "windows", kind)
    bare = [
        [i for i in window["input_ids"] if i not in tokenizer.all_special_ids] for window in windows
    ]
    shared = overlap(None, LENGTH)
    text = bare[0] + [i for window in bare[1:] for i in window[shared:]]
    assert text == [i for i in ids(LONG, kind) if i not in tokenizer.all_special_ids]
    assert len(windows) > 3
    assert all(window["length"] == window["full_length"] <= LENGTH for window in windows)


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_windows_that_would_not_go_on_are_refused(kind):
    tokenizer = TOKENIZERS[kind]()
    with pytest.raises(ConfigError) as caught:
        check_room(tokenizer, 3, "windows")
    assert str(caught.value) == (
        "error[CONF-LENGTH] data.max_length=3: windows of so few tokens, of which 1 are shared, "
        "do not go on; raise it"
    )
    check_room(tokenizer, 3, "middle")
    check_room(tokenizer, 4, "windows")
    [windows] = encoded(tokenizer, [{"text": LONG}], 4, "windows")
    assert len(windows) > 50


def test_logits_of_windows_are_averaged():
    found = pooled([[np.array([1.0, 3.0])], [np.array([0.0, 2.0]), np.array([4.0, 0.0])]])
    assert found.tolist() == [[1.0, 3.0], [2.0, 1.0]]


@pytest.mark.parametrize(
    ("task", "truncation", "has_pairs", "message"),
    [
        (
            TokenClassification,
            "middle",
            False,
            "error[CONF-LENGTH] data.truncation=middle: TokenClassification can only truncate "
            "right or left",
        ),
        (
            Classification,
            "windows",
            True,
            "error[CONF-LENGTH] data.truncation=windows: a pair of texts is truncated right or "
            "left; "
            "or set data.text_pair=null",
        ),
    ],
)
def test_what_cannot_be_cut_so_is_refused(task, truncation, has_pairs, message):
    with pytest.raises(ConfigError) as caught:
        check_truncation(task.__name__, truncation_modes(task), truncation, has_pairs)
    assert str(caught.value) == message
    check_truncation(task.__name__, truncation_modes(task), "left", has_pairs)
    check_truncation("", truncation_modes(Classification), truncation, has_pairs=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose texts say their label in the middle: only windows see it."""
    folder = tmp_path_factory.mktemp("long")
    make_inputs(folder)
    filler = " ".join(sentences(3, seed=9))
    for split, count in (("train", 48), ("validation", 24), ("test", 24)):
        rows = [
            f"{filler} {('awful', 'lovely')[i % 2]} {filler} {split} {i},{('neg', 'pos')[i % 2]}"
            for i in range(count)
        ]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    words = [w for w in use_inputs(folder) if "max_length" not in w]
    words += ["data.max_length=24", "data.truncation=windows", "data.batch_size=16"]
    words += ["optimizer.lr=5e-3", "trainer.max_epochs=6", f"paths.runs={folder}/runs"]
    done = train(words)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, only_run(folder)


def test_predict_reads_all_windows_as_validation_did(run):
    folder, directory = run
    done = tunesmith(
        ["predict", directory, f"{folder}/validation.csv", "--output", f"{folder}/a.jsonl"]
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    right = sum(row["label"] == row["predicted_label"] for row in rows)
    scores = json.loads((directory / "metrics.json").read_text())["scores"]
    assert right / len(rows) == pytest.approx(scores["val/accuracy"])
    assert len(rows) == 24
    assert scores["val/accuracy"] > 0.9  # only some windows of a text say it
