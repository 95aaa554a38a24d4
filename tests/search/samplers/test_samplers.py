"""Every sampler: pure, within the space, without what is inactive; those that learn do learn."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from support.plugins import make_sampler, names
from tunesmith.errors import ConfigError
from tunesmith.search.samplers.base import Observation
from tunesmith.search.samplers.model_based import ModelledSampler, thinned
from tunesmith.search.samplers.optuna_adapter import View
from tunesmith.search.samplers.sampler_conformance import SamplerConformance
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space

LEARNING = ["tpe", "gp", "cmaes"]
SAMPLERS = names("sampler")
DRAWING = [name for name in SAMPLERS if name != "grid"]

EVERY_KIND = (
    Dimension("log", "float", 1e-5, 1e-1, log=True),
    Dimension("linear", "float", -1.0, 3.0),
    Dimension("stepped", "float", 0.0, 0.75, step=0.1),
    Dimension("whole", "int", 1, 5),
    Dimension("whole_log", "int", 1, 1000, log=True),
    Dimension("whole_stepped", "int", 8, 64, step=8),
    Dimension("constant", "float", 2.0, 2.0),
    Dimension("choice", "categorical", choices=(None, True, 1.5, "a", ["a", 1])),
    Dimension("only", "categorical", choices=("x",)),
)
CONDITIONAL = (
    Dimension("lr", "float", 1e-5, 1e-3, log=True),
    Dimension("warmup", "float", 0.0, 0.3),
    Dimension("adapt", "categorical", choices=("full", "frozen"), is_group=True),
    Dimension("layers", "int", 1, 5, when={"adapt": "frozen"}),
    Dimension("multiplier", "float", 1.0, 10.0, when={"adapt": "frozen"}),
    Dimension("decay", "float", 0.8, 1.0, when={"adapt": "full"}),
    Dimension("depth", "categorical", choices=(1, 2), when={"layers": [4, 5]}),
)
LISTED = (
    Dimension("lr", "categorical", choices=(1e-5, 3e-5, 1e-4)),
    Dimension("adapt", "categorical", choices=("full", "frozen"), is_group=True),
    Dimension("layers", "int", 1, 2, step=1, when={"adapt": "frozen"}),
)
SPACES = {"every kind": Space(EVERY_KIND), "conditional": Space(CONDITIONAL)}


SURFACE = Space(
    (
        Dimension("lr", "float", 1e-6, 1e-3, log=True),
        Dimension("batch_size", "categorical", choices=(16, 32, 64)),
        Dimension("warmup", "float", 0.0, 0.4),
    )
)


def regret(params):
    """Return how much worse than the best point of a bowl this is."""
    slow = {16: 0.0, 32: 0.1, 64: 0.3}[params["batch_size"]]
    return math.log10(params["lr"] / 6e-5) ** 2 + slow + 2 * (params["warmup"] - 0.1) ** 2


def score(params):
    """Rise towards the middle of each range, whatever the dimensions."""
    numbers = [value for value in params.values() if isinstance(value, int | float)]
    return -sum(math.log1p(abs(value)) for value in numbers)


def study(name, space, count, seed=3, running=()):
    """Ask and tell so many trials, one after the other; the score of those `running` is to come."""
    one, told = make_sampler(name, space, seed), []
    for number in range(count):
        params = one.ask(number, told)
        told.append(Observation(number, params, None if number in running else score(params)))
    return told


# What all of them promise


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("name", DRAWING)
def test_every_point_lies_in_the_space(name, space):
    count = 13 if name == "gp" else 40  # ten of them before it is asked
    points = [params for _, params, _ in study(name, space, count, running={5, count - 2})]
    assert all(space.contains(params) for params in points)
    assert all(list(params) == [d.key for d in space.active(params)] for params in points)
    for dimension in space.dimensions:
        drawn = [params[dimension.key] for params in points if dimension.key in params]
        assert drawn
        assert dimension.step is None or all(value in dimension.values() for value in drawn)
        json.dumps(drawn)  # plain values, not numpy's


@pytest.mark.parametrize("name", DRAWING)
def test_the_same_question_has_the_same_answer(name):
    space = SPACES["conditional"]
    told = study("qmc", space, 25, running={20, 23})
    asked = make_sampler(name, space, 3)
    again = asked.ask(25, told)
    assert asked.ask(25, told) == again
    asked.ask(7, told[:7])
    assert asked.ask(25, list(reversed(told))) == again
    assert make_sampler(name, space, 3).ask(25, told) == again
    assert make_sampler(name, space, 4).ask(25, told) != again
    assert make_sampler(name, space, 3).ask(26, told) != again


QUESTION = """
import json, sys
sys.path.append('../..')
from test_samplers import LISTED, SPACES, Observation, Space, SAMPLERS, make_sampler
told = [Observation(*row) for row in json.load(sys.stdin)]
listed = make_sampler("grid", Space(LISTED), 3).ask(4, [])
space = SPACES["conditional"]
drawn = {n: make_sampler(n, space, 3).ask(25, told) for n in SAMPLERS if n != "grid"}
print(json.dumps({"grid": listed, **drawn}))
"""


def test_a_new_process_has_the_same_answers():
    space = SPACES["conditional"]
    told = study("qmc", space, 25, running={20, 23})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUESTION],
        input=json.dumps(told), capture_output=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers.pop("grid") == make_sampler("grid", Space(LISTED), 3).ask(4, [])
    assert answers == {name: make_sampler(name, space, 3).ask(25, told) for name in DRAWING}


@pytest.mark.parametrize("name", LEARNING)
def test_a_trial_outside_of_the_space_teaches_nothing(name):
    space = SPACES["conditional"]
    told = study(name, space, 15)
    default = Observation(15, {"lr": 1.0, "warmup": None, "adapt": "full", "decay": 1.5}, 9.9)
    strange = Observation(16, {"adapt": "lora"}, 9.9)
    not_a_number = Observation(17, told[0].params, math.nan)
    asked = make_sampler(name, space, 3)
    assert asked.ask(20, [*told, default, strange, not_a_number]) == asked.ask(20, told)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_space_of_nothing_has_one_point(name):
    if name == "cmaes":
        return  # refuses it
    assert make_sampler(name, Space(), 0).ask(0, []) == {}


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc"])
def test_a_space_without_ranges_can_be_sampled(name):
    told = study(name, Space(LISTED), 14)
    assert all(Space(LISTED).contains(params) for _, params, _ in told)


# Each of them


def test_the_grid_ends():
    space = Space(LISTED)
    grid = make_sampler("grid", space, 0)
    assert grid.ask(space.grid_size, []) is None
    assert [grid.ask(n, []) for n in range(space.grid_size)] == list(space.points())
    assert space.grid_size == 9


def test_quasi_random_points_fill_each_range_evenly():
    space = Space((Dimension("a", "float", 0.0, 1.0), Dimension("b", "int", 1, 8)))
    points = [make_sampler("qmc", space, 5).ask(number, []) for number in range(64)]
    in_bin = [sum(int(p["a"] * 16) == i for p in points) for i in range(16)]
    assert in_bin == [4] * 16
    assert [sum(p["b"] == i for p in points) for i in range(1, 9)] == [8] * 8


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_the_first_asks_of_a_model_are_quasi_random(name):
    space = SPACES["conditional"]
    first = study(name, space, ModelledSampler.n_startup_trials)
    assert first == study("qmc", space, ModelledSampler.n_startup_trials)
    running = [o._replace(value=None) for o in first]
    quasi_random, asked = make_sampler("qmc", space, 3), make_sampler(name, space, 3)
    assert asked.ask(10, running) == quasi_random.ask(10, [])
    assert asked.ask(10, first)["lr"] != quasi_random.ask(10, [])["lr"]


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_model_knows_of_trials_that_run(name):
    points = [params for _, params, _ in study("qmc", SURFACE, 15)]
    told = [Observation(number, params, -regret(params)) for number, params in enumerate(points)]
    asked = make_sampler(name, SURFACE, 3)
    alone = asked.ask(18, told)
    running = [Observation(15 + i, alone, None) for i in range(3)]
    assert asked.ask(18, [*told, *running]) != alone


def test_cmaes_draws_each_generation_from_one_distribution():
    space = Space(CONDITIONAL[:2])
    told = study("cmaes", space, 12)
    asked = make_sampler("cmaes", space, 3)
    assert asked.ask(20, told[:6]) == asked.ask(20, told[:11])  # a generation is of six
    assert asked.ask(20, told[:6]) != asked.ask(20, told)


def test_cmaes_says_that_it_learns_nothing_of_choices(caplog):
    caplog.set_level("INFO")
    make_sampler("cmaes", Space(CONDITIONAL), 0)
    line = "cmaes learns nothing of choices, it draws them: adapt, depth"
    assert [record.message for record in caplog.records] == [line]


REFUSED = [
    (
        "grid",
        CONDITIONAL,
        "error[CONF-SAMPLER] search/sampler=grid, lr: is a range without a step; "
        "list its values, give it a step, or choose random, qmc, tpe",
    ),
    (
        "cmaes",
        (CONDITIONAL[0], *CONDITIONAL[2:]),
        "error[CONF-SAMPLER] search/sampler=cmaes: needs two ranges at least that are always "
        "searched; choose tpe",
    ),
]


@pytest.mark.parametrize(("name", "dimensions", "line"), REFUSED)
def test_a_sampler_that_does_not_fit_the_space_is_refused(name, dimensions, line):
    with pytest.raises(ConfigError) as caught:
        make_sampler(name, Space(dimensions), 0)
    assert str(caught.value) == line
    assert caught.value.exit_code == 2


# Learning


def regrets(name, seed, count):
    """Search the bowl with noise; return the true regret of the chosen trial, and of the last."""
    one, told = make_sampler(name, SURFACE, seed), []
    for number in range(count):
        params = one.ask(number, told)
        noise = random.Random(f"{seed}/{number}").gauss(0, 0.05)
        told.append(Observation(number, params, noise - regret(params)))
    chosen = max(told, key=lambda o: o.value)
    return regret(chosen.params), median(regret(o.params) for o in told[-10:])


def test_tpe_beats_random_over_20_seeds():
    searched = [regrets("tpe", seed, 30) for seed in range(20)]
    drawn = [regrets("random", seed, 30) for seed in range(20)]
    assert median(best for best, _ in searched) < 0.6 * median(best for best, _ in drawn)
    assert median(last for _, last in searched) < 0.4 * median(last for _, last in drawn)


@pytest.mark.parametrize(("name", "count", "seeds"), [("cmaes", 40, 10), ("gp", 18, 2)])
def test_a_model_draws_good_trials_more_often_than_random(name, count, seeds):
    searched = median(regrets(name, seed, count)[1] for seed in range(seeds))
    drawn = median(regrets("random", seed, count)[1] for seed in range(10))
    assert searched < 0.5 * drawn


def test_what_a_choice_brings_is_learnt_under_its_condition():
    def value(params):
        return -abs(params["layers"] - 4) if params["adapt"] == "frozen" else -9.0

    space, told = SPACES["conditional"], []
    one = make_sampler("tpe", space, 1)
    for number in range(60):
        params = one.ask(number, told)
        told.append(Observation(number, params, value(params)))
    late = [params for _, params, _ in told[40:]]
    frozen = [params["layers"] for params in late if params["adapt"] == "frozen"]
    assert len(frozen) >= 12
    assert sum(layers in (3, 4, 5) for layers in frozen) >= 0.8 * len(frozen)


# How Optuna is asked


@pytest.mark.parametrize("name", ["TPESampler", "GPSampler"])
def test_the_view_gives_what_a_real_study_would(name):
    import optuna
    from optuna.trial import TrialState

    block = sorted(EVERY_KIND[:3], key=lambda d: d.key)  # as a study sorts them
    seen = study("qmc", Space(tuple(block)), 30)
    running = [Observation(30, seen[3].params, None)]
    made = getattr(optuna.samplers, name)
    view = View(block, seen, running)
    ours = view.ask(made(seed=11, n_startup_trials=0))
    real = optuna.create_study(direction="maximize", sampler=made(seed=11, n_startup_trials=0))
    for _, params, value in [*seen, *running]:
        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        real.add_trial(
            optuna.trial.create_trial(
                state=state, value=value, params=params, distributions=view.distributions
            )
        )
    theirs = real.ask(view.distributions).params
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_a_model_looks_at_the_best_and_at_an_even_sample_of_the_others():
    values = [random.Random(n).gauss(0, 1) for n in range(10_000)]
    told = [Observation(n, {"a": 0.5}, value) for n, value in enumerate(values)]
    kept = thinned(told, most=500, best=50)
    assert len(kept) == 500
    assert kept == sorted(kept, key=lambda o: o.number)
    assert set(sorted(values)[-50:]) <= {o.value for o in kept}
    thirds = [sum(o.number // 3334 == third for o in kept) for third in range(3)]
    assert max(thirds) - min(thirds) < 30
    assert thinned(told[:500], most=500, best=50) == told[:500]


def test_samplers_are_named_without_importing_what_is_heavy():
    heavy = ["optuna", "scipy", "cmaes", "torch", "transformers", "lightning", "datasets"]
    script = (
        "import sys, tunesmith.search.samplers.tpe, tunesmith.search.samplers.gp;"
        "import tunesmith.search.samplers.cmaes, tunesmith.search.space.parse;"
        "import tunesmith.search.space.check_configs;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


class TestEverySampler(SamplerConformance):
    """Holds each sampler to what a sampler of a user's own can be held to."""

    @pytest.fixture(autouse=True, params=SAMPLERS)
    def use(self, request):
        self.name = request.param
        if self.name == "grid":
            self.spaces = (Space(LISTED),)

    def make_sampler(self, space, seed):
        return make_sampler(self.name, space, seed)
