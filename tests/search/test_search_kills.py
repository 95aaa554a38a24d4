"""Controllers and workers of a real search, killed with SIGKILL at any moment."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from support.commands import train
from support.searches import asha, compared, kill, left_over, start, summary


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_controllers_and_twenty_workers_are_killed_at_random_moments(tmp_path, workers):
    long = ["trainer.max_epochs=300", "search.trials=9", "search.retries=1000"]
    long += [f"executor.workers={workers}"]
    arguments = asha(tmp_path, "study=killed", *long)
    chance = random.Random(workers)
    victims = ["controller"] * 10 + ["worker"] * 20
    chance.shuffle(victims)
    process = start(tmp_path, arguments)
    for victim in victims:
        time.sleep(chance.uniform(2, 16))
        assert process.poll() is None, "the search was over before its last kill"
        if victim == "controller":
            kill(process, tmp_path)
            process = start(tmp_path, arguments)
        else:
            kill_a_worker(tmp_path, chance)
    assert process.wait(1200) == 0
    time.sleep(1)
    assert left_over(tmp_path) == {}
    made = summary(tmp_path, "killed")
    assert [trial["number"] for trial in made["trials"]] == list(range(9))
    assert {trial["state"] for trial in made["trials"]} <= {"complete", "paused"}
    for trial in made["trials"]:
        steps = [entry["step"] for entry in trial["history"]]
        assert steps == sorted(set(steps)), "a validation was recorded twice"
    if workers == 1:
        done = train(asha(tmp_path, "study=undisturbed", *long), timeout=1200)
        assert done.returncode == 0, done.stderr[-3000:]
        assert compared(made) == compared(summary(tmp_path, "undisturbed"))


def kill_a_worker(folder: Path, chance: random.Random) -> None:
    """Kill one as soon as there is one."""
    for _ in range(600):
        workers = [pid for pid, words in left_over(folder).items() if "search.worker" in words]
        if workers:
            os.kill(chance.choice(sorted(workers)), signal.SIGKILL)
            return
        time.sleep(0.1)
    raise AssertionError("no worker in a minute")
