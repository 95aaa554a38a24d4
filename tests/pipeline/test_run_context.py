"""What is recorded of a config when a run begins."""

from types import SimpleNamespace

import pytest

from tunesmith.errors import ModelError
from tunesmith.pipeline.run_context import ConfigRecord, _named_checkpoint


def test_hyperparameters_have_dotted_names_and_nothing_that_belongs_elsewhere() -> None:
    values = {
        "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]},
        "loss": {},
        "paths": {"runs": "runs"},
        "logger": {"csv": {"_target_": "x"}},
        "seed": 1,
    }
    record = ConfigRecord(values, "", [])
    assert record.hparams == {"optimizer.lr": 0.1, "optimizer.betas": [0.9, 0.99], "seed": 1}


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("best", "no run below {}/x has one; callbacks.checkpoint.keep=all keeps them"),
        ("{}", "no such file; callbacks.checkpoint.keep=all keeps them"),
        ("{}/tpyo.ckpt", "no such file"),
    ],
)
def test_a_checkpoint_that_is_not_there_names_the_way_to_keep_it(tmp_path, named, says) -> None:
    config = SimpleNamespace(
        ckpt_path=named.format(tmp_path), paths=SimpleNamespace(runs=tmp_path), name="x"
    )
    with pytest.raises(ModelError) as caught:
        _named_checkpoint(config)
    assert f"{caught.value.what}; {caught.value.fix}".removesuffix("; ") == says.format(tmp_path)
