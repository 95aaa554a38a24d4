"""What a config may name: refused by name, before anything is imported."""

import sys
from typing import ClassVar

import pytest

from tunesmith.config import instantiate
from tunesmith.errors import ConfigError, SafetyError

EVIL = [
    "os.system",
    "posix.system",
    "subprocess.run",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "functools.partial",
    "importlib.import_module",
    "pickle.loads",
    "torch.load",
    "torch.hub.load",
    "torch.utils.data.DataLoader",
    "torchvision.models.resnet18",
    "torch.optimizer.X",
    "tunesmithy.anything",
    "hydra.utils.instantiate",
    "lightning.pytorch.Trainer",
    "transformers.pipeline",
    "shutil.rmtree",
    "runpy.run_path",
    "",
    ".os.system",
    None,
    3,
    ["os.system"],
]


@pytest.mark.parametrize("name", EVIL)
def test_a_strange_target_is_refused(name):
    for check in (instantiate.check, instantiate.check_saved_targets):
        (error,) = check({"a": [{"b": {"_target_": name}}]})
        assert (error.code, error.exit_code) == ("UNSAFE-TARGET", 8)
        assert error.where == f"a.0.b._target_={name}"


def test_a_refused_module_is_never_imported(tmp_path, monkeypatch):
    canary = tmp_path / "ran"
    (tmp_path / "evil_module.py").write_text(f"open({str(canary)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SafetyError, match="UNSAFE-TARGET"):
        instantiate.instantiate(
            {"_target_": "tunesmith.errors.SeveralError", "x": {"_target_": "evil_module.f"}}
        )
    assert not canary.exists()
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "tunesmith.cli.entry.os.system",
        "tunesmith.config.instantiate.importlib.import_module",
        "tunesmith.errors.Iterable",
    ],
)
def test_what_a_trusted_module_imported_is_not_trusted(name):
    with pytest.raises(SafetyError, match="which is not trusted"):
        instantiate.resolve(name)


@pytest.mark.parametrize(
    "name", ["tunesmith.config.instantiate._built", "tunesmith.errors.SeveralError.__init__"]
)
def test_private_names_are_refused(name):
    with pytest.raises(ConfigError):
        instantiate.resolve(name)


def test_a_stored_run_may_name_what_we_ship_and_torch_optimizers_and_schedulers():
    fine = ["tunesmith.tasks.classification.Classification", "torch.optim.Rprop"]
    fine += ["torch.optim.lr_scheduler.StepLR"]
    assert instantiate.check_saved_targets([{"_target_": name} for name in fine]) == []


@pytest.mark.parametrize(
    "name",
    [
        "tunesmith.cli.entry.run_cli",
        "torch.optim.sgd.SGD",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.lr_scheduler",
        "torch.nn.Linear",
        "lightning.pytorch.callbacks.LambdaCallback",
    ],
)
def test_a_stored_run_may_name_nothing_else_of_trusted_packages(name):
    (error,) = instantiate.check_saved_targets({"_target_": name})
    assert error.exit_code == 8


def test_your_own_package_is_trusted_when_you_say_so():
    node = {"_target_": "my_package.Lion"}
    assert instantiate.check(node) != []
    assert instantiate.check(node, ["my_package"]) == []
    assert instantiate.check_saved_targets(node, ["my_package"]) == []
    assert instantiate.check({"_target_": "my_package_evil.Lion"}, ["my_package"]) != []


def test_build_calls_with_values_and_what_is_given():
    node = {"_target_": "torch.nn.Linear", "in_features": 2}
    made = instantiate.instantiate(node, out_features=3, bias=False)
    assert tuple(made.weight.shape) == (3, 2)


def test_build_binds_where_the_node_is_partial():
    import torch

    make = instantiate.instantiate(
        {"_target_": "torch.optim.AdamW", "_partial_": True, "betas": [0.8, 0.9]}
    )
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5}]
    optimizer = make(groups)
    assert type(groups[0]) is dict
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_what_is_given_is_not_copied():
    labels = ["a", "b"]
    make = instantiate.instantiate(
        {"_target_": "tunesmith.errors.SeveralError", "_partial_": True}, errors=labels
    )
    assert make.keywords["errors"] is labels


def test_a_call_that_fails_is_a_config_error():
    with pytest.raises(ConfigError, match=r"error\[CONF-TARGET\] torch.nn.Linear: .*in_featres"):
        instantiate.instantiate({"_target_": "torch.nn.Linear", "in_featres": 2})


@pytest.mark.parametrize("key", ["_args_", "_convert_", "_recursive_", "_mode_"])
def test_other_keys_of_hydra_are_refused(key):
    with pytest.raises(ConfigError, match="is not supported"):
        instantiate.instantiate({"_target_": "torch.nn.Linear", key: [1]})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torch.optim.AdmW", "did you mean 'AdamW'?"),
        ("tunesmith.nope.X", "tunesmith has no 'nope'"),
        ("torch.optim.lr_scheduler.EPOCH_DEPRECATION_WARNING", "is not a class or a function"),
        ("torch.optim.a b", "is not the dotted name"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(name, says):
    with pytest.raises(ConfigError) as caught:
        instantiate.resolve(name)
    assert says in str(caught.value)


class Base:
    def __init__(self, model, seed=1):
        self.model, self.seed = model, seed


class Child(Base):
    x: ClassVar[int] = 1

    def __init__(self, *args, threshold, **kwargs):
        super().__init__(*args, **kwargs)
        self.threshold = threshold


def test_a_class_takes_what_its_bases_take():
    assert instantiate.parameters(Child) == (
        {"threshold": True, "model": True, "seed": False},
        False,
    )
