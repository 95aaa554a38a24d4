"""search.patience: where a search starts no more trials, and when it does again."""

import itertools
import math
from statistics import fmean

import pytest

from support.synthetic_studies import KilledError, Scripted, decisions, search, settings, study
from tunesmith.errors import ConfigError
from tunesmith.search.study.patience import check_noise_is_known

ROWS = 1000


def scripted(fatal=None, rows=ROWS) -> Scripted:
    return Scripted(fatal, rows=rows)


def gain(scores: list[float], patience: int) -> float:
    """Return the expected gain of whole trainings, over all choices."""
    first = len(scores) - patience
    choices = itertools.combinations(scores, first)
    mean = fmean(max(chosen) for chosen in choices)
    return max(scores) - min(mean, max(scores[:first]))


def noise(score: float) -> float:
    share = (score * ROWS + 2) / (ROWS + 4)
    return math.sqrt(share * (1 - share) / (ROWS + 4))


def test_it_ends_with_the_first_trial_after_which_more_would_bring_less_than_noise(tmp_path):
    made = search(tmp_path / "study", scripted(), settings("random", "full", 60, patience=4))
    scores = [record.score for record in made.records]
    found = made.patience.plateau
    assert 6 < len(scores) < 20
    assert (found.trials, found.target, found.patience) == (len(scores), 60, 4)
    assert found.gain == pytest.approx(gain(scores, 4))
    assert found.noise == pytest.approx(noise(max(scores)))
    assert found.source == "validation split of 1000 rows"
    assert found.gain < found.noise
    for count in range(5, len(scores)):
        assert gain(scores[:count], 4) >= noise(max(scores[:count]))


@pytest.mark.parametrize("policy", ["full", "asha"])
def test_a_search_that_was_killed_stops_at_the_same_trial(tmp_path, policy):
    how = settings("tpe", policy, 60, patience=4)
    whole = search(tmp_path / "whole", executor := scripted(), how)
    assert whole.patience.plateau is not None and len(whole.records) < 60
    for fatal in range(1, len(executor.submitted), 9):
        folder = tmp_path / f"killed at {fatal}"
        with pytest.raises(KilledError):
            search(folder, scripted(fatal), how)
        again = search(folder, scripted(), how)
        assert decisions(again) == decisions(whole)
        assert again.patience.plateau == whole.patience.plateau
    assert any(whole.last_rung in record.rungs for record in whole.records)


def test_the_same_command_does_nothing_and_one_that_asks_for_more_goes_on(tmp_path):
    def searched(trials, patience):
        executor = scripted(rows=100)
        how = settings("random", "full", trials, patience=patience)
        made = search(tmp_path / "study", executor, how)
        return len(made.records), len(executor.submitted), made.patience.plateau

    ended, _, first = searched(60, 4)
    assert ended < 20 and first.target == 60
    assert searched(60, 4) == searched(50, 4) == (ended, 0, first)
    more, _, second = searched(70, 4)
    assert more == ended + 4  # judged anew after as many
    assert (second.trials, second.target) == (more, 70)
    assert searched(70, 4) == (more, 0, second)
    longer, _, third = searched(70, 12)
    assert longer > 12 and third.patience == 12
    assert searched(70, None) == (70, 70 - longer, None)


def test_seeds_tell_the_noise_where_there_are_several(tmp_path):
    draws = itertools.count()
    executor = Scripted(score=lambda params, until: 0.5 + 0.1 * (next(draws) % 2))
    how = settings("random", "full", 60, patience=3)
    made = study(tmp_path / "study", executor, how, seeds=(1, 2))
    made.search()
    made.store.close()
    found = made.patience.plateau
    assert len(made.records) == 4  # the first of which there is any to compare with
    assert found.noise == pytest.approx(0.1 / math.sqrt(2) / math.sqrt(2))
    assert (found.gain, found.source) == (pytest.approx(0.0), "replicates")


def test_what_nothing_tells_the_noise_of_is_refused():
    with pytest.raises(ConfigError) as error:
        check_noise_is_known(10, "val/f1", seeds=1)
    assert str(error.value) == (
        "error[CONF-PATIENCE] search.patience=10: nothing says how noisy val/f1 is, which a gain "
        "is compared with; search.replicates=2"
    )
    check_noise_is_known(10, "val/f1", seeds=2)
    check_noise_is_known(10, "val/accuracy", seeds=1)
    check_noise_is_known(None, "val/f1", seeds=1)


def test_seeds_amid_a_promotion_are_compared_at_the_rung_that_all_have_reached(tmp_path):
    how = settings("random", "asha", 30, replicates=2, patience=6)
    made = search(tmp_path / "study", scripted(), how)
    for record in made.records:
        for replicate in record.ran:
            below = replicate.scores.get(0)
            replicate.scores = {0: below, 1: below + 0.2} if below is not None else {}
            if replicate.seed == record.seeds[0]:
                replicate.scores.pop(1, None)
        assert record.rungs in ([], [0])
        assert record.seed_scores == [r.scores[0] for r in record.ran if r.scores]
