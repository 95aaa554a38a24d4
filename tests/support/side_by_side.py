"""Whole runs of ours and of transformers.Trainer, in turns: times, scores, ratios, a table."""

import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoConfig, AutoTokenizer

from support.benchmark_report import spread
from support.commands import ROOT, only_run
from tunesmith.training.machine_speed import copy_rate, product_rates

PEER = ROOT / "tests/benchmarks/peers/hf_trainer.py"
FORMS = ("default", "tuned")
TARGETS = {"default": 5.0, "tuned": 1.5}  # how many times faster, whole process and per step
ROOFLINE_TARGET = 0.7
WARM_UP = 3  # steps of an epoch that are not counted: kernels compile for each new shape

Record = dict[str, Any]
Start = Callable[[list[str]], subprocess.CompletedProcess[str]]


class Job(NamedTuple):
    """What all of them do: the rows, the model, how long."""

    data: Path  # a folder with train.csv, validation.csv and test.csv
    model: Path
    train_rows: int
    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-4
    max_length: int = 128
    cpu: bool = True
    bf16: bool = True  # of the tuned peer; ours chooses by itself
    workers: int = 1  # loader processes of the tuned peer
    own: tuple[str, ...] = ()  # further overrides of ours

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.train_rows // self.batch_size)


def start_process(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with these words, as a user does."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


def run_ours(job: Job, folder: Path, seed: int, start: Start) -> Record:
    """Train by `python train.py`, with nothing encoded before."""
    files = [f"data.{split}_file={job.data}/{split}.csv" for split in ("train", "validation")]
    words = ["data=files", *files, f"data.test_file={job.data}/test.csv", "model=base"]
    words += [f"model.path={job.model}", "model.attention=eager"]
    words += [f"data.max_length={job.max_length}", f"data.batch_size={job.batch_size}"]
    words += [f"optimizer.lr={job.learning_rate}", f"trainer.max_epochs={job.epochs}"]
    words += [f"trainer={'cpu' if job.cpu else 'gpu'}", f"seed={seed}", *job.own]
    words += [f"paths.runs={folder}/runs", f"paths.cache={folder}/cache"]
    took = timed(start, [str(ROOT / "train.py"), *words])
    run = only_run(folder)
    scores = json.loads((run / "metrics.json").read_text())["scores"]
    ms = ms_per_step(logged_steps(run), job.steps_per_epoch)
    return {**took, "ms_per_step": ms, "accuracy": scores["test/accuracy"]}


def run_peer(form: str, job: Job, folder: Path, seed: int, start: Start) -> Record:
    """Train by transformers.Trainer."""
    names = ("epochs", "batch_size", "learning_rate", "max_length", "cpu", "bf16", "workers")
    asked = {name: getattr(job, name) for name in names}
    asked |= {"form": form, "model": str(job.model), "data": str(job.data), "seed": seed}
    asked["output"] = str(folder)
    folder.mkdir(parents=True)
    took = timed(start, [str(PEER), json.dumps(asked)])
    result = json.loads((folder / "result.json").read_text())
    ends = {int(step): end for step, end in result["step_ends"].items()}
    ms = ms_per_step(ends, job.steps_per_epoch)
    return {**took, "ms_per_step": ms, "accuracy": result["accuracy"]}


def timed(start: Start, words: list[str]) -> Record:
    """Return the seconds of a whole process, by the clock and of all its cores (user + system)."""
    os.sync()  # the disk owes nothing to what ran before
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = start(words)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-3000:]
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu}


