"""Rows that are scored where they lie: equal to plain ones, and only what is asked for is read."""

import pytest
from datasets import Dataset

from tunesmith.data import lazy_rows
from tunesmith.data.lazy_rows import LazyRows, values_of

ROWS = [
    {"text": f"text {i}", "label": ["a", "b"][i % 2], "numeric": [1.5, None], "n": i}
    for i in range(7)
]


def test_lazy_rows_are_equal_to_plain_ones() -> None:
    data = Dataset.from_list(ROWS)
    stored = LazyRows(data)
    assert len(stored) == 7
    assert [dict(row) for row in stored] == ROWS == data.to_list()
    assert [dict(row) for row in stored[2:4]] == ROWS[2:4]
    assert dict(stored[-1]) == ROWS[-1]
    picked = LazyRows(data.select([5, 1]))
    assert [row["n"] for row in picked] == [5, 1]
    assert "image" not in picked[0] and picked[0].get("image") is None


def test_a_column_that_nobody_asks_for_is_not_read() -> None:
    stored = LazyRows(Dataset.from_list(ROWS))
    assert [row["label"] for row in stored].count("a") == 4
    assert list(stored._columns) == ["label"]


def test_values_of_a_column_are_read_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_list(ROWS).select([6, 0, 3, 5])
    expected = {name: list(data[name]) for name in ROWS[0]}
    monkeypatch.setattr(Dataset, "__getitem__", None)  # reads one row
    monkeypatch.setattr(lazy_rows, "AT_ONCE", 3)
    assert {name: list(values_of(data, name)) for name in ROWS[0]} == expected
    assert list(values_of({"label": [1, None]}, "label")) == [1, None]
