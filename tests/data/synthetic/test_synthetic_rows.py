"""The made sets are the same rows to the bit: recipes and figures were measured on them."""

import hashlib
import importlib
import json

import pytest

from tunesmith.data import synthetic

SHA256 = {
    "entities": "969063531428dc3e",
    "image_text": "272aef6d23696e9a",
    "multilingual": "235e4bf462b63221",
    "multiple_choice": "81b4f89c1eeab904",
    "qa": "77d1b929f7bb693e",
    "retrieval": "7699a9468ff7a313",
    "similarity": "48ef7c932e0364d8",
    "summaries": "424342ef26233cef",
    "topics": "337a6672dab116e9",
}


def test_every_set_is_held_to_its_rows() -> None:
    assert synthetic.names() == list(SHA256)


@pytest.mark.parametrize("name", SHA256)
def test_the_rows_are_the_same_to_the_bit(name: str) -> None:
    rows = importlib.import_module(f"tunesmith.data.synthetic.{name}_rows").rows()
    found = hashlib.sha256(json.dumps(rows, default=repr).encode()).hexdigest()
    assert found[:16] == SHA256[name]
