"""Runs that are killed, ended or stopped at a step and resumed: a script, so that it may fork.

    python tests/support/kills.py FOLDER PRECISION ACCUMULATE INTERVAL WORKERS KIND:STEP ...

A kind is a signal, or pause_at_step; a step is a batch's number, or one of PLACES. Imports
once, then forks a child a run (torch's threads do not survive a fork: this process computes
nothing). Prints a JSON object: the undisturbed run, and each case, as fingerprints.
"""

import hashlib
import importlib
import itertools
import json
import os
import pkgutil
import shutil
import signal
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir

from support.commands import make_inputs, use_inputs
from support.preloaded import LIBRARIES
from tunesmith.runtime.fast_import import fast_import


def overrides(folder: Path, precision: str, micro_batches: int, interval: str, workers: int):
    return [
        *use_inputs(folder),
        "data.batch_size=4",
        "data.eval_batch_size=4",
        "data.bucket_window=2",
        f"data.workers={workers}",
        "model.hidden_dropout=0.1",
        "trainer.max_epochs=2",
        f"trainer.precision={precision}",
        f"trainer.micro_batches={micro_batches}",
        f"trainer.val_check_interval={interval}",
        "trainer.log_every_n_steps=1",
        "callbacks.checkpoint.every_n_steps=1",
        "callbacks.progress=false",
        "name=kills",
        f"paths.cache={folder}/cache",
    ]


def train(arguments: list[str]) -> None:
    from tunesmith.config import CONF
    from tunesmith.errors import Interrupted
    from tunesmith.pipeline.train import train as run

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", arguments)
    try:
        run(cfg)
    except Interrupted:
        os._exit(75)


PLACES = {  # what is about to be called where a run is to be disturbed outside of its steps
    "rows": "tunesmith.pipeline.inputs.read",
    "model": "tunesmith.pipeline.components.load_model",
    "encoding": "tunesmith.pipeline.components.DataModule",
    "optimizer": "tunesmith.training.lightning_module.TaskModule.configure_optimizers",
    "loader": "tunesmith.data.batching.datamodule.DataModule.train_dataloader",
    "saving": "tunesmith.pipeline.finalize.save_model",
    "testing": "tunesmith.pipeline.finalize.evaluate",
    # Of the third checkpoint, which a thread writes: its file has no name yet; the manifest is old.
    "flushing": "tunesmith.runtime.atomic_files.HashedFile.flush",
    "recording": "tunesmith.training.checkpoint_io.write_manifest",
}
CALL = {"flushing": 3, "recording": 3}  # the how manieth is disturbed, where not the first


def arrange(step: str, kind: str) -> None:
    """Have this process send itself a signal at a batch or a place."""
    if step in PLACES:
        at_call(PLACES[step], kind, CALL.get(step, 1))
    else:
        at_batch(int(step), kind)


def at_call(name: str, kind: str, number: int) -> None:
    path, _, last = name.rpartition(".")
    owner = pkgutil.resolve_name(path)
    original = getattr(owner, last)
    calls = itertools.count(1)

    def call(*arguments, **options):
        if next(calls) == number:
            os.kill(os.getpid(), getattr(signal, kind))
        return original(*arguments, **options)

    setattr(owner, last, call)


def at_batch(number: int, kind: str) -> None:
    """Arrange for a signal when the given batch is about to start."""
    from tunesmith.training.step_seeds import SeedEachStep

    seed = SeedEachStep.on_train_batch_start

    def start(self, trainer, module, batch, index):
        if trainer.fit_loop.epoch_loop.total_batch_idx == number:
            os.kill(os.getpid(), getattr(signal, kind))
        seed(self, trainer, module, batch, index)

    SeedEachStep.on_train_batch_start = start


def child(folder: Path, arguments: list[str], kind: str = "", step: str = "") -> int:
    pid = os.fork()
    if pid == 0:
        out = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            if kind:
                arrange(step, kind)
            train(arguments)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fingerprint(runs: Path) -> dict:
    """Say what a finished run left: hashes of weights and state, metrics, event scalars."""
    directories = list((runs / "kills").iterdir())
    assert len(directories) == 1, f"one run directory, not {directories}"
    pid = os.fork()  # torch and tensorboard compute here: in a child
    if pid == 0:
        print_to = runs / "fingerprint.json"
        print_to.write_text(json.dumps(_read(directories[0])))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads((runs / "fingerprint.json").read_text())


def _read(run: Path) -> dict:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from tunesmith.training import checkpoint_io

    last = checkpoint_io.read(run / "checkpoints/last.ckpt")
    best = checkpoint_io.read(run / "checkpoints/best.ckpt")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        "weights": _hash(last["state_dict"]),
        "optimizer": _hash([last["optimizer_states"], last["lr_schedulers"]]),
        "best": _hash([best["state_dict"], best["global_step"]]),
        "metrics": (run / "metrics.json").read_text(),
        "scalars": {
            tag: [[e.step, e.value.hex()] for e in events.Scalars(tag)]
            for tag in sorted(events.Tags()["scalars"])
        },
    }


def _hash(value) -> str:
    import torch

    digest = hashlib.sha256()

    def add(value) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().view(-1).float().numpy().tobytes())
        elif isinstance(value, dict):
            for key, item in value.items():
                digest.update(str(key).encode())
                add(item)
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(value)
    return digest.hexdigest()


def case(folder: Path, arguments: list[str], kind: str, step: str) -> dict:
    """Disturb a run there (or end it at a step), resume it, and say what came out."""
    runs = folder / f"{kind}-{step}"
    shutil.rmtree(runs, ignore_errors=True)
    here = [*arguments, f"paths.runs={runs}"]
    if kind == "pause_at_step":
        first = child(folder, [*here, f"trainer.pause_at_step={step}"])
    else:
        first = child(folder, here, kind, step)
    left = [json.loads(file.read_text())["state"] for file in runs.rglob("status.json")]
    second = child(folder, [*here, "resume=auto"])
    result = fingerprint(runs) if second == 0 else {}
    shutil.rmtree(runs)
    return {"codes": [first, second], "left": left, **result}


def main() -> None:
    folder = Path(sys.argv[1])
    precision, micro_batches, interval, workers, *cases = sys.argv[2:]
    arguments = overrides(folder, precision, int(micro_batches), interval, int(workers))
    if not (folder / "model").exists():
        make_inputs_in_child(folder)
    with fast_import():
        for name in [*LIBRARIES, "tunesmith.pipeline.train"]:  # once, for all the children
            importlib.import_module(name)

    undisturbed = folder / "undisturbed"
    shutil.rmtree(undisturbed, ignore_errors=True)
    code = child(folder, [*arguments, f"paths.runs={undisturbed}"])
    assert code == 0, (folder / "output.txt").read_text()[-3000:]
    disturbed = {name: case(folder, arguments, *name.split(":")) for name in cases}
    print(json.dumps({"undisturbed": fingerprint(undisturbed), "cases": disturbed}))


def make_inputs_in_child(folder: Path) -> None:
    pid = os.fork()
    if pid == 0:
        make_inputs(folder, train=26, validation=10, test=6)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main()
