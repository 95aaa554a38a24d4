import pickle

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from datasets.table import concat_tables

from tunesmith.data.batching.feature_table import FeatureTable

ROWS = [
    {"input_ids": [i, i + 1, i + 2][: 1 + i % 3], "labels": i % 2, "weight": i / 4, "row": i}
    | {"texts": [[i], []], "pieces": [None, i] if i % 2 else [], "name": f"{i}", "empty": []}
    for i in range(10)
]


def table(*parts):
    return FeatureTable(Dataset(concat_tables([Dataset.from_list(p).data for p in parts])))


def plain(features):
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in features.items()}


@pytest.mark.parametrize("parts", [(ROWS,), (ROWS[:1], ROWS[1:4], ROWS[4:])])
def test_features_are_those_that_datasets_gives(parts):
    features = table(*parts)
    assert len(features) == len(ROWS)
    order = [9, 0, 3, 4, 4, 1]
    assert [plain(one) for one in features.__getitems__(order)] == [ROWS[i] for i in order]
    assert plain(features[7]) == ROWS[7]
    assert [plain(one) for one in features] == ROWS
    assert list(features["labels"]) == [row["labels"] for row in ROWS]
    for index in (10, -1):
        with pytest.raises(IndexError):
            features[index]


def test_numbers_of_a_list_are_views_of_the_file_and_cannot_be_written():
    [one] = table(ROWS).__getitems__([2])
    assert isinstance(one["input_ids"], np.ndarray)
    assert one["input_ids"].base is not None
    with pytest.raises(ValueError, match="read-only"):
        one["input_ids"][0] = 1


def test_a_slice_of_a_table_reads_its_own_rows():
    whole = Dataset.from_list(ROWS)
    cut = Dataset(whole.data.slice(3, 4))
    assert [plain(one) for one in FeatureTable(cut)] == ROWS[3:7]


def test_no_features_are_no_rows():
    empty = Dataset(pa.table({"input_ids": pa.array([], pa.list_(pa.int32()))}))
    assert len(FeatureTable(empty)) == 0


def test_a_process_that_is_not_forked_gets_the_name_of_the_file_and_no_copy(tmp_path):
    Dataset.from_list(ROWS * 100).save_to_disk(tmp_path)
    [file] = tmp_path.glob("*.arrow")
    features = FeatureTable(Dataset.from_file(str(file)))
    assert plain(features[3]) == ROWS[3]
    sent = pickle.dumps(features)
    assert file.name.encode() in sent and len(sent) < file.stat().st_size / 4
    assert plain(pickle.loads(sent)[13]) == ROWS[3]  # noqa: S301 - our own
