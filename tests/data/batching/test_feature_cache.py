"""Rows encoded once, by one process or several: the same features, in the order of the rows."""

import os

import numpy as np
import pytest
from datasets import Dataset

from tunesmith.data.batching import feature_cache
from tunesmith.data.batching.feature_cache import encode
from tunesmith.errors import DataError, MachineError

ROWS = Dataset.from_dict({"text": ["x" * (i % 7) for i in range(1_000)]})


def windows(rows):
    """Make one feature or two of a row; only some have labels, and the last ones a number."""
    return [
        [
            {"input_ids": [len(row["text"])] * length, "length": length, "full_length": length + 1}
            for length in range(1, 2 + len(row["text"]) % 2)
        ]
        for row in rows
    ]


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch):
    monkeypatch.setattr(feature_cache, "ENOUGH", 100)
    monkeypatch.setattr(feature_cache, "AT_ONCE", 7)


def test_three_processes_encode_what_one_does(tmp_path):
    one = encode(ROWS, windows, "one", tmp_path, 1)
    three = encode(ROWS, windows, "three", tmp_path, 3)
    np.testing.assert_equal(list(three.features), list(one.features))
    types = [
        Dataset.from_file(f"{tmp_path}/encoded/{key}.arrow").features for key in ("three", "one")
    ]
    assert types[0] == types[1]
    assert three.lengths.tolist() == one.lengths.tolist()
    assert three.full_lengths.tolist() == one.full_lengths.tolist()
    rows = three.features["row"]
    assert list(rows) == sorted(rows) and set(rows) == set(range(1_000))
    assert {file.name for file in (tmp_path / "encoded").glob("*.arrow*")} == {
        "one.arrow",
        "three.arrow",
    }


def test_of_long_texts_few_are_encoded_together(tmp_path, monkeypatch):
    rows = Dataset.from_dict({"text": ["x" * (i % 60) for i in range(200)]})
    sizes = []

    def measured(batch):
        sizes.append(sum(len(row["text"]) for row in batch))
        return windows(batch)

    many = encode(rows, windows, "many", tmp_path, 1)
    monkeypatch.setattr(feature_cache, "CHARACTERS", 50)
    few = encode(rows, measured, "few", tmp_path, 1)
    assert max(sizes) < 50 + 60
    np.testing.assert_equal(list(few.features), list(many.features))


def test_a_few_rows_start_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "ENOUGH", 501)
    monkeypatch.setattr(feature_cache, "_in_processes", None)
    assert len(encode(ROWS, windows, "few", tmp_path, 8).features) > 1_000


def test_the_first_mistake_is_raised_and_nothing_is_left(tmp_path):
    def fails(rows):
        for row in rows:
            if row["text"] == "xxx":
                raise DataError("DATA-CELL", "a.csv:5", "cannot be encoded")
        return windows(rows)

    with pytest.raises(DataError, match=r"a\.csv:5: cannot be encoded"):
        encode(ROWS, fails, "bad", tmp_path, 2)
    assert list((tmp_path / "encoded").glob("*.arrow*")) == []


def test_a_process_that_dies_is_told_of(tmp_path):
    parent = os.getpid()

    def dies(rows):
        if os.getpid() != parent:
            os.kill(os.getpid(), 9)
        return windows(rows)

    with pytest.raises(MachineError, match=r"exit code -9; trainer.num_threads=1"):
        encode(ROWS, dies, "dead", tmp_path, 2)
