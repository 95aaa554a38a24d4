"""The peers: search a classifier's hyperparameters with transformers.Trainer in Optuna or Ray Tune.

    python hf_search.py '{"tuner": "optuna", "form": "tuned", "points": [{"learning_rate": 3e-5}],
                          "trials_at_once": 2, "model": DIR, "data": DIR, "output": DIR, ...}'

Each point is a trial, which is looked at after 1, 3, 9, ... epochs: successive halving with a
factor of 3. The best of those that came to their end is saved and tested; output/result.json has
its score and, for each trial, when each of its validations ended. Form "default" is what examples
of the tuners do: each trial encodes the rows and has the defaults of TrainingArguments. "tuned"
encodes once, trains as hf_trainer.py tunes it, and reuses Ray's processes.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from hf_trainer import TrainerCallback, encoded_rows, trainer_of

FACTOR = 3
TRIALS = "trials"  # folder of the output


class Report(TrainerCallback):
    """Writes down each validation, and asks the tuner whether to go on."""

    def __init__(self, file, tell):
        self.file, self.tell, self.evaluations, self.stopped = file, tell, [], False

    def on_evaluate(self, args, state, control, metrics, **others):
        self.evaluations.append([time.time(), metrics["eval_accuracy"]])
        self.write(finished=False)
        self.stopped = self.tell(metrics["eval_accuracy"], len(self.evaluations))
        control.should_training_stop = self.stopped

    def write(self, **facts):
        best = max(score for _, score in self.evaluations)
        record = {"evaluations": self.evaluations, "best": best, **facts}
        self.file.write_text(json.dumps(record))


def train(asked, number, tell, loaded=None):
    """Train the point of a number; return its best score, and whether it was stopped early."""
    folder = Path(asked["output"]) / TRIALS / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    rows, names, tokenizer = loaded or encoded_rows(asked, folder / "cache")
    report = Report(folder / "record.json", tell)
    asked = {**asked, **asked["points"][number]}
    trainer = trainer_of(asked, folder, rows, names, tokenizer, [report])
    trainer.train()
    checkpoint = trainer.state.best_model_checkpoint
    report.write(finished=not report.stopped, checkpoint=checkpoint)
    return max(score for _, score in report.evaluations), report.stopped


# Optuna: as many processes as workers, one study in a file


def optuna_study(asked):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(f"{asked['output']}/journal.log"))
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)
    options = {"direction": "maximize", "load_if_exists": True, "study_name": "peer"}
    return optuna.create_study(storage=storage, pruner=pruner, **options)


def with_optuna(asked):
    study = optuna_study(asked)
    for point in asked["points"]:
        study.enqueue_trial(point)
    threads = str(max(1, (os.cpu_count() or 1) // asked["trials_at_once"]))
    words = [sys.executable, __file__, json.dumps({**asked, "is_worker": True})]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    processes = [subprocess.Popen(words, env=environment) for _ in range(asked["trials_at_once"])]
    assert [process.wait() for process in processes] == [0] * len(processes)


def optuna_worker(asked):
    import optuna

    study = optuna_study(asked)
    loaded = encoded_rows(asked, shared_cache(asked)) if asked["form"] == "tuned" else None

    def objective(trial):
        if trial.number >= len(asked["points"]):  # another worker took the last
            raise optuna.TrialPruned
        for name in asked["points"][0]:
            trial.suggest_float(name, 0.0, 1.0)

        def tell(score, epoch):
            trial.report(score, epoch)
            return trial.should_prune()

        score, stopped = train(asked, trial.number, tell, loaded)
        if stopped:
            raise optuna.TrialPruned
        return score

    while study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        study.optimize(objective, n_trials=1)


# Ray Tune: an actor for each trial, or the same ones again


def with_ray(asked):
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    tuned = asked["form"] == "tuned"
    loaded = encoded_rows(asked, shared_cache(asked)) if tuned else None

    def trainable(config, loaded=None):
        def tell(score, epoch):
            if epoch < asked["epochs"]:  # Ray ends this function here, if it is to be stopped
                tune.report({"accuracy": score, "epoch": epoch})
            return False

        score, _ = train(asked, config["number"], tell, loaded)
        tune.report({"accuracy": score, "epoch": asked["epochs"]})

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    scheduler = ASHAScheduler(
        time_attr="epoch", max_t=asked["epochs"], grace_period=1, reduction_factor=FACTOR
    )
    share = {"cpu": max(1, (os.cpu_count() or 1) // asked["trials_at_once"])}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, loaded=loaded), share),
        param_space={"number": tune.grid_search(list(range(len(asked["points"]))))},
        tune_config=tune.TuneConfig(
            metric="accuracy", mode="max", scheduler=scheduler, reuse_actors=tuned
        ),
        run_config=tune.RunConfig(storage_path=f"{asked['output']}/ray", verbose=0),
    )
    results = tuner.fit()
    assert not results.num_errors, results.errors
    ray.shutdown()


# Both


def shared_cache(asked):
    return Path(asked["output"]) / "cache"


def finish(asked):
    """Test and save the best trial that came to its end; write the result."""
    records = {}
    for file in Path(asked["output"], TRIALS).glob("*/record.json"):
        records[int(file.parent.name)] = json.loads(file.read_text())
    ended = {number: record for number, record in records.items() if record["finished"]}
    number = max(ended, key=lambda n: (ended[n]["best"], -n))
    output = Path(asked["output"])
    rows, names, tokenizer = encoded_rows(asked, shared_cache(asked))
    best = {**asked, **asked["points"][number], "model": ended[number]["checkpoint"]}
    trainer = trainer_of(best, output / "best", rows, names, tokenizer, [])
    trainer.save_model(str(output / "model"))
    result = {"best": number, "trials": records, "saved": time.time()}
    scores = trainer.predict(rows["test"], metric_key_prefix="test").metrics
    result["accuracy"] = scores["test_accuracy"]
    (output / "result.json").write_text(json.dumps(result))


def main():
    asked = json.loads(sys.argv[1])
    if asked.get("is_worker"):
        optuna_worker(asked)
        return
    Path(asked["output"]).mkdir(parents=True, exist_ok=True)
    if asked["form"] == "tuned":
        encoded_rows(asked, shared_cache(asked))  # once, for all workers
    {"optuna": with_optuna, "ray": with_ray}[asked["tuner"]](asked)
    finish(asked)


if __name__ == "__main__":
    main()
