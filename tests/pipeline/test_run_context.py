"""What is recorded of a config when a run begins."""

from tunesmith.pipeline.run_context import ConfigRecord


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
