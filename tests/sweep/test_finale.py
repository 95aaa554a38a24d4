"""The winner's model: of which training it is."""

import pytest
from made_studies import Scripted, settings, study

from tunesmith.sweep import finale
from tunesmith.sweep.trial import PAUSED


@pytest.mark.parametrize(
    ("is_confirmed", "expected"),
    [(True, [("train", 1.0), ("test", 1.0)]), (False, [("save", 1.0)])],
)
def test_a_confirmed_default_that_was_paused_is_trained_to_its_end(
    tmp_path, is_confirmed, expected
):
    made = study(tmp_path / "study", executor := Scripted(), settings("random", "asha"))
    made.search()
    assert made.records[0].state(made.last_rung) == PAUSED
    checkpoints = made.folder / "trials" / "0000" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "best.ckpt").touch()
    if is_confirmed:
        made.store.set("confirmation", {"seeds": []})
    before = len(executor.submitted)
    finale.keep_winner(made, 0, is_confirmed)
    made.store.close()
    assert [(s.kind, s.until) for s in executor.submitted[before:]] == expected
