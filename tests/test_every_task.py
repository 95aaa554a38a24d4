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
from tunesmith.errors import ConfigError
from tunesmith.inference.finished_run import _answers
from tunesmith.models.heads import is_headless
from tunesmith.pipeline.components import build_data, build_task
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.train import choose_hardware
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import HasUndefinedMetrics, SplitsRows, UsesOtherRows, head_names

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


def test_learns_one_batch_by_heart(task, batch):
    task.eval()
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    first = float(task(batch).loss)
    for _ in range(150):
        optimizer.zero_grad()
        loss = task(batch).loss
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * first


def test_every_trainable_parameter_gets_a_gradient(task, batch):
    task.train()
    task(batch).loss.backward()
    idle = [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


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


def test_a_loss_is_the_weighted_mean_of_its_parts_unless_parts_are_refused(made, task, batch):
    task.eval()
    part = {k: v[:3] if v.ndim else v for k, v in batch.items()}
    rest = {k: v[3:] if v.ndim else v for k, v in batch.items()}
    whole, outputs = task(batch), [task(part), task(rest)]
    joined = sum(o.loss * o.weight for o in outputs) / sum(o.weight for o in outputs)
    is_mean = torch.allclose(joined, whole.loss, atol=1e-5, rtol=1e-4)
    assert is_mean == takes_micro_batches(type(task), made[0].task)


def takes_micro_batches(kind, options):
    if not issubclass(kind, UsesOtherRows):
        return True
    try:
        kind.check_micro_batches(options, 2)
    except ConfigError:
        return False
    return True


def declared(task, scores, rows):
    """Tell whether only those are missing that are told to be no number on these rows."""
    missing = set(task.metrics) - set(scores)
    undefined = task.undefined_metrics(rows) if isinstance(task, HasUndefinedMetrics) else {}
    return set(scores) <= set(task.metrics) and missing <= set(undefined)


def test_scores_are_what_the_task_declares(made, task):
    cfg, parts, _, _ = made
    rows = parts.rows.splits["validation"].to_list()
    answers = _answers(task.eval(), rows, 4, choose_hardware(resolved(cfg)))
    assert declared(task, task.score(answers, rows), parts.rows.splits["validation"])
    assert task.monitor in task.metrics
    assert set(task.metrics.values()) <= {"max", "min"}


def test_trivial_answers_are_scored_like_others(made, task):
    _, parts, _, _ = made
    rows = parts.rows.splits["validation"].to_list()
    answers = task.baseline(parts.rows.splits["train"], rows)
    assert len(answers) == len(rows)
    assert declared(task, task.score(answers, rows), parts.rows.splits["validation"])
    answered = task.baseline(parts.rows.splits["train"], rows[:1])
    assert answered == answers[:1]  # nothing of a row is read


def test_answers_do_not_depend_on_the_batch_size(made, task):
    cfg, parts, _, _ = made
    rows = parts.rows.splits["validation"].to_list()
    one = _answers(task.eval(), rows, 1, choose_hardware(resolved(cfg)))
    many = _answers(task.eval(), rows, 8, choose_hardware(resolved(cfg)))
    for a, b in zip(one, many, strict=True):
        assert numbers(a) == pytest.approx(numbers(b), abs=1e-4)


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


def numbers(answer):
    """Return all numbers in an answer, however deep."""
    if isinstance(answer, dict | list):
        inner = answer.values() if isinstance(answer, dict) else answer
        return [number for value in inner for number in numbers(value)]
    return [answer] if isinstance(answer, float) else []


def test_a_second_seed_gives_another_head(made):
    cfg, parts, task, _ = made
    again, _ = build_task(resolved(cfg), parts)
    other_cfg = cfg.copy()
    other_cfg.seed = 1
    other, _ = build_task(resolved(other_cfg), parts)
    drawn = {name for name, p in task.named_parameters() if p.ndim > 1}  # no norms, no biases
    fresh = sorted(head_names(task) & drawn)
    first, same, second = (
        [dict(t.named_parameters())[name] for name in fresh] for t in (task, again, other)
    )
    assert fresh or is_headless(task.model)
    assert all(map(torch.equal, first, same))
    assert not any(map(torch.equal, first, second))


def test_saved_is_loaded_with_the_same_weights(made, task, tmp_path):
    torch.save(task.state_dict(), tmp_path / "task.pt")
    cfg, parts, _, _ = made
    fresh, _ = build_task(resolved(cfg), parts)
    fresh.load_state_dict(torch.load(tmp_path / "task.pt", weights_only=True))
    rows = parts.rows.splits["validation"].to_list()
    machine = choose_hardware(resolved(cfg))
    assert _answers(task.eval(), rows, 8, machine) == _answers(fresh.eval(), rows, 8, machine)
