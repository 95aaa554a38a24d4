"""Points near a point: what a copy of a population's member is trained with."""

import pytest

from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.perturb import moved, perturbed
from tunesmith.search.space.space import Space

LR = Dimension("lr", "float", 1e-5, 1e-3, log=True)
LAYERS = Dimension("layers", "int", 1, 12)
WIDTH = Dimension("width", "int", 8, 64, step=8)
SHARE = Dimension("share", "float", 0.0, 0.75, step=0.1)
BETAS = Dimension("betas", "categorical", choices=([0.9, 0.98], [0.9, 0.999], [0.95, 0.999]))


@pytest.mark.parametrize(
    ("dimension", "value", "down", "up"),
    [
        (LR, 1e-4, 8e-5, 1.2e-4),
        (LR, 1.1e-5, 1e-5, 1.32e-5),  # held at the lower end
        (LR, 9e-4, 7.2e-4, 1e-3),
        (LAYERS, 10, 8, 12),
        (LAYERS, 2, 1, 3),  # by one at least
        (LAYERS, 12, 10, 12),
        (WIDTH, 16, 8, 24),
        (WIDTH, 64, 48, 64),  # 51.2 is nearest to 48
        (SHARE, 0.5, 0.4, 0.6),
        (SHARE, 0.7, 0.6, 0.7),  # 0.75 is no value of it
        (BETAS, [0.9, 0.999], [0.9, 0.98], [0.95, 0.999]),
        (BETAS, [0.9, 0.98], [0.9, 0.98], [0.9, 0.999]),
        (Dimension("dropout", "float", 0.0, 0.3), 0.0, 0.0, 0.0),  # only a new draw leaves it
    ],
)
def test_a_setting_moves_by_a_factor_within_its_range(dimension, value, down, up):
    assert moved(dimension, value, 0.8) == (
        down if isinstance(down, list) else pytest.approx(down, rel=1e-12)
    )
    assert moved(dimension, value, 1.2) == (
        up if isinstance(up, list) else pytest.approx(up, rel=1e-12)
    )
    assert dimension.contains(moved(dimension, value, 0.8))
    assert dimension.contains(moved(dimension, value, 1.2))


def test_each_setting_moves_by_itself_and_both_ways_alike():
    space, at = Space((LR, LAYERS)), {"lr": 1e-4, "layers": 10}
    points = [perturbed(space, at, seed, resample_probability=0.0) for seed in range(400)]
    counts = {
        (lr, layers): sum(
            point["lr"] == pytest.approx(lr) and point["layers"] == layers for point in points
        )
        for lr in (8e-5, 1.2e-4)
        for layers in (8, 12)
    }
    assert sum(counts.values()) == 400
    assert all(70 < count < 130 for count in counts.values())
    assert perturbed(space, at, 7) == perturbed(space, at, 7)


def test_a_quarter_is_drawn_anew_over_the_whole_range():
    space = Space((LR,))
    values = [perturbed(space, {"lr": 1e-4}, seed)["lr"] for seed in range(1000)]
    drawn = [v for v in values if v not in (pytest.approx(8e-5), pytest.approx(1.2e-4))]
    assert 200 < len(drawn) < 300
    assert sum(value < 1e-4 for value in drawn) == pytest.approx(len(drawn) / 2, rel=0.2)  # log
    assert min(drawn) < 2e-5 and max(drawn) > 5e-4


def test_what_a_condition_switches_on_is_drawn_and_what_it_switches_off_is_left_out():
    mode = Dimension("mode", "categorical", choices=("plain", "smooth"))
    amount = Dimension("amount", "float", 0.1, 0.2, when={"mode": "smooth"})
    space = Space((amount, mode))  # the condition stands behind what hangs on it
    plain, smooth = {"mode": "plain"}, {"amount": 0.15, "mode": "smooth"}
    for seed in range(20):
        for at in (plain, smooth):
            point = perturbed(space, at, seed)
            assert space.contains(point)
            assert list(point) == [d.key for d in space.active(point)]


def test_what_the_default_has_no_value_of_is_drawn():
    point = perturbed(Space((LR, LAYERS)), {"layers": 10}, 3, resample_probability=0.0)
    assert LR.contains(point["lr"]) and point["layers"] in (8, 12)
