"""Every shipped yaml: composed without a mistake, every leaf under a rule, all in --help."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tunesmith import config
from tunesmith.config import instantiate, schema

CONF = config.CONF
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
# `base` holds what the others share; alone it lacks exactly this.
UNFINISHED = {
    ("model", "base"): [
        "error[CONF-MISSING] model.path: has no value yet; give one: model.path=..."
    ],
    ("data", "files"): [
        "error[CONF-MISSING] data.train_file: no rows to learn from; or set data.path"
    ],
    ("scheduler", "base"): ["error[CONF-TARGET] scheduler: needs a _target_: what to build"],
}
UNFINISHED |= {  # they begin with a vocabulary of the user's
    ("model", f"bert_{size}"): UNFINISHED[("model", "base")] for size in ("tiny", "mini", "small")
}
NEEDS = {("scheduler", "plateau"): [], ("loss", "mse"): ["task=regression"]}
NEEDS[("loss", "binary_cross_entropy")] = ["task=multi_label"]
NEEDS[("loss", "pair_cosine")] = ["task=contrastive"]
NEEDS[("loss", "span_cross_entropy")] = ["task=question_answering"]
NEEDS[("loss", "choice_cross_entropy")] = ["task=multiple_choice"]
NEEDS[("loss", "info_nce")] = ["task=retrieval"]


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_without_a_mistake(group, option):
    cfg = composed(*NEEDS.get((group, option), []), f"{group}={option}")
    mistakes = [str(error) for error in config.check(cfg)]
    assert mistakes == UNFINISHED.get((group, option), [])


@pytest.mark.parametrize("group", schema.TARGET_GROUPS)
def test_shipped_targets_take_the_keys_beside_them(group, monkeypatch):
    ours = instantiate.packaged_nodes()
    monkeypatch.setattr(
        instantiate, "packaged_nodes", dict
    )  # so that every target is imported and asked
    for file in sorted((CONF / group).glob("*.yaml")):
        if file.stem != "base":
            cfg = composed(*NEEDS.get((group, file.stem), []), f"{group}={file.stem}")
            assert cfg[group]["_target_"] in ours
            assert config.check(cfg) == []


def test_every_leaf_of_every_yaml_has_a_rule_or_a_target():
    without = [
        f"{file.relative_to(CONF)}: {path}"
        for file in sorted(CONF.rglob("*.yaml"))
        if file.parent.name not in ("hydra", "space")  # sweep/test_space.py checks the latter
        for path in leaves(file)
        if not is_covered(path)
    ]
    assert without == []


def leaves(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    node = OmegaConf.to_container(OmegaConf.create(text) or OmegaConf.create())
    node.pop("defaults", None)
    is_global = "@package _global_" in text or file.parent == CONF
    folder = ".".join(file.parent.relative_to(CONF).parts)
    group = "" if is_global else f"{folder}."
    return [path for path, _ in schema_leaves(node, group)]


def schema_leaves(node, prefix):
    for key, value in node.items():
        if isinstance(value, dict) and value and f"{prefix}{key}" not in schema.packaged_keys():
            yield from schema_leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_covered(path: str) -> bool:
    built = path.endswith(("_target_", "_partial_")) or path.startswith("logger.")
    return path in schema.packaged_keys() or built


def test_every_rule_is_of_a_key_that_some_yaml_has():
    shipped = {path for file in CONF.rglob("*.yaml") for path in leaves(file)} | {"space"}
    assert sorted(set(schema.packaged_keys()) - shipped) == []


def test_help_names_every_option_and_no_other():
    template = OmegaConf.load(CONF / "hydra" / "default.yaml").help.template
    listed = template.partition("group=option):\n")[2].partition("\n\n")[0]
    words = re.sub(r"\(.*?\)", "", listed)
    named, group = set(), ""
    for line in words.splitlines():
        indented = line.startswith("      ")
        first, _, rest = line.strip().partition(" ")
        group, options = (group, line) if indented else (first, rest)
        named |= {(group, option.strip()) for option in options.split(",") if option.strip()}
    assert named == {(group, option) for group, option in OPTIONS if group != "hydra"}


def test_help_fits_one_screen():
    lines = OmegaConf.load(CONF / "hydra" / "default.yaml").help.template.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_the_examples_of_help_are_right():
    template = OmegaConf.load(CONF / "hydra" / "default.yaml").help.template
    commands = [
        line.split()[2:] for line in template.splitlines() if "  python train.py" in line[:20]
    ]
    assert len(commands) == 4
    for words in commands:
        assert config.check(composed(*(word for word in words if word != "-m"))) == []
