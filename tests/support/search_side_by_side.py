"""Whole searches of ours and of Optuna and Ray Tune around transformers.Trainer, in turns."""

import json
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support.benchmark_report import spread
from support.commands import ROOT
from support.side_by_side import (
    Job,
    Record,
    Start,
    shown,
    take_turns,
    target,
    target_lines,
    timed,
)

PEER = ROOT / "tests/benchmarks/peers/hf_search.py"
PEERS = tuple(f"{tuner} {form}" for form in ("tuned", "default") for tuner in ("optuna", "ray"))
TARGETS = {"default": 6.0, "tuned": 2.0}  # how many times sooner the winner's model is saved
TO_TARGET = 3.0  # how many times sooner a trial has the score that is aimed at
WORSE = 0.03  # of the test accuracy, by chance: 1,000 test rows
DEFAULT = {"learning_rate": 1e-4, "weight_decay": 0.01}  # of conf/optimizer/adamw.yaml
KEYS = {"learning_rate": "optimizer.lr", "weight_decay": "optimizer.weight_decay"}


class Search(NamedTuple):
    """What all of them do: the job of a trial, the points, the workers."""

    job: Job  # its epochs are those of a whole training: 3, 9, ...
    others: tuple[dict[str, float], ...]  # the points that are tried after the default
    workers: int = 2

    @property
    def points(self) -> list[dict[str, float]]:
        return [DEFAULT, *self.others]

    @property
    def rungs(self) -> str:
        """The parts of a training at which it is looked at: after 1, 3, 9, ... epochs."""
        epochs = [1]
        while epochs[-1] < self.job.epochs:
            epochs.append(3 * epochs[-1])
        assert epochs[-1] == self.job.epochs, "epochs must be a power of three"
        return ",".join(f"{epoch}/{self.job.epochs}" for epoch in epochs).replace("9/9", "1")


def run_ours(search: Search, folder: Path, seed: int, start: Start) -> Record:
    """Search by `python train.py -m`, with nothing encoded before and no confirmation."""
    job, points = search.job, [_ours(point) for point in search.others]
    words = ["-m", "data=files", "model=base", f"model.path={job.model}", "model.attention=eager"]
    words += [f"data.{split}_file={job.data}/{split}.csv" for split in ("train", "validation")]
    words += [f"data.max_length={job.max_length}", f"data.batch_size={job.batch_size}"]
    words += [f"trainer.max_epochs={job.epochs}", f"trainer={'cpu' if job.cpu else 'gpu'}"]
    words += ["search=asha", "search/sampler=random", f"search.policy.rungs=[{search.rungs}]"]
    words += [f"search.trials={len(search.points)}", f"search.initial_points=[{','.join(points)}]"]
    words += [f"{key}=tag(log,interval(1e-7,1.0))" for key in KEYS.values()]
    words += ["search.confirm.top=0", f"executor.workers={search.workers}", f"seed={seed}"]
    words += ["study=ours", f"paths.runs={folder}/runs", f"paths.cache={folder}/cache", *job.own]
    began, took = time.time(), timed(start, [str(ROOT / "train.py"), *words])
    study = folder / "runs/ours"
    best = study / "trials/{best:04d}".format(**json.loads((study / "summary.json").read_text()))
    test = ["evaluate", str(best), "--data", str(job.data / "test.csv"), "--json"]
    done = start(
        ["-m", "tunesmith.cli.main", *test]
    )  # not in the time: no search looks at a test split
    assert done.returncode == 0, done.stderr[-3000:]
    accuracy = next(v for name, v in json.loads(done.stdout).items() if name.endswith("accuracy"))
    times = [(time - began, score) for time, score in validations(study)]
    return {**took, "accuracy": accuracy, "validations": times}


def _ours(point: Mapping[str, float]) -> str:
    return "{" + ",".join(f"{KEYS[name]}:{value}" for name, value in point.items()) + "}"


def validations(study: Path) -> list[tuple[float, float]]:
    """Return (time, accuracy) of every validation of a study of ours, by its event files."""
    pairs = []
    for folder in study.glob("trials/*/tensorboard"):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        pairs += [(event.wall_time, event.value) for event in events.Scalars("val/accuracy")]
    return sorted(pairs)


def run_peer(peer: str, search: Search, folder: Path, seed: int, start: Start) -> Record:
    """Search by Optuna or Ray Tune around transformers.Trainer."""
    tuner, form = peer.split()
    names = ("epochs", "batch_size", "learning_rate", "max_length", "cpu", "bf16")
    asked: dict[str, Any] = {name: getattr(search.job, name) for name in names}
    asked |= {"tuner": tuner, "form": form, "points": search.points, "workers": 0, "seed": seed}
    asked |= {"model": str(search.job.model), "data": str(search.job.data), "output": str(folder)}
    asked["trials_at_once"] = search.workers
    began, took = time.time(), timed(start, [str(PEER), json.dumps(asked)])
    result = json.loads((folder / "result.json").read_text())
    times = [pair for trial in result["trials"].values() for pair in trial["evaluations"]]
    return {
        "seconds": result["saved"] - began,  # the test comes after it
        "cpu_seconds": took["cpu_seconds"],
        "accuracy": result["accuracy"],
        "validations": sorted((time - began, score) for time, score in times),
    }


def compare(
    search: Search, folder: Path, repeats: Iterable[int], peers: Iterable[str], start: Start
) -> list[Record]:
    """Run ours and the peers in turns."""
    runs = {peer: partial(run_peer, peer) for peer in peers}
    return take_turns({"ours": run_ours, **runs}, search, folder, repeats, start)


# What came out


def summarize(records: list[Record]) -> dict[str, Any]:
    """Return medians and spreads, ratios to ours of the same repeat, and targets."""
    names = list(dict.fromkeys(sorted((r["who"] for r in records), key=lambda n: n != "ours")))
    of: dict[str, list[Record]] = {name: [] for name in names}
    for repeat in sorted({record["repeat"] for record in records}):
        together = [record for record in records if record["repeat"] == repeat]
        aim = min(max(score for _, score in record["validations"]) for record in together)
        for record in together:
            reached = next(t for t, score in record["validations"] if score >= aim)
            of[record["who"]].append({**record, "to_target": reached})
    fields = ("seconds", "to_target", "cpu_seconds", "accuracy")
    medians = {n: {f: spread([r[f] for r in rows]) for f in fields} for n, rows in of.items()}
    ratios = {
        name: {
            field: spread([b[field] / a[field] for a, b in zip(of["ours"], of[name], strict=True)])
            for field in ("seconds", "to_target")
        }
        for name in names[1:]
    }
    return {"of": medians, "ratios": ratios, "targets": list(targets(ratios))}


def targets(ratios: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Say of each target what was reached, and whether that falls short."""
    for name, ratio in ratios.items():
        for field, least in (("seconds", TARGETS[name.split()[1]]), ("to_target", TO_TARGET)):
            reached = ratio[field]["median"]
            yield target(f"{field} against {name}", least, reached)


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as markdown."""
    lines = ["| | seconds | seconds to the score all reach | CPU seconds | test accuracy |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {n} | {' | '.join(map(shown, row.values()))} |" for n, row in summary["of"].items()
    ]
    return "\n".join([*lines, "", *target_lines(summary["targets"])])
