"""What we use of Hydra and OmegaConf that is private: if a version changes it, this says so."""

import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from tunesmith import config
from tunesmith.config import hydra_internals
from tunesmith.config.interpolation import resolve

SRC = Path(config.__file__).parents[1]


def test_all_of_it_stands_in_one_module() -> None:
    private = re.compile(r"hydra\._|omegaconf\._|ConfigLoaderImpl|SearchPathQuery")
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


def test_yaml_of_plain_values_is_what_omegaconf_writes_of_a_config() -> None:
    loader = hydra_internals.loader(config.CONF)
    composed = loader.load_configuration("train", [], RunMode.RUN)
    values = {name: composed[name] for name in composed if name != "hydra"}
    plain = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    plain |= {"odd": ["1e-3", "yes", "null", "", "ä: b", "x" * 200, 1e-05, None, {}, {"a": []}]}
    assert hydra_internals.plain_yaml(plain) == OmegaConf.to_yaml(OmegaConf.create(plain))


def test_plain_values_are_resolved_as_the_config_of_them_is() -> None:
    deep: dict = {}
    for _ in range(19):
        deep = {"a": deep}
    for values in (
        {"a": {"b": [1, {"c": None}], "d": 1e-05, "e": True}, "hydra": {}},
        {"a": 2, "b": "${a}", "c": "???"},
        {"a": (1, 2), "b": {1: 2}},
        deep,
    ):
        plain, as_config = resolve(values), resolve(OmegaConf.create(values))
        assert repr(plain[0]) == repr(as_config[0])
        assert [str(error) for _, error in plain[1]] == [str(error) for _, error in as_config[1]]
        assert plain[2] == as_config[2]
