"""What tasks on texts have in common: rows are encoded together as each by itself."""

from typing import Any

import pytest

from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.classification import Classification
from tunesmith.tasks.losses import CrossEntropy


class _Marks(Classification):
    def encode_text(self, row: Any) -> Any:
        return [{"input_ids": [1], "length": 1, "full_length": 1, "mark": len(row["text"])}]


class _MarksAgain(Classification):
    def encode(self, row: Any) -> Any:
        return _Marks.encode_text(self, row)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [_Marks, _MarksAgain])
def test_a_row_that_a_task_encodes_itself_is_so_among_others(kind: type[TextTask]) -> None:
    task = kind(
        model=None, tokenizer=None, labels=["a", "b"], max_length=8, truncation="right",
        loss=CrossEntropy(),
    )  # type: ignore[arg-type]  # fmt: skip
    rows = [{"text": "one"}, {"text": "three"}]
    assert [[one["mark"] for one in several] for several in task.encode_batch(rows)] == [[3], [5]]
