"""A run imports what it uses, and what is postponed is whole once somebody asks for it."""

import json
import subprocess
import sys

UNUSED = ["optuna", "ray", "sklearn", "nltk", "rouge_score", "tensorflow", "torchvision", "mlflow"]
UNUSED += ["torchmetrics.functional", "torchmetrics.classification", "scipy.signal"]
UNUSED += ["torch._inductor.compile_fx", "torch.utils.tensorboard", "lightning.app", "wandb"]

RUN = """
import json, sys
from tunesmith.runtime.fast_import import fast_import
with fast_import():
    import tunesmith.pipeline.train
print(json.dumps([name for name in {unused} if name in sys.modules]))
import torchmetrics
from lightning.pytorch.core.module import Metric
print(torchmetrics.Metric is Metric, torchmetrics.__version__)
from torchmetrics import AUROC, functional
from torchmetrics.classification import BinaryAccuracy
print(issubclass(AUROC, Metric), issubclass(BinaryAccuracy, Metric), functional.__name__)
print(hasattr(torchmetrics, "no_such"))
"""

OTHER_VERSION = """
import sys
sys.modules["torchmetrics.collections"] = None  # importing it fails
from tunesmith.runtime import fast_import
fast_import._postpone_torchmetrics()
print("torchmetrics" in sys.modules)
"""


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_run_imports_nothing_that_it_does_not_use():
    unused, same, whole, strange = printed(RUN.format(unused=UNUSED))
    assert json.loads(unused) == []
    assert same.split()[0] == "True" and same.split()[1][0].isdigit()
    assert whole == "True True torchmetrics.functional"
    assert strange == "False"


def test_a_torchmetrics_that_is_built_otherwise_is_imported_whole():
    assert printed(OTHER_VERSION) == ["False"]
