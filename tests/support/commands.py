"""Running the program as a user does, on small made files and a tiny BERT."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support import preloaded
from support.tiny_models import sentences, tiny_bert

ROOT = Path(__file__).parents[2]


def csv_file(path: Path, count: int, seed: int = 0) -> Path:
    """Write a csv whose label can be learnt: the word that starts the text."""
    rows = [
        f"{['awful', 'lovely'][i % 2]} {text},{['neg', 'pos'][i % 2]}"
        for i, text in enumerate(sentences(count, seed=seed))
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def make_inputs(folder: Path, train: int = 40, validation: int = 16, test: int = 16) -> None:
    """Make a file of so many rows for each split, and a model, below `folder`."""
    counts = {"train": train, "validation": validation, "test": test}
    for seed, (split, count) in enumerate(counts.items()):
        csv_file(folder / f"{split}.csv", count, seed)
    tiny_bert(folder / "model")


def use_inputs(folder: Path) -> list[str]:
    """Return the overrides that use what `make_inputs` made."""
    return [
        "data=files",
        f"data.train_file={folder}/train.csv",
        f"data.validation_file={folder}/validation.csv",
        f"data.test_file={folder}/test.csv",
        "data.max_length=32",
        "model=base",
        f"model.path={folder}/model",
        "optimizer.lr=1e-3",
        "trainer.num_threads=1",
    ]


def small(folder: Path, rows: int = 40) -> list[str]:
    """Make inputs below `folder`; return the overrides of a run that takes a few seconds."""
    make_inputs(folder, train=rows)
    return [*use_inputs(folder), "data.batch_size=8", f"paths.runs={folder}/runs"]


def train(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    """Run `python train.py` with the arguments; output is captured."""
    return command([str(ROOT / "train.py"), *arguments], **options)


def tunesmith(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    """Run the `tunesmith` command."""
    return command(["-m", "tunesmith.cli.main", *map(str, arguments)], **options)


def command(arguments: list[str], env=None, **options) -> subprocess.CompletedProcess[str]:
    """Run Python: forked with the libraries imported, or anew where more than that is asked."""
    if env is None and options.keys() <= {"timeout", "cwd"}:
        return preloaded.command(arguments, **options)
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        **{"timeout": 240, "stdin": subprocess.DEVNULL, **options},
    )


def searched(folder: Path, arguments: list[str]) -> tuple[subprocess.CompletedProcess[str], dict]:
    """Search learning rates over three trials of a run; return what it printed and its summary."""
    search = ["search=asha", "search.trials=3", "search.policy.rungs=[1/2,1]", "study=rates"]
    search += ["search.confirm.top=0", "executor.workers=1", "search/sampler=random"]
    words = [word for word in arguments if not word.startswith("optimizer.lr")]
    rates = "optimizer.lr=1e-3,5e-3,1e-2"
    done = train(["-m", *words, *search, rates, f"paths.runs={folder}/runs"])
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((folder / "runs/rates/summary.json").read_text())
    assert len(summary["trials"]) == 3
    assert all(0 <= trial["score"] <= 1 for trial in summary["trials"])
    return done, summary


def only_run(folder: Path, name: str = "default") -> Path:
    """Return the one run directory below folder/runs."""
    directories = [p for p in (folder / "runs" / name).iterdir() if p.is_dir()]
    assert len(directories) == 1, directories
    return directories[0]
