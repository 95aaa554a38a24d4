"""What a target's arguments may be is read from its signature, without importing it."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.runs import composed
from tunesmith import config
from tunesmith.config import instantiate, schema
from tunesmith.config.signatures import arguments
from tunesmith.runtime.options import describe

OURS = sorted(n for n in instantiate.packaged_targets() if n.startswith("tunesmith."))


@pytest.mark.parametrize("name", OURS)
def test_a_signature_that_is_read_is_the_one_that_is_called(name: str) -> None:
    takes, _ = arguments(name)
    real, _ = instantiate.parameters(instantiate.resolve(name))
    assert takes == real


def test_a_mistake_in_a_target_is_told_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from tunesmith import config\n"
        "from hydra import compose, initialize_config_dir\n"
        "with initialize_config_dir(str(config.CONF), version_base='1.3'):\n"
        "    cfg = compose('train', ['+task.x=1', 'loss.label_smoothing=2'])\n"
        "print('torch' in sys.modules, *config.check(cfg), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "False",
        "error[CONF-RANGE] loss.label_smoothing=2: must be a number >= 0 and < 1",
        "error[CONF-KEY] task.x: tunesmith.tasks.classification.Classification takes no 'x'; "
        "remove it: ~task.x",
    ]


def test_a_task_of_the_users_own_says_its_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_ranged.py").write_text(
        "from typing import Annotated, Any, Literal\n"
        "from annotated_types import Gt, Lt\n"
        "from tunesmith.tasks.classification import Classification\n"
        "class Mine(Classification):\n"
        "    def __init__(self, *, margin: Annotated[float, Gt(0), Lt(1)],\n"
        "                 norm: Literal['l1', 'l2'], **common: Any) -> None:\n"
        "        super().__init__(**common)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["task._target_=my_ranged.Mine", "trust=[my_ranged]"]
    cfg = composed(*own, "+task.margin=1.5", "+task.norm=l3")
    assert [str(error) for error in config.check(cfg)] == [
        "error[CONF-RANGE] task.margin=1.5: must be a number > 0 and < 1",
        "error[CONF-CHOICE] task.norm=l3: must be one of l1, l2",
    ]
    assert config.check(composed(*own, "+task.margin=0.5", "+task.norm=l1")) == []


def test_every_key_says_what_it_may_be() -> None:
    vague = {path for path, keys in schema.packaged_keys().items() for key in keys
             if describe(key.annotation) == "any value"}  # fmt: skip
    assert vague == set()
