"""What holds for each conf/task/*.yaml. A new task is covered from the day its yaml exists."""

import copy
import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from support.media_files import write_media
from support.tiny_models import sentences, tiny_bert
from tunesmith.config import CONF, resolved
from tunesmith.data.columns import ColumnType
from tunesmith.pipeline.components import build_data, build_task
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import SplitsRows
from tunesmith.tasks.task_conformance import TaskConformance

TASKS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
OPTIONS = {  # of a task that reads nothing by default but what others read too
    "multimodal": [
        "data.image=photo",
        "data.audio=clip",
        "data.numeric=[price,age]",
        "data.categorical=[brand]",
        "task.audio.seconds=0.1",
    ]
}


def made_row(columns, names, i):
    """Make row `i` of a source that has these columns of a task, under their names there."""
    first, second, third = sentences(3 * i + 3, seed=3)[-3:]
    words = first.split()
    cells = {
        "text": first,
        "class": ["a", "b"][i % 2],
        "classes": ["a", "b"][: 1 + i % 2],
        "number": 0.25 * (i % 5),  # from 0 to 1: a task may want no others
        "words": words,
        "tags": ["B-X" if len(word) > 4 else "O" for word in words],
        "texts": [third],
        "choices": [second, third, first][: 2 + i % 2],
        "choice": i % 2,
        "spans": {"text": [words[1]], "answer_start": [len(words[0]) + 1]},
        "image": f"{i % 5}.png" if i % 3 else None,
        "audio": f"{i % 4}.wav" if i % 2 else None,
        "numbers": [0.1 * i, None if i % 4 else 2],
        "categories": ["abc"[i % 3]],
    }
    cells = {column: cells[what.kind] for column, what in columns.items() if names[column]}
    cells |= {"text_pair": second} if "text_pair" in cells else {}
    row = {}
    for column, cell in cells.items():
        several = not isinstance(names[column], str)
        row |= dict(zip(names[column], cell, strict=True)) if several else {names[column]: cell}
    return row


@pytest.fixture(scope="module", params=TASKS)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = tiny_bert(folder / "model")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train",
            [
                f"task={request.param}",
                "data=files",
                "data.split.validation=0.3",
                f"data.train_file={folder}/train.jsonl",
                "data.max_length=32",
                "data.batch_size=8",
                "model=base",
                f"model.path={model}",
                f"paths.runs={folder}/runs",
                "trainer.precision=32",
                *OPTIONS.get(request.param, []),
            ],
        )
    from tunesmith.config import instantiate

    columns = instantiate.resolve(cfg.task._target_).columns
    write_media(folder)
    for column, what in columns.items():
        if what.required and cfg.data[column] is None:
            cfg.data[column] = column
    rows = [json.dumps(made_row(columns, cfg.data, i)) for i in range(40)]
    (folder / "train.jsonl").write_text("\n".join(rows))
    parts = load_inputs(resolved(cfg))
    task, _ = build_task(resolved(cfg), parts)
    return cfg, parts, task, build_data(resolved(cfg), parts, task)


@pytest.fixture
def task(made):
    return copy.deepcopy(made[2])


@pytest.fixture
def batch(made):
    whole = made[0].data.batch_size  # one batch of an epoch has what is left
    return next(b for b in made[3].train_dataloader() if len(b["input_ids"]) == whole)


def test_a_task_that_makes_several_features_of_a_long_row_says_so(made, task):
    row = made[1].rows.splits["train"][0]
    kinds = {name: column.kind for name, column in task.columns.items()}
    long = {
        name: cell * 40
        if kinds.get(name) in (ColumnType.TEXT, ColumnType.WORDS, ColumnType.TAGS)
        else cell
        for name, cell in row.items()
    }
    assert (len(task.encode(long)) > 1) == isinstance(task, SplitsRows)


def test_padding_and_batching_change_nothing(made, task):
    task.eval()
    data = made[3]
    features, lengths, _ = data.encoded["train"]
    short, long = (features[int(pick(lengths))] for pick in (np.argmin, np.argmax))
    assert lengths.min() < lengths.max()
    with torch.no_grad():
        alone = task.logits(task.collate([short]))
        padded = task.logits(task.collate([short, long]))[:1]
    torch.testing.assert_close(padded[:, : alone.size(1)], alone, atol=1e-5, rtol=1e-4)


def test_in_bf16_a_prediction_is_that_of_an_evaluation(made, task, batch):
    if type(task).predict is not TextTask.predict:
        return  # hidden tokens are told otherwise, texts are written
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        asked, scored = task.eval().predict(batch), task.decode(batch, task(batch))
    assert flat(asked) == flat(scored)


def flat(predictions):
    """Return every number of predictions, however deep they stand."""
    if isinstance(predictions, np.ndarray | np.generic | float | int):
        return np.asarray(predictions).ravel().tolist()
    return [number for part in predictions for number in flat(part)]


class TestEveryTask(TaskConformance):
    """Holds each task to what a task of a user's own can be held to."""

    @pytest.fixture(autouse=True)
    def use(self, made):
        self.made = made

    def make_task(self, seed):
        cfg, parts, _, _ = self.made
        config = resolved(cfg).model_copy(update={"seed": seed})
        return build_task(config, parts)[0]

    def rows(self):
        return self.made[1].rows.splits["train"].to_list()[:16]
