"""A GPU: proofs that runs on it are what they promise, then milliseconds a step against the peer.

    python tests/benchmarks/gpu.py                      (make gpu; at most eight minutes)
    python tests/benchmarks/gpu.py --device cpu --tiny  each step of it, on the CPU

Needs no network: models are random weights of known sizes, rows are made. Without a GPU it says so
and exits with 0. Prints one table, writes it as JSON, and exits with 1 where a proof failed. What
the time does not allow is a line that says so.
"""

import argparse
import hashlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Runs are forks of a server that imports the libraries: no import may open the GPU there.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"

import psutil
import torch

from support import preloaded
from support.commands import ROOT, only_run
from support.side_by_side import PEER, logged_steps

MODELS = {  # hidden size, layers, heads, inner size
    "base": (768, 12, 12, 3072),
    "minilm": (384, 6, 12, 1536),
    "large": (1024, 24, 16, 4096),
}
TINY = {"tiny": (32, 2, 2, 64)}
STEPS = {27: 150, 128: 60, 512: 40}  # by tokens a text; the first third is not counted
BATCH = 32
TARGETS = {("base", 27): 3.0}  # how many times faster than the tuned Trainer; 1 elsewhere
SECONDS = 40  # that must be left for one more measurement
KILLED = "--kill-itself-at"  # what this script is called with to run and die at a step


class Line(NamedTuple):
    """A line of the table."""

    name: str
    value: str
    ok: bool | None = None  # of a proof; None is a measurement, or what was left out
    numbers: Mapping[str, Any] = {}


class Workshop(NamedTuple):
    """Where and how everything runs."""

    folder: Path
    cpu: bool
    tiny: bool
    deadline: float

    @property
    def models(self) -> dict[str, tuple[int, int, int, int]]:
        return TINY if self.tiny else MODELS

    @property
    def steps(self) -> dict[int, int]:
        return {27: 12, 128: 6} if self.tiny else STEPS

    @property
    def proof(self) -> str:
        """The model of the proofs."""
        return "tiny" if self.tiny else "minilm"


# Models, rows, runs


def write_model(folder: Path, sizes: tuple[int, int, int, int]) -> None:
    from support.tiny_models import word_pieces

    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = {"model_type": "bert", "max_position_embeddings": 512, "vocab_size": 30522}
    tokenizer = word_pieces()
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config | dict(zip(names, sizes, strict=True))))


def write_rows(folder: Path, tokens: int, count: int) -> None:
    """Write texts of so many tokens, all alike; of 27 the mean of 10 to 44, as sentences are."""
    from support.tiny_models import WORDS

    dice = random.Random(0)
    folder.mkdir(parents=True)
    for split, rows in {"train": count, "validation": 64, "test": 64}.items():
        lines = ["text,label"]
        for i in range(rows):
            length = dice.randint(10, 44) if tokens == 27 else tokens
            words = [WORDS[i % 2], *dice.choices(WORDS[2:], k=length - 3)]
            lines.append(f"{' '.join(words)},{'ab'[i % 2]}")
        (folder / f"{split}.csv").write_text("\n".join(lines))


def overrides(shop: Workshop, model: str, tokens: int, name: str, *own: str) -> list[str]:
    files = [f"data.{s}_file={shop.folder}/{tokens}/{s}.csv" for s in ("train", "validation")]
    return [
        *("data=files", *files, f"data.test_file={shop.folder}/{tokens}/test.csv"),
        *("model=base", f"model.path={shop.folder}/{model}", "model.pretrained=false"),
        f"data.max_length={max(tokens, 64)}",
        f"data.batch_size={BATCH}",
        f"trainer={'cpu' if shop.cpu else 'gpu'}",
        "trainer.max_epochs=null",
        "callbacks.progress=false",
        f"paths.runs={shop.folder}/runs",
        f"paths.cache={shop.folder}/cache",
        f"name={name}",
        *own,
    ]


def started(words: list[str]) -> subprocess.CompletedProcess[str]:
    return preloaded.command([str(ROOT / "train.py"), *words], timeout=300)


def trained(shop: Workshop, model: str, tokens: int, name: str, *own: str) -> Path:
    """Train; return the run's directory. Raises RuntimeError with what the run said."""
    done = started(overrides(shop, model, tokens, name, *own))
    if done.returncode != 0:
        raise RuntimeError(last_line(done))
    return only_run(shop.folder, name)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return f"exit code {done.returncode}: {lines[-1] if lines else 'no word'}"


def short(steps: int, *own: str) -> list[str]:
    return [f"trainer.max_steps={steps}", "trainer.log_every_n_steps=1", "test=false", *own]


