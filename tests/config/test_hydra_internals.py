"""What we use of Hydra that is private: if its next version changes it, this says what."""

import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from tunesmith import config
from tunesmith.config import hydra_internals

SRC = Path(config.__file__).parents[1]


def test_all_of_it_stands_in_one_module() -> None:
    private = re.compile(r"hydra\._|ConfigLoaderImpl|SearchPathQuery")
    found = [path.name for path in SRC.rglob("*.py") if private.search(path.read_text())]
    assert found == ["hydra_internals.py"]


def test_the_loader_composes_and_knows_the_options_of_a_group() -> None:
    loader = hydra_internals.loader(config.CONF)
    assert "adamw" in loader.get_group_options("optimizer")
    assert loader.get_search_path().get_path()[0].path.startswith(("file://", "pkg://"))
    composed = loader.load_configuration("train", ["optimizer=sgd"], RunMode.MULTIRUN)
    assert composed.hydra.runtime.choices.optimizer == "sgd"
    assert composed.hydra.launcher._target_ == hydra_internals.BASIC_LAUNCHER


def test_choices_are_told_from_values_and_values_are_set() -> None:
    loader = hydra_internals.loader(config.CONF)
    choice, value = OverridesParser.create().parse_overrides(["optimizer=sgd", "optimizer.lr=0.5"])
    assert hydra_internals.is_choice(loader, choice)
    assert not hydra_internals.is_choice(loader, value)
    composed = OmegaConf.create({"optimizer": {"lr": 0.1}})
    hydra_internals.set_values([value], composed)
    assert composed.optimizer.lr == 0.5


def test_the_parser_reads_the_options_of_a_command_line() -> None:
    options = hydra_internals.arguments_parser().parse_args(["-m", "a=1", "--config-dir", "x"])
    assert options.multirun and options.overrides == ["a=1"] and options.config_dir == "x"
    assert options.experimental_rerun is None and options.config_name is None
