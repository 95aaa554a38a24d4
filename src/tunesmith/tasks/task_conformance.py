"""What every task promises, as tests: subclass `TaskConformance` in a test file of yours."""

import copy
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tunesmith.data.batching.feature_table import FeatureTable
from tunesmith.tasks.base import Answer, Batch, Features, Task
from tunesmith.tasks.capabilities import (
    Augments,
    Capturable,
    HasUndefinedMetrics,
    SplitsRows,
    UsesOtherRows,
    fillers_of,
    head_names,
)
from tunesmith.tasks.text import padding


class TaskConformance:
    """Say how the task is made and which labelled rows it learns; pytest runs the rest.

    `make_task(seed)` returns a new task in float32 whose head is drawn by that seed and that is
    fitted to the rows; at least eight `rows` of different lengths are needed.
    """

    learning_rate = 3e-3
    steps = 150  # to learn one batch by heart

    def make_task(self, seed: int) -> Task:
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    # Batches

    def features(self, task: Task) -> list[Features]:
        """Return the features of the rows, read and augmented as in training, each with `row`."""
        table: Any = _as_read(self.encoded(task))
        if not isinstance(task, Augments):
            return list(table)
        return [
            task.augment(one, np.random.default_rng([0, i]), table) for i, one in enumerate(table)
        ]

    def encoded(self, task: Task) -> list[Features]:
        """Return the features of the rows as the task makes them, each with its `row`."""
        return [{**one, "row": i} for i, row in enumerate(self.rows()) for one in task.encode(row)]

    def batch(self, task: Task, size: int = 8) -> Batch:
        return task.collate(self.features(task)[:size])

    # Learning

    def test_every_feature_says_its_length(self) -> None:
        task = self.make_task(0)
        for row in self.rows():
            features = task.encode(row)
            assert features
            assert (
                len(features) == 1 or isinstance(task, SplitsRows) or task.truncation == "windows"
            )
            assert all(0 < one["length"] <= one["full_length"] for one in features)

    def test_rows_are_encoded_together_as_each_by_itself(self) -> None:
        task, rows = self.make_task(0), self.rows()
        together = task.encode_batch(rows)
        for row, features in zip(rows, together, strict=True):
            np.testing.assert_equal(features, task.encode(row))

    def test_features_read_from_their_file_make_the_same_batch(self) -> None:
        """As training reads them, a list of numbers is a numpy array."""
        task = self.make_task(0)
        made = self.encoded(task)[:8]
        batch = task.collate(copy.deepcopy(made))
        read = task.collate(list(_as_read(made)))
        assert read.keys() == batch.keys()
        for name, tensor in batch.items():
            torch.testing.assert_close(read[name], tensor, atol=0, rtol=0, equal_nan=True, msg=name)

    def test_it_learns_one_batch_by_heart(self) -> None:
        task = self.make_task(0)
        batch = self.batch(task)
        task.eval()
        optimizer = torch.optim.AdamW(task.parameters(), lr=self.learning_rate)
        first = float(task(batch).loss.detach())
        for _ in range(self.steps):
            optimizer.zero_grad()
            loss = task(batch).loss
            loss.backward()
            optimizer.step()
        assert float(loss.detach()) < 0.1 * first

    def test_every_trainable_parameter_gets_a_gradient(self) -> None:
        task = self.make_task(0).train()
        task(self.batch(task)).loss.backward()
        idle = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
        assert idle == []

    def test_a_loss_is_the_weighted_mean_of_its_parts_unless_it_refuses_parts(self) -> None:
        task = self.make_task(0).eval()
        features = self.features(task)[:8]
        whole = task(task.collate(features))
        parts = [task(task.collate(half)) for half in (features[:3], features[3:])]
        mean = sum(p.loss * p.weight for p in parts) / sum(p.weight for p in parts)
        is_mean = torch.allclose(mean, whole.loss, atol=1e-5, rtol=1e-4)
        assert is_mean or isinstance(task, UsesOtherRows)

    def test_one_that_can_be_captured_reads_no_number_on_the_host(self) -> None:
        """Tensors without values stand for those of a GPU; dropout, which is torch's, is off."""
        task = self.make_task(0).eval()
        if not isinstance(task, Capturable):
            return
        batch = self.batch(task)
        wide = padding.widen([batch["input_ids"].size(1) + 3], fillers_of(task), batch)
        assert wide["input_ids"].size(1) == batch["input_ids"].size(1) + 3
        torch.testing.assert_close(task(wide).loss, task(batch).loss, atol=1e-5, rtol=1e-4)
        with FakeTensorMode() as fake, _NoTensorFromNumbers():
            own = [*task.named_parameters(), *task.named_buffers()]
            state: dict[str, Any] = {name: fake.from_tensor(value) for name, value in own}
            empty = {name: fake.from_tensor(value) for name, value in wide.items()}
            torch.func.functional_call(task, state, (empty,)).loss.backward()
            assert any(value.grad is not None for value in state.values())

    def test_a_second_seed_draws_another_head(self) -> None:
        first, same, other = (self.make_task(seed) for seed in (0, 0, 1))
        names = {name for name, p in first.named_parameters() if p.ndim > 1} & head_names(first)
        states = [dict(task.named_parameters()) for task in (first, same, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in names)
        assert not any(torch.equal(states[0][name], states[2][name]) for name in names)

    # Answers

    def answers(self, task: Task, batch_size: int) -> list[Answer]:
        """Answer the rows without their labels, as `tunesmith predict` does."""
        read = {n for n, column in task.columns.items() if not (column.target or column.learning)}
        rows = [{k: v for k, v in row.items() if k in read} for row in self.rows()]
        by_row = [task.encode(row) for row in rows]
        features = [one for several in by_row for one in several]
        predictions: list[Any] = []
        with torch.inference_mode():
            for start in range(0, len(features), batch_size):
                predictions += task.predict(task.collate(features[start : start + batch_size]))
        remaining = iter(predictions)
        return task.aggregate([[next(remaining) for _ in several] for several in by_row], rows)

    def test_answers_depend_neither_on_padding_nor_on_the_batch(self) -> None:
        task = self.make_task(0).eval()
        alone, together = self.answers(task, 1), self.answers(task, 8)
        for one, other in zip(alone, together, strict=True):
            assert np.allclose(_numbers(one), _numbers(other), atol=1e-4)

    def test_scores_are_the_declared_metrics(self) -> None:
        task = self.make_task(0).eval()
        self._check_declared(task, task.score(self.answers(task, 4), self.rows()))
        assert task.monitor in task.metrics
        assert set(task.metrics.values()) <= {"max", "min"}

    def test_baseline_answers_are_scored_like_others(self) -> None:
        from datasets import Dataset

        task = self.make_task(0).eval()
        answers = task.baseline(Dataset.from_list(self.rows()), self.rows())
        assert len(answers) in (0, len(self.rows()))
        if answers:
            self._check_declared(task, task.score(answers, self.rows()))

    def _check_declared(self, task: Task, scores: dict[str, float]) -> None:
        """Refuse scores that no metric declares, and missing ones that are defined here."""
        from datasets import Dataset

        undefined: dict[str, str] = {}
        if isinstance(task, HasUndefinedMetrics):
            undefined = task.undefined_metrics(Dataset.from_list(self.rows()))
        assert set(scores) <= set(task.metrics)
        assert set(task.metrics) - set(scores) <= set(undefined)

    def test_saved_and_loaded_it_answers_the_same(self) -> None:
        task = self.make_task(0).eval()
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        state = copy.deepcopy(task.state_dict())
        other = self.make_task(1).eval()
        other.load_state_dict(state)
        assert self.answers(other, 8) == self.answers(task, 8)


class _NoTensorFromNumbers(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "lift_fresh" not in str(func), "a tensor is made from Python numbers"
        return func(*args, **(kwargs or {}))


def _as_read(features: list[Features]) -> FeatureTable:
    return FeatureTable(Dataset.from_list(features).remove_columns(["length", "full_length"]))


def _numbers(answer: Any) -> list[float]:
    """Return all numbers in an answer, however deep."""
    if isinstance(answer, dict | list):
        inner = answer.values() if isinstance(answer, dict) else answer
        return [number for value in inner for number in _numbers(value)]
    return [answer] if isinstance(answer, float) else []
