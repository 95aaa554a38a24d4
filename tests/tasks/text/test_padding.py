"""Padding is the tokenizer's own, in less time."""

import pytest
import torch

from support.tiny_models import TOKENIZERS, sentences
from tunesmith.tasks.text.padding import pad, pad_several


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_batch_is_padded_as_the_tokenizer_pads_it(kind):
    tokenizer = TOKENIZERS[kind]()
    features = [dict(tokenizer(text)) for text in sentences(5)]
    expected = tokenizer.pad(features, return_tensors="pt", padding_side="right")
    unmasked = [{k: v for k, v in one.items() if k != "attention_mask"} for one in features]
    for rows in (features, unmasked):  # also of rows that say nothing of a mask
        batch = pad(tokenizer, [{**one, "labels": 1} for one in rows])
        assert batch.keys() == expected.keys()
        for name, table in batch.items():
            assert table.dtype == torch.int64 and torch.equal(table, expected[name])


def test_rows_of_fewer_texts_get_empty_ones():
    tokenizer = TOKENIZERS["bert"]()
    rows = [dict(tokenizer(sentences(count, seed=count))) for count in (3, 1)]
    batch = pad_several(tokenizer, rows)
    longest = max(len(ids) for row in rows for ids in row["input_ids"])
    assert batch["input_ids"].shape == (2, 3, longest)
    assert batch["attention_mask"].sum(-1).tolist() == [
        [len(ids) for ids in rows[0]["input_ids"]],
        [len(rows[1]["input_ids"][0]), 0, 0],
    ]
    assert (batch["input_ids"][1, 1:] == tokenizer.pad_token_id).all()