def logged_steps(run: Path) -> dict[int, float]:
    """Return when each logged step of a run of ours was, by its event file."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.wall_time for event in events.Scalars("train/loss")}


def ms_per_step(ends: Mapping[int, float], per_epoch: int) -> float:
    """Return the mean milliseconds of a step, by when some steps ended (step 1 is the first).

    Between the first and the last known step of each epoch, without its first WARM_UP and its
    last one: validation and checkpoints stand between epochs.
    """
    seconds, steps = 0.0, 0
    for begin in range(0, max(ends), per_epoch):
        known = [s for s in sorted(ends) if begin + WARM_UP < s < begin + per_epoch]
        if len(known) > 1:
            seconds += ends[known[-1]] - ends[known[0]]
            steps += known[-1] - known[0]
    return 1e3 * seconds / steps


def compare(
    job: Job, folder: Path, repeats: Iterable[int], forms: Iterable[str], start: Start
) -> list[Record]:
    """Run ours and the peers in turns."""
    runs = {form: partial(run_peer, form) for form in forms}
    return take_turns({"ours": run_ours, **runs}, job, folder, repeats, start)


def take_turns(
    runs: Mapping[str, Callable[..., Record]],
    job: Any,
    folder: Path,
    repeats: Iterable[int],
    start: Start,
) -> list[Record]:
    """Run all of them in turns, each repeat with a seed of its own and another one first."""
    records, names = [], list(runs)
    for repeat in repeats:
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            output = folder / f"{repeat}-{name.replace(' ', '-')}"
            record = runs[name](job, output, repeat, start)
            records.append({"who": name, "repeat": repeat, **record})
            print(json.dumps(records[-1]), flush=True)
    return records


# What came out


def floor_ms(job: Job, flops: float, bytes_per_second: float) -> float:
    """Return the least milliseconds of a step: its arithmetic and its optimizer's traffic.

    tokens * (72 H^2 L + 12 s H L) / flops + 48 bytes a parameter / bandwidth, with texts of their
    mean length s, without padding.
    """
    config, tokenizer = (
        AutoConfig.from_pretrained(job.model),
        AutoTokenizer.from_pretrained(job.model),
    )
    with (job.data / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    lengths = tokenizer(texts, truncation=True, max_length=job.max_length)["input_ids"]
    mean = sum(map(len, lengths)) / len(lengths)
    hidden, layers = config.hidden_size, config.num_hidden_layers
    per_token = 72 * hidden**2 * layers + 12 * mean * hidden * layers
    parameters = config.vocab_size * hidden + layers * 12 * hidden**2
    arithmetic = job.batch_size * mean * per_token / flops
    return 1e3 * (arithmetic + 48 * parameters / bytes_per_second)


def summarize(records: list[Record], floor: float) -> dict[str, Any]:
    """Return medians and spreads: of each, of the paired ratios, and the targets with what came."""
    names = list(dict.fromkeys(record["who"] for record in records))
    fields = ("seconds", "cpu_seconds", "ms_per_step", "accuracy")
    records = sorted(records, key=lambda record: record["repeat"])
    of = {name: [r for r in records if r["who"] == name] for name in names}
    medians = {n: {f: spread([r[f] for r in of[n]]) for f in fields} for n in names}
    for name in names:
        share = floor / medians[name]["ms_per_step"]["median"]
        medians[name]["roofline"] = round(share, 3)
    ratios = {
        form: {
            field: spread([b[field] / a[field] for a, b in zip(of["ours"], of[form], strict=True)])
            for field in ("seconds", "ms_per_step")
        }
        for form in names
        if form != "ours"
    }
    return {"of": medians, "ratios": ratios, "targets": targets(medians, ratios)}


def targets(medians: Mapping[str, Any], ratios: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say of each target what was reached, and whether that falls short."""
    rows = [
        (f"{field} against the {form} Trainer", TARGETS[form], by[field]["median"])
        for form, by in ratios.items()
        for field in ("seconds", "ms_per_step")
    ]
    rows += [("share of the roofline", ROOFLINE_TARGET, medians["ours"]["roofline"])]
    return [target(*row) for row in rows]


def target(name: str, least: float, reached: float) -> dict[str, Any]:
    return {"target": name, "at_least": least, "reached": reached, "falls_short": reached < least}


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as markdown."""
    lines = ["| | seconds | CPU seconds | ms/step | test accuracy | of the roofline |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, row in summary["of"].items():
        fields = ("seconds", "cpu_seconds", "ms_per_step", "accuracy")
        cells = [shown(row[field]) for field in fields]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['roofline']:.0%} |")
    return "\n".join([*lines, "", *target_lines(summary["targets"])])


def target_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line of a table for each target."""
    lines = ["| target | at least | reached | |", "|---|---|---|---|"]
    for row in rows:
        word = "falls short" if row["falls_short"] else "reached"
        lines.append(f"| {row['target']} | {row['at_least']} | {row['reached']} | {word} |")
    return lines


def shown(numbers: Mapping[str, float]) -> str:
    return "{median:.4g} ({min:.4g} to {max:.4g})".format(**numbers)


def machine_rates() -> tuple[float, float]:
    """Return the best FLOP/s and the bytes per second of memory, as `tunesmith doctor` does."""
    accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return max(product_rates(accelerator).values()), copy_rate(accelerator)
