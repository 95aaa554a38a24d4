"""Points of a space: what is active, how a point is written, the order of a grid; its identity."""

import json

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from support.spaces import CONDITIONAL, FROZEN, LR, composer, space_of, values_of
from tunesmith.search.space.diff import differences
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.quoting import quoted
from tunesmith.search.space.space import Space


def test_a_condition_decides_what_is_active():
    def keys(**params):
        given = {key.replace("__", "."): value for key, value in params.items()}
        return [dimension.key for dimension in CONDITIONAL.active(given)]

    assert keys() == [LR, "adapt"]
    assert keys(adapt="full", adapt__layers=2) == [LR, "adapt"]
    assert keys(adapt="frozen", adapt__layers=1) == ["adapt.layers", LR, "adapt"]
    assert keys(adapt="frozen", adapt__layers=2)[-1] == "scheduler.warmup"


def test_the_blocks_of_a_space_share_their_conditions():
    keys = [[dimension.key for dimension in block] for block in CONDITIONAL.blocks]
    assert keys == [[LR, "adapt"], ["adapt.layers"], ["scheduler.warmup"]]


def test_a_point_is_written_groups_first_and_without_what_is_inactive():
    params = {LR: 1e-5, "adapt": "full", "adapt.layers": 2}
    assert CONDITIONAL.overrides(params) == ["adapt=full", "optimizer.lr=1e-05"]
    assert CONDITIONAL.overrides({"adapt": "frozen", "adapt.layers": 2}) == [
        "adapt=frozen", "adapt.layers=2",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"other keys than the space's: optimizer\.lrr"):
        CONDITIONAL.overrides({"optimizer.lrr": 1})


def test_a_written_point_is_read_back():
    space = space_of(
        "+optimizer.maximize=true,false", "optimizer.lr=interval(1e-5,1e-4)", space=FROZEN
    )
    params = {"adapt": "frozen", "adapt.layers": 2, LR: 1 / 30000, "optimizer.maximize": True}
    cfg = composer()(space.overrides(params))
    assert cfg.optimizer.lr == 1 / 30000
    assert (cfg.adapt.layers, cfg.optimizer.maximize) == (2, True)


def test_a_grid_runs_in_the_order_of_hydra():
    texts = ["optimizer.lr=1e-5,3e-5", "adapt=frozen,full", "data.batch_size=range(8,25,8)"]
    space = space_of(*texts)
    parsed = OverridesParser.create().parse_overrides(texts)
    (hydras,) = BasicSweeper.split_arguments(parsed, None)
    ours = [[f"{key}={quoted(value)}" for key, value in p.items()] for p in space.points()]
    as_values = [{text.partition("=")[0]: values_of(text) for text in point} for point in hydras]
    assert list(space.points()) == as_values
    assert len(ours) == space.grid_size == 12


def test_points_that_differ_in_what_is_inactive_are_one():
    points = list(CONDITIONAL.points())
    assert CONDITIONAL.grid_size == len(points) == 3 * (1 + 1 + 3)
    assert all(CONDITIONAL.contains(point) for point in points)
    assert len({repr(point) for point in points}) == len(points)


def test_the_size_of_a_huge_grid_is_not_counted_one_by_one():
    dimensions = [Dimension(f"k{i}", "int", 1, 1000, step=1) for i in range(6)]
    assert Space(tuple(dimensions)).grid_size == 1000**6


def test_the_identity_of_a_space_is_plain_json_without_secrets():
    space = space_of(
        "logger.wandb.api_key=hunter22", "logger=wandb", "callbacks.progress=false",
        "trainer.max_epochs=3", "data.revision=https://me:hunter22@x", "+optimizer.token=hunter22",
        space=FROZEN,
    )  # fmt: skip
    kept = json.loads(json.dumps(space.identity()))
    assert kept == space.identity()
    assert kept["fixed"] == [
        "trainer.max_epochs=3", "data.revision=https://me:***@x", "+optimizer.token=***",
    ]  # fmt: skip


def test_two_spaces_are_compared_in_words():
    before = space_of(
        "optimizer.lr=tag(log,interval(1e-5,1e-4))", "seed=1,2", "test=false", space=FROZEN
    )
    now = space_of(
        "optimizer.lr=tag(log,interval(1e-5,2e-4))", "data.batch_size=range(8,33,8)", "name=x",
        space={"adapt": ["full", "frozen"]},
    )  # fmt: skip
    assert differences(before.identity(), before.identity()) == []
    assert differences(before.identity(), now.identity()) == [
        "adapt.layers: 1, 2, when adapt=frozen -> not searched",
        "optimizer.lr: 1e-05 to 0.0001, log -> 1e-05 to 0.0002, log",
        "data.batch_size: not searched -> 8 to 32 by 8, whole",
        "no longer test=false",
        "now name=x",
        "seed: 1, 2 -> not repeated",
    ]
