"""Dimensions: places, values, steps."""

import math

import pytest

from tunesmith.search.space.dimension import Dimension

NUMERIC = [
    Dimension("k", "float", 1e-5, 1e-1, log=True),
    Dimension("k", "float", -1.0, 3.0),
    Dimension("k", "float", 0.0, 0.7, step=0.1),
    Dimension("k", "float", 0.0, 0.75, step=0.1),
    Dimension("k", "int", 1, 5),
    Dimension("k", "int", 1, 1000, log=True),
    Dimension("k", "int", 8, 64, step=8),
    Dimension("k", "float", 2.0, 2.0),
]


@pytest.mark.parametrize("dimension", NUMERIC, ids=repr)
def test_places_and_values_are_one_another_s_inverse(dimension):
    for place in [0.0, 1.0, *(i / 97 for i in range(1, 97))]:
        value = dimension.at(place)
        assert dimension.contains(value)
        again = dimension.at(dimension.unit(value))
        assert math.isclose(again, value, rel_tol=1e-12)
        assert dimension.step is None or value in dimension.values()
    assert (dimension.at(0.0), dimension.at(1.0)) == tuple(dimension.ends())


def test_whole_numbers_are_equally_likely():
    dimension = Dimension("k", "int", 1, 5)
    counts = [
        sum(dimension.at((i + 0.5) / 1000) == value for i in range(1000)) for value in range(1, 6)
    ]
    assert counts == [200] * 5


def test_a_boolean_is_no_number():
    assert not Dimension("k", "int", 0, 5).contains(True)
    assert not Dimension("k", "categorical", choices=(1, 2)).contains(True)
    assert Dimension("k", "categorical", choices=(True, 1)).index(1) == 1
    assert not Dimension("k", "int", 0, 5).contains(2.0)
    assert Dimension("k", "float", 0.0, 5.0).contains(2)
