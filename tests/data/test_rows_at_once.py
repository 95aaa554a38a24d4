"""Rows are read some at a time, in little memory, and come out as if each had been read alone."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from support.load_rows import CLASSIFY
from tunesmith.data import row_hashes
from tunesmith.data.batching import feature_cache
from tunesmith.data.cache import cached_dataset, schema_of
from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.prepare import normalize
from tunesmith.data.prepare.normalize import normalized_rows
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.prepare.split import fractions
from tunesmith.data.row_hashes import digest, digests, hash_of_rows
from tunesmith.data.sources import csv
from tunesmith.errors import DataError

TAGGED = {
    "words": Column(ColumnType.WORDS),
    "tags": Column(ColumnType.TAGS, target=True),
    "id": Column(ColumnType.TEXT),
}
CHOSEN = {
    "choices": Column(ColumnType.CHOICES),
    "label": Column(ColumnType.CHOICE, target=True),
    "negatives": Column(ColumnType.TEXTS, learning=True),
}


class CountedRow(dict):
    """A row that knows how many of its kind live at once."""

    alive = most = 0

    def __init__(self, *cells):
        super().__init__(*cells)
        CountedRow.alive += 1
        CountedRow.most = max(CountedRow.most, CountedRow.alive)

    def __del__(self):
        CountedRow.alive -= 1


@pytest.fixture(autouse=True)
def _none_alive():
    CountedRow.alive = CountedRow.most = 0


def some_rows(columns, count=50):
    draw = random.Random(0)
    words = ["a", "Ein", " ", "naïve", "b\0", "\u200b", "x" * 9]
    for number in range(1, count + 1):
        texts = [draw.choice(words) for _ in range(draw.randint(2, 4))]
        cells = {"text": " ".join(texts), "text_pair": texts[0], "label": draw.choice("pq ")}
        cells |= {"words": texts, "tags": ["O"] * len(texts), "id": number}
        if "choices" in columns:
            cells |= {"choices": texts, "label": draw.choice([0, 1, None]), "negatives": texts[1:]}
        yield number, CountedRow(cells)


def source_of(rows):
    return RowSource("a.csv", "1", [], rows)


@pytest.mark.parametrize("columns", [CLASSIFY, TAGGED, CHOSEN], ids=["classes", "tags", "choices"])
def test_rows_are_the_same_however_many_are_read_at_once(monkeypatch, tmp_path, columns):
    chosen = {name: name for name in columns}
    stored = []
    for many in (1, 7, 1000):
        monkeypatch.setattr(normalize, "MANY", many)
        rows = normalized_rows(source_of(lambda: some_rows(columns)), columns, chosen, None)
        dataset = cached_dataset(rows, schema_of(columns, chosen), f"{many:040}", tmp_path)
        stored.append(dataset[:])
    assert stored[0] == stored[1] == stored[2]
    assert stored[0]["row"] == list(range(50)) and stored[0]["_line"] == list(range(1, 51))
    first = next(some_rows(columns))[1]
    texts = [first["text"], first["text_pair"]] if columns is CLASSIFY else list(first["words"])
    texts += ["1"] if columns is TAGGED else []
    assert stored[0]["_text"][0] == digest("\0".join(texts))
    assert Counter(stored[0]["_flags"])[0] < 50  # something odd is among them


def test_the_first_broken_row_is_named_and_of_it_the_first_cell():
    def rows():
        yield from some_rows(CLASSIFY, 7)
        yield 8, {"text": "fine", "text_pair": "x", "label": ["a"]}
        yield 9, {"text": {}, "text_pair": "x", "label": "a"}

    chosen = {name: name for name in CLASSIFY}
    with pytest.raises(DataError, match=r"a\.csv:8: label is a list, not one label"):
        list(normalized_rows(source_of(rows), CLASSIFY, chosen, None))


def test_few_rows_are_in_memory_however_many_are_read(tmp_path):
    chosen = {name: name for name in CLASSIFY}
    source = source_of(lambda: some_rows(CLASSIFY, 5 * normalize.MANY))
    rows = normalized_rows(source, CLASSIFY, chosen, None)
    stored = cached_dataset(rows, schema_of(CLASSIFY, chosen), "0" * 40, tmp_path)
    assert len(stored) == 5 * normalize.MANY
    assert CountedRow.most <= 2 * normalize.MANY


def test_few_features_are_in_memory_however_many_are_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "WRITTEN", 100)
    monkeypatch.setattr(feature_cache, "AT_ONCE", 10)

    def encode(rows):
        features = {"input_ids": [1, 2], "length": 2, "full_length": 2}
        return [[CountedRow(features)] for _ in rows]

    rows = Dataset.from_dict({"text": ["a"] * 1_000})
    encoded = feature_cache.encode(rows, encode, "few", tmp_path, 1)
    assert list(encoded.features["row"]) == list(range(1_000))
    assert CountedRow.most <= 2 * (100 + 10)


def test_long_rows_are_read_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(normalize, "SIZE", 100)
    cells = ["x" * 40, b"x" * 40, {"bytes": b"x" * 40, "path": None}]
    for cell in cells:
        rows = [(i, {"photo": cell, "age": 3}) for i in range(7)]
        assert [len(part) for part in normalize.batches(rows)] == [3, 3, 1]


def test_a_record_of_many_lines_is_refused_before_more_of_it_is_read(monkeypatch):
    monkeypatch.setattr(csv, "LONGEST_ROW", 1_000)
    read = []

    def lines():
        yield "text,label\n"
        yield '"begins\n'
        for i in range(10_000):
            read.append(i)
            yield f'","{i}\n'

    with pytest.raises(DataError, match=r"a\.csv:2: .*quote"):
        list(csv.csv_rows(Path("a.csv"), lines(), ",", True, None))
    assert len(read) < 300


def test_of_labels_that_are_all_different_few_are_held():
    hash_of_rows(digests(map(str, range(5_000))), map(str, range(5_000)))
    assert row_hashes._digest_of_json.cache_info().currsize <= 1_024


def test_hashes_are_those_of_each_text():
    def blake(data):
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")

    texts = ["", "a", "é\0", "\ud800"]
    expected = [blake(text.encode("utf-8", "surrogatepass")) for text in texts]
    assert digests(texts).tolist() == [digest(text) for text in texts] == expected
    drawn = [(blake(b"3/split/" + n.to_bytes(8, "little")) >> 11) / 2**53 for n in expected]
    assert fractions(np.array(expected, dtype=np.uint64), 3, "split").tolist() == drawn
    labels = ["1", 1, True, 1.0, ["1"]]
    for label in labels:
        pair = digests(["x"]).astype("<u8").tobytes() + digests([json.dumps(label)]).tobytes()
        assert hash_of_rows(digests(["x"]), [label]) == hashlib.sha256(pair).hexdigest()
    together = hash_of_rows(digests("abcde"), labels)
    assert together == hash_of_rows(digests("edcba"), labels[::-1])
    assert together != hash_of_rows(digests("abcde"), ["1", *labels[:-1]])
