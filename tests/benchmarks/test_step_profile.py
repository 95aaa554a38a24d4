"""Where each millisecond of the default training step goes, on the CPU.

    python -m pytest -s -m benchmark tests/benchmarks/test_step_profile.py

The same run is taken twice: without the profiler for the milliseconds of a step, and under it for
how they divide. A group has the time of its operators alone, without what they call.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from support.benchmark_report import report
from support.commands import small
from tunesmith.config import CONF, RunConfig, resolved
from tunesmith.models import cpu_kernels
from tunesmith.pipeline.components import build_training
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.run_context import RunContext
from tunesmith.pipeline.train import choose_hardware, fit
from tunesmith.training import lightning_module
from tunesmith.training.evaluation import evaluate
from tunesmith.training.hardware import torch_settings

WARM_UP, STEPS = 4, 20

# Of an event and those that it is called by, the first that is known decides.
GROUPS = {
    "enumerate(DataLoader)": "batches",
    "Optimizer.zero_grad": "zero_grad",
    "aten::_fused_adamw_": "optimizer",
    "clipping": "clipping",
    "dropout": "dropout",
    "aten::dropout": "dropout",
    "aten::native_dropout": "dropout",
    "aten::bernoulli_": "dropout",
    "aten::addmm": "linear layers",
    "aten::mm": "linear layers",
    "aten::bmm": "attention products",
    "aten::_scaled_dot_product": "attention products",
    "aten::_softmax": "softmax",
    "aten::native_layer_norm": "layer norm, GELU",
    "aten::gelu": "layer norm, GELU",
    "aten::embedding": "embeddings",
    "aten::index_select": "embeddings",
    "aten::_to_copy": "casts",
}
TWICE = ("linear layers", "attention products", "softmax", "layer norm, GELU", "embeddings")


class Steps(L.Callback):
    """Notes wall and processor time at the end of each step; profiles those after the warm-up."""

    def __init__(self, profiler: profile | None) -> None:
        self.profiler, self.ends = profiler, []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))
        if self.profiler is not None and len(self.ends) == WARM_UP:
            self.profiler.start()
        if self.profiler is not None and len(self.ends) == WARM_UP + STEPS:
            self.profiler.stop()

    def milliseconds(self, clock: int) -> float:
        first, last = self.ends[WARM_UP - 1], self.ends[WARM_UP + STEPS - 1]
        return (last[clock] - first[clock]) / STEPS * 1e3


def config(folder: Path, *more: str) -> RunConfig:
    arguments = ["trainer.max_epochs=null", f"trainer.max_steps={WARM_UP + STEPS + 1}"]
    arguments += ["trainer.limit_val_batches=1", "callbacks.figures=false"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolved(compose("train", [*arguments, f"paths.runs={folder}/runs", *more]))


def profiled(cfg: RunConfig, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return wall and processor time of a step and their groups, milliseconds each."""
    name_own_functions(patch)
    machine, inputs = choose_hardware(cfg), load_inputs(cfg)
    taken = {}
    for name in ("plain", "profiled"):
        profiler = profile(activities=[ProfilerActivity.CPU]) if name == "profiled" else None
        taken[name], context = Steps(profiler), RunContext(folder / name, False, None)
        with torch_settings(machine, cfg.trainer.deterministic):
            training = build_training(cfg, inputs, context, machine)
            training.trainer.callbacks.append(taken[name])  # type: ignore[attr-defined]
            fit(training, context)
            loader = training.data.evaluation_loader("validation")
            split = training.data.encoded["validation"], inputs.rows.splits["validation"]
            began = time.process_time()
            evaluate(training.module.task, loader, *split, machine)
            evaluating = time.process_time() - began
    rows = sum(len(batch) for batch in loader.batch_sampler)
    return {
        "step_ms": round(taken["plain"].milliseconds(0), 2),
        "step_cpu_ms": round(taken["plain"].milliseconds(1), 2),
        "profiled_ms": round(taken["profiled"].milliseconds(0), 2),
        "groups_ms": groups_of(profiler.events(), taken["profiled"].milliseconds(0)),
        "evaluation_cpu_ms_a_row": round(evaluating / rows * 1e3, 3),
    }


def name_own_functions(patch: pytest.MonkeyPatch) -> None:
    """Let the profiler see what torch knows no operator of."""

    def named(module, attribute: str, name: str) -> None:
        original = getattr(module, attribute)

        def function(*arguments):
            with record_function(name):
                return original(*arguments)

        patch.setattr(module, attribute, function)

    named(cpu_kernels, "_noise", "dropout")
    named(lightning_module, "clip_gradients", "clipping")


def groups_of(events: list[FunctionEvent], step: float) -> dict[str, float]:
    """Return the milliseconds of a step in each group, most first; the rest of `step` is Python."""
    times: Counter[str] = Counter()
    for event in events:
        times[group_of(event)] += event.self_cpu_time_total / 1e3 / STEPS
    times["Python"] = step - sum(ms for group, ms in times.items() if group != "Python")
    return {group: round(ms, 2) for group, ms in times.most_common()}


def group_of(event: FunctionEvent) -> str:
    names = list(callers(event))
    for name in names:
        group = next((group for start, group in GROUPS.items() if name.startswith(start)), None)
        if group in TWICE:
            is_backward = any(name.startswith("autograd::") for name in names)
            return f"{group}, {'backward' if is_backward else 'forward'}"
        if group is not None:
            return group
    is_operator = event.name.startswith(("aten::", "autograd::", "torch::", "detach"))
    return "other operators" if is_operator or "Backward" in event.name else "Python"


def callers(event: FunctionEvent | None) -> Iterator[str]:
    while event is not None:
        yield event.name
        event = event.cpu_parent


def test_the_groups_of_a_step_add_up_to_it(tmp_path, monkeypatch, capsys):
    words = [word for word in small(tmp_path, rows=240) if not word.startswith("paths.")]
    cfg = config(tmp_path, *words, "trainer.precision=bf16-mixed", "model.attention=eager")
    numbers = profiled(cfg, tmp_path, monkeypatch)
    report("step profile", **numbers)
    assert '"benchmark": "step profile"' in capsys.readouterr().out
    groups = numbers["groups_ms"]
    assert sum(groups.values()) == pytest.approx(numbers["profiled_ms"], rel=0.01)
    known = {"linear layers, forward", "linear layers, backward", "dropout", "optimizer", "Python"}
    known |= {"clipping", "batches", "casts", "embeddings, backward"}
    assert known <= groups.keys() and all(groups[name] > 0 for name in known)


@pytest.mark.benchmark
@pytest.mark.parametrize("threads", [1, os.cpu_count()])
@pytest.mark.parametrize("tokens", [27, 96])
def test_the_default_step(tokens, threads, tmp_path, monkeypatch):
    cfg = config(tmp_path, f"data.max_length={tokens}", f"trainer.num_threads={threads}")
    numbers = profiled(cfg, tmp_path, monkeypatch)
    for group, ms in numbers["groups_ms"].items():
        print(f"{ms:9.2f} ms  {group}")
    report("step profile", choose_hardware(cfg).precision, tokens=tokens, **numbers)
    assert numbers["step_ms"] > 0
