"""The `tunesmith doctor` command: what this machine can do, what a config would get of it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.runtime.fast_import import fast_import

Rows = list[tuple[str, str, str]]  # what, its value, a reason or the rest of it


def add_commands(commands: Any) -> None:
    """Add it to the parser of `tunesmith`."""
    text = "how fast this machine is, or the settings that overrides would get here, and why"
    doctor = commands.add_parser("doctor", help=text, description=text)
    doctor.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="of a run: trainer=gpu data.workers=2"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run_command=_doctor)


def _doctor(options: argparse.Namespace) -> None:
    # A config is checked before torch is imported, which takes seconds.
    run = _run_config(options.overrides)
    with fast_import():
        facts = settings(run) if options.overrides else machine(Path(run.paths.runs))
    if options.json:
        print(json.dumps(facts))
        return
    from rich.console import Console
    from rich.table import Table

    from tunesmith.reporting.terminal.cells import cell

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in _setting_rows(facts) if options.overrides else _machine_rows(facts):
        table.add_row(*map(cell, row))
    Console(highlight=False).print(table)


def _run_config(overrides: Sequence[str]) -> Any:
    from tunesmith import config
    from tunesmith.config.composer import Composer
    from tunesmith.errors import raise_all

    composed = Composer()(overrides)
    raise_all(config.check(composed))
    return config.resolved(composed)


def settings(run: Any) -> dict[str, dict[str, Any]]:
    """Return {setting: {"value", "reason"}} of what a run with this RunConfig would use here.

    Raises MachineError or ConfigError for what cannot run here, as the run would.
    """
    from tunesmith.pipeline.graph_choice import reason_against_graphs
    from tunesmith.pipeline.train import choose_hardware
    from tunesmith.training.hardware import fused_optimizer

    hardware = choose_hardware(run)
    chosen = {name: (getattr(hardware, name), why) for name, why in hardware.reasons.items()}
    exact, workers = run.trainer.deterministic, run.data.workers
    chosen["deterministic"] = exact, "the same bits each time" if exact else "speed before bits"
    if "fused" in run.optimizer:
        fused = run.optimizer["fused"]
        chosen["fused optimizer"] = fused_optimizer(fused, hardware.precision)
    against = reason_against_graphs(run, hardware)
    chosen["CUDA graphs"] = against is None, against or "where the task and its model allow it"
    products = hardware.float32_matmul_precision
    chosen["float32 products"] = products, f"trainer.float32_matmul_precision={products}"
    why = f"data.workers={workers}" + ("" if workers else ": the training process collates")
    chosen["loader workers"] = workers, why
    return {name: {"value": value, "reason": why} for name, (value, why) in chosen.items()}


def machine(runs: Path) -> dict[str, Any]:
    """Measure this machine, for some seconds: rates are FLOP/s and bytes per second."""
    import torch

    from tunesmith.runtime import environment
    from tunesmith.training import machine_speed
    from tunesmith.training.hardware import resolve_hardware, torch_settings

    hardware = resolve_hardware("auto", 1, 1, "auto", "auto", None)
    known = environment.describe(hardware.precision, hardware.threads)
    names = ("packages", "python", "system", "processor", "cores", "threads")
    facts: dict[str, Any] = {name: known[name] for name in names}
    facts["threads_reason"] = hardware.reasons["threads"]
    facts["gpus"] = [_gpu(i) for i in range(torch.cuda.device_count())]
    with torch_settings(hardware, deterministic=False):
        facts["accelerator"] = hardware.accelerator
        facts["product_flops"] = machine_speed.product_rates(hardware.accelerator)
        facts["copy_bytes"] = machine_speed.copy_rate(hardware.accelerator)
    facts["runs"], facts["write_bytes"], facts["write_error"] = str(runs), None, None
    try:
        facts["write_bytes"] = machine_speed.write_rate(runs)
    except OSError as error:  # shown: it is a finding about the machine
        facts["write_error"] = error.strerror
    facts["misfit_versions"] = environment.misfit_versions()
    return facts


def _gpu(index: int) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_properties(index)
    with torch.cuda.device(index):
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    capability = f"{gpu.major}.{gpu.minor}"
    return {"name": gpu.name, "bytes": gpu.total_memory, "capability": capability, "bf16": fast}


def _setting_rows(facts: dict[str, Any]) -> Rows:
    return [(name, str(one["value"]), one["reason"]) for name, one in facts.items()]


def _machine_rows(facts: dict[str, Any]) -> Rows:
    processor = facts["processor"]
    rows = [("processor", processor["model"], " ".join(processor["flags"]))]
    rows += [("cores", str(facts["cores"]), "usable by this process")]
    rows += [("threads", str(facts["threads"]), facts["threads_reason"])]
    for gpu in facts["gpus"]:
        bf16 = "bf16" if gpu["bf16"] else "no bf16"
        more = f"{gpu['bytes'] / 2**30:.0f} GiB, compute capability {gpu['capability']}, {bf16}"
        rows += [("GPU", gpu["name"], more)]
    if not facts["gpus"]:
        rows += [("GPU", "none", "")]
    on = facts["accelerator"].upper()
    for name, rate in facts["product_flops"].items():
        rows += [(f"matrix product, {name}", f"{rate / 1e9:,.0f} GFLOP/s", f"on the {on}")]
    rows += [("memory, copy", f"{facts['copy_bytes'] / 1e9:,.1f} GB/s", "read and written")]
    written = facts["write_error"]
    if facts["write_bytes"] is not None:
        written = f"{facts['write_bytes'] / 1e6:,.0f} MB/s"
    rows += [("disk, written and flushed", written, f"paths.runs={facts['runs']}")]
    rows += [("python", facts["python"], facts["system"])]
    rows += [(name, version, "") for name, version in facts["packages"].items()]
    return rows + [("version", "does not fit", one) for one in facts["misfit_versions"]]
