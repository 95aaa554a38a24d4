"""The space of a search, as the command line and a yaml say it."""

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from support.spaces import FROZEN, LR, composed, loader, space_of, told_of_configs
from tunesmith import config
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.parse import read
from tunesmith.search.space.space import Space

SWEEPS = [
    ("optimizer.lr=1e-5,3e-5", Dimension(LR, "categorical", choices=(1e-5, 3e-5))),
    ("optimizer.lr=choice(1e-5)", Dimension(LR, "categorical", choices=(1e-5,))),
    ("optimizer.lr=interval(1e-5,1e-4)", Dimension(LR, "float", 1e-5, 1e-4)),
    ("optimizer.lr=tag(log,interval(1e-5,1e-4))", Dimension(LR, "float", 1e-5, 1e-4, log=True)),
    ("data.batch_size=int(interval(8,64))", Dimension("data.batch_size", "int", 8, 64)),
    (
        "data.batch_size=tag(log, int(interval(8,64)))",
        Dimension("data.batch_size", "int", 8, 64, log=True),
    ),
    ("data.batch_size=range(8,33,8)", Dimension("data.batch_size", "int", 8, 32, step=8)),
    ("data.batch_size=range(8,32,8)", Dimension("data.batch_size", "int", 8, 24, step=8)),
    ("data.batch_size=range(32,0,-8)", Dimension("data.batch_size", "int", 8, 32, step=8)),
    ("data.batch_size=range(8,9,8)", Dimension("data.batch_size", "int", 8, 8, step=8)),
    (
        "scheduler.warmup=range(0,0.3,0.1)",
        Dimension("scheduler.warmup", "float", 0.0, 0.2, step=0.1),
    ),
    (
        "data.batch_size=sort(32,8,16)",
        Dimension("data.batch_size", "categorical", choices=(8, 16, 32)),
    ),
    (
        "adapt=full,frozen",
        Dimension("adapt", "categorical", choices=("full", "frozen"), is_group=True),
    ),
    (
        "adapt=glob(*)",
        Dimension("adapt", "categorical", choices=("frozen", "full"), is_group=True),
    ),
    (
        "model=glob([distil*,bert_b*,mini*],exclude=*_base*)",
        Dimension(
            "model",
            "categorical",
            choices=("distilbert", "distilbert_multilingual", "minilm"),
            is_group=True,
        ),
    ),
    (
        "experiment=null,bbc_news_frozen",
        Dimension("experiment", "categorical", choices=(None, "bbc_news_frozen"), is_group=True),
    ),
    (
        "model.path='a, b',c",
        Dimension("model.path", "categorical", choices=("a, b", "c")),
    ),
    (
        "optimizer.betas=[0.9,0.98],[0.9,0.999]",
        Dimension("optimizer.betas", "categorical", choices=([0.9, 0.98], [0.9, 0.999])),
    ),
    (
        "+optimizer.maximize=true,false",
        Dimension("optimizer.maximize", "categorical", choices=(True, False), prefix="+"),
    ),
    ("++optimizer.lr=1,2", Dimension(LR, "categorical", choices=(1, 2), prefix="++")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dimension"), SWEEPS, ids=[text for text, _ in SWEEPS])
def test_a_sweep_is_a_dimension(text, dimension):
    assert space_of(text).dimensions == (dimension,)


def test_seeds_are_replicates():
    assert space_of("seed=1,2,3") == Space(seeds=(1, 2, 3))
    assert space_of("seed=range(5,8)").seeds == (5, 6, 7)
    assert space_of("seed=4").seeds == ()


def test_what_is_fixed_is_passed_on_without_what_is_of_the_search():
    space = space_of(
        "optimizer.lr=1,2", "+optimizer.maximize=true", "~callbacks.progress", "++seed=3",
        "search.trials=9", "executor.workers=2", "study=s", "hydra.verbose=true", "name='a b'",
        choices=("space=none", "adapt=frozen"),
    )  # fmt: skip
    kept = (
        "adapt=frozen",
        "+optimizer.maximize=true",
        "~callbacks.progress",
        "++seed=3",
        "name='a b'",
    )
    assert space.fixed == kept


def test_an_entry_of_a_yaml_is_a_dimension():
    space = space_of(
        space={
            LR: {"low": 1e-5, "high": 2e-4, "log": True},
            "data.batch_size": {"low": 8, "high": 64, "int": True, "step": 8},
            "scheduler.warmup": {"low": 0, "high": 0.2, "step": 0.05},
            "optimizer.weight_decay": {"choices": [0.0, 0.01]},
            "model": ["minilm", "distilbert"],
        }
    )
    assert space.dimensions == (
        Dimension(LR, "float", 1e-5, 2e-4, log=True),
        Dimension("data.batch_size", "int", 8, 64, step=8),
        Dimension("scheduler.warmup", "float", 0, 0.2, step=0.05),
        Dimension("optimizer.weight_decay", "categorical", choices=(0.0, 0.01)),
        Dimension("model", "categorical", choices=("minilm", "distilbert"), is_group=True),
    )


def test_dotted_keys_of_a_shipped_yaml_stay_whole():
    space = space_of(choices=("space=finetune",))
    assert [d.key for d in space.dimensions] == [
        LR, "data.batch_size", "scheduler.warmup", "optimizer.weight_decay", "model.hidden_dropout",
    ]  # fmt: skip
    assert space.by_key[LR] == Dimension(LR, "float", 1e-5, 2e-4, log=True)
    assert space.fixed == ()


def test_the_published_grid_has_18_points():
    space = space_of(choices=("space=devlin2019",))
    assert all(dimension.is_listed for dimension in space.dimensions)
    assert space.grid_size == len(list(space.points())) == 18


@pytest.mark.parametrize("name", sorted(f.stem for f in (config.CONF / "space").glob("*.yaml")))
def test_every_shipped_space_fits_the_default_config(name):
    assert told_of_configs(choices=(f"space={name}",)) == []
    assert told_of_configs(choices=(f"space={name}", "adapt=frozen")) == []


def test_the_defaults_lie_in_the_space_around_them():
    space, cfg = space_of(choices=("space=finetune",)), composed()
    params = {key: OmegaConf.select(cfg, key) for key in space.by_key}
    assert space.contains(params)


def test_the_command_line_replaces_the_range_of_a_yaml_and_keeps_its_condition():
    space = space_of("adapt.layers=int(interval(3,5))", space=FROZEN)
    replaced = Dimension("adapt.layers", "int", 3, 5, when={"adapt": "frozen"})
    assert [d.key for d in space.dimensions] == ["adapt", "adapt.layers"]
    assert space.by_key["adapt.layers"] == replaced


def test_a_condition_on_what_is_not_searched_is_decided_at_once():
    entries = {"adapt.layers": {"low": 1, "high": 5, "int": True, "when": {"adapt": "frozen"}}}
    assert space_of(space=entries).dimensions == ()
    kept = space_of(space=entries, choices=("adapt=frozen",)).dimensions
    assert kept == (Dimension("adapt.layers", "int", 1, 5),)


def test_what_hangs_on_a_dimension_left_out_is_left_out_too():
    entries = {
        "scheduler.warmup": {"low": 0, "high": 0.2, "when": {"adapt.layers": 2}},
        "adapt.layers": {"choices": [1, 2], "when": {"adapt": "frozen"}},
        LR: {"low": 1e-5, "high": 1e-4, "when": {"seed": [0, 1]}},
    }
    assert [d.key for d in space_of(space=entries).dimensions] == [LR]


def test_a_sweeper_is_handed_a_config_that_can_be_read():
    texts = ["space=finetune", "adapt=full,frozen", "data.batch_size=8,16", "trainer.max_epochs=3"]
    cfg = loader().load_configuration("train", texts, RunMode.MULTIRUN)
    space, mistakes = read(texts, cfg, loader().get_group_options, adaptive=True)
    assert mistakes == []
    assert space.fixed == ("trainer.max_epochs=3",)
    assert [(d.key, dict(d.when)) for d in space.dimensions][-2:] == [
        ("adapt.layers", {"adapt": "frozen"}),
        ("adapt", {}),
    ]
    assert space.by_key["data.batch_size"].choices == (8, 16)