def fingerprint(run: Path) -> dict[str, Any]:
    """Return what two equal runs have in common: weights, scores, each loss."""
    return {
        "weights": hashlib.sha256((run / "model/model.safetensors").read_bytes()).hexdigest(),
        "metrics": json.loads((run / "metrics.json").read_text())["scores"],
        "losses": [loss.hex() for loss in losses_of(run)],
    }


def losses_of(run: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


# Proofs


def proofs(shop: Workshop) -> Iterator[tuple[str, Callable[[], Line]]]:
    yield "a repeat is equal to the bit", lambda: repeat_and_resume(shop)
    yield "graph equals eager", lambda: graph_equals_eager(shop)
    for precision in ("32", "bf16-mixed", "16-mixed"):
        yield f"precision {precision}", lambda p=precision: precision_runs(shop, p)
    for strategy in ("ddp", "fsdp"):
        yield f"{strategy} on one device", lambda s=strategy: strategy_runs(shop, s)
    yield "four trials at a time", lambda: several_trials(shop)
    yield "memory after many trials", lambda: memory_of_trials(shop)
    yield "out of memory is one line", lambda: out_of_memory(shop)


def repeat_and_resume(shop: Workshop) -> Line:
    """Two runs, and one that is killed (SIGKILL) and resumed, are equal to the bit."""
    own = short(20, "callbacks.checkpoint.every_n_steps=5", "trainer.val_check_interval=10")
    prints = [fingerprint(trained(shop, shop.proof, 27, f"r{i}", *own)) for i in range(2)]
    words = overrides(shop, shop.proof, 27, "killed", *own)
    died = preloaded.command([__file__, KILLED, "13", *words], timeout=300)
    if died.returncode != -9:
        raise RuntimeError(f"not killed: {last_line(died)}")
    prints.append(fingerprint(trained(shop, shop.proof, 27, "killed", *own, "resume=auto")))
    first = prints[0]
    apart = [
        f"{name}: {key}"
        for name, one in zip(("repeat", "resume"), prints[1:], strict=True)
        for key in first
        if one[key] != first[key]
    ]
    value = "repeat and SIGKILL + resume are" if not apart else f"not equal: {', '.join(apart)}"
    return Line("equal to the bit", value, not apart)


def graph_equals_eager(shop: Workshop) -> Line:
    """The losses of 20 steps in float32 with dropout, by CUDA graphs and without: within 1e-5.

    All texts have 128 tokens, a length that batches are padded to: both draw the same dropout.
    """
    if shop.cpu:
        return Line("graph equals eager", "left out: needs a GPU")
    own = short(20, "trainer.precision=32")
    runs = {on: trained(shop, shop.proof, 128, f"g{on}", *own, graphs(on)) for on in (True, False)}
    apart = max(abs(a - b) for a, b in zip(*map(losses_of, runs.values()), strict=True))
    log = (runs[True] / "train.log").read_text()
    fell_back = "steps are no CUDA graphs" in log
    value = log.split("steps are no CUDA graphs: ")[1].splitlines()[0] if fell_back else ""
    value = f"not recorded: {value}" if fell_back else f"losses {apart:.1e} apart"
    return Line("graph equals eager", value, not fell_back and apart < 1e-5, {"apart": apart})


def graphs(on: bool) -> str:
    return f"trainer.cuda_graphs={str(on).lower()}"


def precision_runs(shop: Workshop, precision: str) -> Line:
    name, own = f"precision {precision}", short(8, f"trainer.precision={precision}")
    if shop.cpu and precision == "16-mixed":
        return refused(name, overrides(shop, shop.proof, 27, "p", *own), "ENV-PRECISION")
    loss = losses_of(trained(shop, shop.proof, 27, f"p{precision}", *own))[-1]
    return Line(name, f"loss {loss:.4f} after 8 steps", math.isfinite(loss), {"loss": loss})


def strategy_runs(shop: Workshop, strategy: str) -> Line:
    name, own = f"{strategy} on one device", short(8, f"trainer.strategy={strategy}")
    if shop.cpu and strategy == "fsdp":
        return refused(name, overrides(shop, shop.proof, 27, "s", *own), "ENV-DEVICE")
    loss = losses_of(trained(shop, shop.proof, 27, strategy, *own))[-1]
    return Line(name, f"loss {loss:.4f} after 8 steps", math.isfinite(loss), {"loss": loss})


def refused(name: str, words: list[str], code: str) -> Line:
    """Expect one line of an error."""
    said = started(words).stderr.strip()
    return Line(name, said, said.startswith(f"error[{code}]") and "\n" not in said)


def searched(shop: Workshop, name: str, trials: int, workers: int) -> float:
    """Search so many trials of a few steps; return the seconds it took."""
    words = overrides(shop, shop.proof, 27, name, *short(4 if shop.tiny else 30))
    words += ["search=random", f"search.trials={trials}", "search.confirm.top=0", f"study={name}"]
    words += [f"executor.workers={workers}", "optimizer.lr=tag(log,interval(1e-5,1e-3))"]
    begin = time.monotonic()
    done = started(["-m", *words])
    if done.returncode != 0:
        raise RuntimeError(last_line(done))
    summary = json.loads((shop.folder / "runs" / name / "summary.json").read_text())
    if summary["counts"]["complete"] != trials:
        raise RuntimeError(f"of {trials} trials: {summary['counts']}")
    return time.monotonic() - begin


def several_trials(shop: Workshop) -> Line:
    trials, workers = (2, 2) if shop.tiny else (8, 4)
    seconds = searched(shop, "several", trials, workers)
    value = f"{trials} trials in {seconds:.0f} s, the start included"
    return Line(f"{workers} trials at a time", value, True, {"seconds": seconds})


def memory_of_trials(shop: Workshop) -> Line:
    """Trials in one worker, one after the other: the last ones need no more than the second."""
    trials = 6 if shop.tiny else 16
    with sampled_memory(shop) as samples:
        searched(shop, "many", trials, 1)
    ends = [f.stat().st_mtime for f in (shop.folder / "runs/many/trials").glob("*/metrics.json")]
    begin, middle, *_, last = sorted(ends)
    first = statistics.median(used for at, used in samples if begin < at <= middle)
    second = statistics.median(used for at, used in samples if middle < at <= last)
    value = f"{trials} trials: {first / 1e6:,.0f} MB, then {second / 1e6:,.0f} MB"
    numbers = {"first": first, "second": second}
    return Line("memory after many trials", value, second < 1.15 * first, numbers)


@contextmanager
def sampled_memory(shop: Workshop) -> Iterator[list[tuple[float, int]]]:
    """Note often what is used of the GPU, or by our processes on the CPU: (time, bytes)."""
    samples, ended = list[tuple[float, int]](), threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            samples.append((time.time(), memory_in_use(shop)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def memory_in_use(shop: Workshop) -> int:
    if not shop.cpu:
        free, total = torch.cuda.mem_get_info()
        return total - free
    used = 0
    for process in psutil.Process().children(recursive=True):
        try:
            used += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return used


def out_of_memory(shop: Workshop) -> Line:
    """One batch of a thousand texts of 512 tokens; on the CPU a layer that no machine holds."""
    if shop.cpu:
        words = overrides(shop, shop.proof, 27, "oom", *short(2))
        words += ["+model.sizes.intermediate_size=2000000000"]
    else:
        own = short(2, "data.batch_size=1280", "trainer.precision=32")
        words = overrides(shop, "large", 512, "oom", *own)
    return refused("out of memory is one line", words, "TRAIN-OOM")


# Speed


def measurements(shop: Workshop) -> Iterator[tuple[str, Callable[[], Line]]]:
    for model in shop.models:
        for tokens in shop.steps:
            name = f"{model}, {tokens} tokens"
            yield name, lambda m=model, t=tokens: step_times(shop, m, t)
        if model in ("base", "tiny"):
            yield f"checkpoints of {model}", lambda m=model: checkpoint_share(shop, m)


def step_times(shop: Workshop, model: str, tokens: int) -> Line:
    """Return ms/step of ours and of the tuned Trainer, their ratio and whether it is the target.

    Of one model also without CUDA graphs, and by the Trainer's defaults.
    """
    more, ms = model in ("base", "tiny"), {"ours": ours_ms(shop, model, tokens)}
    if more and not shop.cpu:
        ms["ours, eager"] = ours_ms(shop, model, tokens, graphs(False))
    for form in ("tuned", "default") if more else ("tuned",):
        ms[f"Trainer {form}"] = peer_ms(shop, model, tokens, form)
    ratio, least = ms["Trainer tuned"] / ms["ours"], TARGETS.get((model, tokens), 1.0)
    said = "reached" if ratio >= least else "falls short"
    times = ", ".join(f"{name} {value:.1f}" for name, value in ms.items())
    value = f"{times}: tuned/ours {ratio:.2f}, at least {least}: {said}"
    numbers = {**ms, "ratio": ratio, "at_least": least, "falls_short": ratio < least}
    return Line(f"ms/step, {model}, {tokens} tokens", value, None, numbers)


def ours_ms(shop: Workshop, model: str, tokens: int, *own: str) -> float:
    steps = shop.steps[tokens]
    often = 1 if shop.tiny else 5
    words = short(steps, f"trainer.log_every_n_steps={often}", "trainer.limit_val_batches=1")
    words += ["callbacks.checkpoint.keep=none", *own]
    name = hashlib.sha256(f"{model}{tokens}{own}".encode()).hexdigest()[:12]
    return steady_ms(logged_steps(trained(shop, model, tokens, name, *words)), steps)


def peer_ms(shop: Workshop, model: str, tokens: int, form: str) -> float:
    output = shop.folder / f"peer-{model}-{tokens}-{form}"
    output.mkdir()
    asked = {"form": form, "model": str(shop.folder / model), "data": f"{shop.folder}/{tokens}"}
    asked |= {"output": str(output), "max_steps": shop.steps[tokens], "batch_size": BATCH}
    asked |= {"max_length": max(tokens, 64), "learning_rate": 1e-5, "epochs": 1, "seed": 0}
    asked |= {"cpu": shop.cpu, "bf16": True, "workers": 0 if shop.cpu else 4}
    done = preloaded.command([str(PEER), json.dumps(asked)], timeout=300)
    if done.returncode != 0:
        raise RuntimeError(last_line(done))
    ends = json.loads((output / "result.json").read_text())["step_ends"]
    return steady_ms({int(step): end for step, end in ends.items()}, shop.steps[tokens])


def steady_ms(ends: Mapping[int, float], steps: int) -> float:
    """Return the mean milliseconds of a step after the first third, by when some steps ended."""
    known = [step for step in sorted(ends) if step > steps / 3]
    return 1e3 * (ends[known[-1]] - ends[known[0]]) / (known[-1] - known[0])


def checkpoint_share(shop: Workshop, model: str) -> Line:
    """Return the share of training that checkpoints take where each epoch takes some seconds.

    What three epochs take beyond their steps at the pace between their ends. A validation of one
    batch is part of it.
    """
    steps = shop.steps[27]
    own = [f"trainer.limit_train_batches={steps}", "trainer.log_every_n_steps=1"]
    own += ["trainer.limit_val_batches=1", "test=false", "trainer.max_epochs=3"]
    ends = logged_steps(trained(shop, model, 27, f"checkpoints-{model}", *own))
    inside = [ends[s + 1] - ends[s] for s in range(steps // 3, 3 * steps) if s % steps]
    total = ends[3 * steps] - ends[steps // 3]
    share = 1 - statistics.mean(inside) * (3 * steps - steps // 3) / total
    value = f"{share:.1%} of {total:.1f} s, epochs of {steps} steps"
    return Line(f"checkpoints of {model}", value, None, {"share": share})


# The whole


def report(shop: Workshop) -> list[Line]:
    """Do all of it, one after the other; a failure is a line, and the next one follows."""
    for model, sizes in shop.models.items():
        write_model(shop.folder / model, sizes)
    for tokens, steps in shop.steps.items():
        write_rows(shop.folder / str(tokens), tokens, BATCH * (steps + 2))
    lines = []
    for name, check in [*proofs(shop), *measurements(shop)]:
        if time.monotonic() + SECONDS > shop.deadline:
            lines.append(Line(name, "left out: the time is up"))
        else:
            lines.append(line_of(name, check))
        print(f"{lines[-1].name:<32} {mark(lines[-1])} {lines[-1].value}", flush=True)
    return lines


def line_of(name: str, check: Callable[[], Line]) -> Line:
    try:
        return check()
    except Exception as error:  # reported as a failure of this check, whatever it is
        return Line(name, f"{type(error).__name__}: {error}"[:300], False)


def mark(line: Line) -> str:
    return {True: "ok  ", False: "FAIL", None: "    "}[line.ok]


def kill_itself(step: int, words: list[str]) -> None:
    """Train, and die by SIGKILL when this step is about to start."""
    from support.kills import at_batch, train

    at_batch(step, "SIGKILL")
    train(words)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--tiny", action="store_true", help="small models, few steps")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/benchmarks/gpu.json")
    asked = parser.parse_args(arguments)
    if asked.device == "gpu" and not torch.cuda.is_available():
        print("no GPU is visible: nothing was proved or measured")
        return 0
    from support.benchmark_report import facts

    with tempfile.TemporaryDirectory() as folder:
        deadline = time.monotonic() + 60 * asked.minutes
        shop = Workshop(Path(folder), asked.device == "cpu", asked.tiny, deadline)
        lines = report(shop)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    results = {"lines": [line._asdict() for line in lines], **facts()}
    asked.output.write_text(json.dumps(results, indent=1))
    return int(any(line.ok is False for line in lines))


if __name__ == "__main__":
    if sys.argv[1:2] == [KILLED]:
        kill_itself(int(sys.argv[2]), sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
