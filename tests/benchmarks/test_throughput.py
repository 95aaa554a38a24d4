"""Our training loop against a raw PyTorch loop: same model, batches, precision, in one process.

    python -m pytest -s -m benchmark tests/benchmarks/test_throughput.py

Repeats are paired and take turns at going first. Both start from the same weights without
dropout, so that the losses at the end say whether they did the same work.
"""

import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from support.benchmark_report import report, spread
from support.commands import small
from support.own_loop import batches_of, config_without_dropout, train_with_clock
from tunesmith.config import RunConfig
from tunesmith.pipeline import components
from tunesmith.pipeline.inputs import RunInputs, load_inputs
from tunesmith.pipeline.train import choose_hardware
from tunesmith.training.hardware import Hardware, torch_settings

WARM_UP = 4  # steps before the clock starts: kernels are compiled for each shape


class Result(NamedTuple):
    seconds: float  # of the measured steps
    steps: int
    loss: float  # of the last measured step


def ours(cfg: RunConfig, parts: RunInputs, machine: Hardware, folder: Path) -> Result:
    clock = train_with_clock(cfg, parts, machine, folder)
    # The last step is left out: what follows it (validation, checkpoints) is no training.
    ends = clock.ends[WARM_UP - 1 : -1]
    return Result(ends[-1] - ends[0], len(ends) - 1, clock.losses[-2])


def raw(cfg: RunConfig, parts: RunInputs, machine: Hardware) -> Result:
    """Train as one would write it by hand for this model."""
    task, _ = components.build_task(cfg, parts)
    data = components.build_data(cfg, parts, task)
    torch.use_deterministic_algorithms(False)
    model = task.model.train()
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=cfg.optimizer["lr"],
        fused=True,
    )
    steps, warm = cfg.trainer.max_steps, max(1, int(0.1 * cfg.trainer.max_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(i / warm, (steps - i) / (steps - warm))
    )
    ends, loss = [], torch.tensor(torch.nan)
    for batch in batches_of(data, steps - 1):
        inputs = task.model_inputs(batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=machine.precision == "bf16-mixed"):
            loss = F.cross_entropy(model(**inputs).logits.float(), batch["labels"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.trainer.gradient_clip_val)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    ends = ends[WARM_UP - 1 :]
    return Result(ends[-1] - ends[0], len(ends) - 1, loss.item())


def compare(cfg: RunConfig, folder: Path, repeats: int) -> tuple[list[Result], list[Result]]:
    machine = choose_hardware(cfg)
    results: dict[str, list[Result]] = {"ours": [], "raw": []}
    for repeat in range(repeats):
        for name in ("ours", "raw") if repeat % 2 == 0 else ("raw", "ours"):
            with torch_settings(machine, cfg.trainer.deterministic):
                parts = load_inputs(cfg)
                place = folder / f"{repeat}"
                result = (
                    ours(cfg, parts, machine, place) if name == "ours" else raw(cfg, parts, machine)
                )
            results[name].append(result)
    return results["ours"], results["raw"]


def show(cfg: RunConfig, mine: list[Result], bare: list[Result]) -> float:
    """Print the report; return the median of the paired ratios of steps a second."""
    ratios = [b.seconds / m.seconds for m, b in zip(mine, bare, strict=True)]
    rates = {
        name: spread([r.steps * cfg.data.batch_size / r.seconds for r in results])
        for name, results in (("ours", mine), ("raw", bare))
    }
    report(
        "throughput",
        choose_hardware(cfg).precision,
        model=cfg.model.path,
        ratio=spread(ratios),
        repeats=len(ratios),
        steps=mine[0].steps,
        rows_a_second=rates,
        last_loss={"ours": mine[0].loss, "raw": bare[0].loss},
    )
    return median(ratios)


def test_both_loops_run_and_do_the_same_work(tmp_path, capsys):
    cfg = config_without_dropout(
        tmp_path,
        *(word for word in small(tmp_path) if not word.startswith("paths.")),
        f"trainer.max_steps={WARM_UP + 6}",
        "trainer.precision=32",
    )
    mine, bare = compare(cfg, tmp_path, repeats=1)
    assert show(cfg, mine, bare) > 0
    assert '"benchmark": "throughput"' in capsys.readouterr().out
    assert mine[0].steps == bare[0].steps == 5
    assert mine[0].loss == pytest.approx(bare[0].loss, abs=1e-4)


@pytest.mark.benchmark
def test_our_loop_is_nearly_as_fast_as_a_raw_one(tmp_path):
    # Less than an epoch: no validation inside.
    cfg = config_without_dropout(tmp_path, "trainer.max_steps=40")
    mine, bare = compare(cfg, tmp_path, repeats=7)
    assert show(cfg, mine, bare) >= 0.9
