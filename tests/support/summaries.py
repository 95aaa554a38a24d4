"""Made studies, as summary.json holds them: each function returns one kind."""

import json
import math
import random
from statistics import NormalDist
from typing import Any

from tunesmith.reporting.results import FORMAT, StudyResults

STEPS = 360  # of a full training
THIRDS = [1 / 9, 1 / 3, 1.0]
LR = {"key": "optimizer.lr", "kind": "float", "low": 1e-5, "high": 1e-3, "log": True}
BATCH = {"key": "data.batch_size", "kind": "categorical", "choices": [8, 16, 32]}
WARMUP = {"key": "scheduler.warmup", "kind": "float", "low": 0.0, "high": 0.2}
DECAY = {"key": "optimizer.weight_decay", "kind": "float", "low": 0.0, "high": 0.1}
SCHEDULER = {"key": "scheduler", "kind": "categorical", "choices": ["linear", "cosine"]}
HOSTILE = "<script>document.title='broken'</script>"
ESCAPE = "\x1b]0;owned\x07\x1b[31mred"
LONG = "x" * 200

Summary = dict[str, Any]


def results(made: Summary) -> StudyResults:
    """Read a summary as a file is read."""
    return StudyResults.model_validate_json(json.dumps(made))


def dimension(given: dict[str, Any]) -> dict[str, Any]:
    empty = {"low": None, "high": None, "log": False, "step": None, "choices": [], "when": {}}
    return {**empty, **given}


def trial(number: int, params: dict[str, Any], scores: list[float | None], **changes) -> Summary:
    """Return a trial whose last score is at rung len(scores) - 1; no score: it failed at once."""
    rung = len(scores) - 1 if scores else None
    known = {str(i): score for i, score in enumerate(scores) if score is not None}
    steps = changes.get("steps", STEPS if scores else 10)
    made = {
        "number": number,
        "state": "complete",
        "failure": None,
        "error": None,
        "params": params,
        "overrides": [f"{key}={value}" for key, value in params.items()],
        "is_default": False,
        "bracket": 0,
        "score": scores[-1] if scores else None,
        "deviation": None,
        "rung": rung,
        "scores": known,
        "replicates": [{"seed": 0, "score": scores[-1] if scores else None, "best_step": steps}],
        "steps": steps,
        "total_steps": STEPS,
        "horizon": STEPS,
        "seconds": steps / 20,
        "best_step": steps if scores else None,
        "history": [],
        "threads": 2,
        "precision": "bf16-mixed",
        "directory": f"trials/{number:04}",
    }
    return {**made, **changes}


def failed(number: int, params: dict[str, Any], kind: str, **changes) -> Summary:
    error = f"{kind} at step 10"
    gone = {"state": "failed", "failure": kind, "error": error, "score": None}
    return trial(number, params, [], **{**gone, **changes})


def study(trials: list[Summary], space: list[dict[str, Any]], **changes) -> Summary:
    """Return the summary of these trials; ranks and counts are worked out here, naively."""
    mode = changes.get("mode", "max")
    good = [t for t in trials if t["score"] is not None and t["state"] != "failed"]
    sign = 1 if mode == "max" else -1
    best = max(good, key=lambda t: (t["rung"], sign * t["score"], -t["number"]), default=None)
    states = [t["state"] for t in trials]
    made = {
        "format": FORMAT,
        "study": "made",
        "directory": "runs/made",
        "command": ["python", "train.py", "-m", "search=asha", "space=finetune"],
        "metric": "val/accuracy",
        "mode": mode,
        "sampler": "random",
        "policy": "full",
        "rungs": [1.0],
        "reduction_factor": 3,
        "seed": 0,
        "explicit_grid": False,
        "space": [dimension(d) for d in space],
        "trials": trials,
        "best": best["number"] if best else None,
        "default": next((t["number"] for t in trials if t["is_default"]), None),
        "confirmation": None,
        "winner": None,
        "test": None,
        "counts": {s: states.count(s) for s in ("complete", "paused", "failed", "running")},
        "stopped_by": "trials" if trials else None,
        "seconds": sum(t["seconds"] for t in trials),
        "steps": sum(t["steps"] for t in trials),
        "full_steps": STEPS,
    }
    return {**made, **changes}


# --- a landscape ----------------------------------------------------------------------------


def landscape(params: dict[str, Any]) -> float:
    """Return an accuracy with its best at lr 2e-4, batch 16, warm-up .1."""
    off = math.log10(params.get("optimizer.lr", 1e-4) / 2e-4)
    size = {8: 0.004, 16: 0.0, 32: 0.012}.get(params.get("data.batch_size", 16), 0.0)
    warmup = abs(params.get("scheduler.warmup", 0.1) - 0.1) * 0.05
    return 0.962 - 0.05 * off**2 - size - warmup


def draw(dice: random.Random) -> dict[str, Any]:
    return {
        "optimizer.lr": 10 ** dice.uniform(-5, -3),
        "data.batch_size": dice.choice([8, 16, 32]),
        "scheduler.warmup": dice.uniform(0, 0.2),
        "optimizer.weight_decay": dice.uniform(0, 0.1),
    }


DEFAULT = {
    "optimizer.lr": 1e-4,
    "data.batch_size": 16,
    "scheduler.warmup": 0.1,
    "optimizer.weight_decay": 0.01,
}
SPACE = [LR, BATCH, WARMUP, DECAY]


def history(final: float, until: int, dice: random.Random, points: int = 12) -> list[Summary]:
    """Return a curve that comes to `final` at the end of a full training."""
    steps = [round(STEPS * (i + 1) / points) for i in range(points)]
    return [
        {
            "step": step,
            "score": final - 0.35 * math.exp(-5 * step / STEPS) + dice.gauss(0, 0.003),
            "loss": 1.4 * math.exp(-4 * step / STEPS) + 0.15,
            "train_loss": 1.4 * math.exp(-5 * step / STEPS) + 0.1,
        }
        for step in steps
        if step <= until
    ]


def trained(number: int, params: dict[str, Any], rungs: int, dice: random.Random, **more):
    """Return a trial of the landscape that reached this many of three rungs."""
    final = landscape(params) + dice.gauss(0, 0.002)
    curve = history(final, round(STEPS * THIRDS[rungs - 1]), dice, 18)
    by_rung = [curve[round(18 * THIRDS[rung]) - 1]["score"] for rung in range(rungs)]
    best = max(curve, key=lambda point: point["score"])
    state = "complete" if rungs == 3 else "paused"
    facts = {"history": curve, "best_step": best["step"], "state": state}
    facts["steps"] = curve[-1]["step"]
    return trial(number, params, by_rung, **{**facts, **more})


# --- studies --------------------------------------------------------------------------------


def grid() -> Summary:
    """Six trials of an explicit grid, nothing confirmed."""
    points = [(lr, s) for lr in (3e-5, 1e-4, 3e-4) for s in ("linear", "cosine")]
    scores = [0.921, 0.918, 0.958, 0.953, 0.947, 0.951]
    trials = [
        trial(n, {"optimizer.lr": lr, "scheduler": s}, [scores[n]])
        for n, (lr, s) in enumerate(points)
    ]
    rates = {"key": "optimizer.lr", "kind": "categorical", "choices": [3e-5, 1e-4, 3e-4]}
    command = ["python", "train.py", "-m", "optimizer.lr=3e-5,1e-4,3e-4"]
    facts = {"sampler": "grid", "explicit_grid": True, "command": command}
    return study(trials, [rates, SCHEDULER], **facts)


def confirmed_grid() -> Summary:
    """A grid whose best was confirmed and lost: the default wins, which is no trial of it."""
    made, dice = grid(), random.Random(2)
    arms = [arm(2, 0.951, dice), arm(-1, 0.95, dice, is_default=True)]
    reason = "the best candidate, trial 2, is better by 0.001, not below 0.02"
    facts = {"seeds": [101, 102, 103, 104, 105], "most_seeds": 5, "alpha": 0.02, "winner": -1}
    confirmed = {**facts, "arms": arms, "clearly_better": False, "reason": reason}
    test = {"trial": -1, "scores": {"test/accuracy": 0.9432}, "uses": 1}
    winner = {"winner": -1, "winner_overrides": ["optimizer.lr=2e-5", "seed=1"]}
    return {**made, **winner, "confirmation": confirmed, "test": test}


def asha(seed: int = 0) -> Summary:
    """27 trials over three rungs, three failed, the winner confirmed and tested."""
    dice = random.Random(seed)
    points = [dict(DEFAULT), *(draw(dice) for _ in range(26))]
    order = sorted(range(27), key=lambda n: -landscape(points[n]))
    trials = []
    for n, params in enumerate(points):
        place = order.index(n)
        rungs = 3 if place < 4 or n == 0 else 2 if place < 12 else 1
        trials.append(trained(n, params, rungs, dice, is_default=n == 0))
    for n, kind in zip(order[-3:], ("diverged", "diverged", "out of memory"), strict=True):
        trials[n] = failed(n, points[n], kind)
    made = study(trials, SPACE, policy="asha", rungs=THIRDS, study="asha-finetune")
    best = made["best"]
    test = {"trial": best, "scores": {"test/accuracy": 0.9571}, "uses": 1}
    return {**made, "confirmation": confirmation(made, dice), "winner": best, "test": test}


def confirmation(made: Summary, dice: random.Random, gain: float = 0.012) -> Summary:
    """Return a confirmation over five seeds, the best one better than the default by `gain`."""
    others = [t["number"] for t in made["trials"] if t["rung"] == 2 and not t["is_default"]]
    first = [n for n in (made["best"],) if n != made["default"]]
    numbers = [*first, *(n for n in others if n not in first)][:3]
    arms = [arm(n, 0.946 + gain - 0.002 * place, dice) for place, n in enumerate(numbers)]
    arms.append(arm(0, 0.946, dice, is_default=True))
    for this in arms[:-1]:
        this["difference"] = this["mean"] - arms[-1]["mean"]
        this["p_better"] = NormalDist(0, 0.002).cdf(this["difference"])
    reason = "its mean beats the default's by more than chance allows" if gain > 0.005 else ""
    return {
        "seeds": [101, 102, 103, 104, 105],
        "most_seeds": 5,
        "alpha": 0.05,
        "arms": arms,
        "winner": numbers[0] if gain > 0.005 else 0,
        "clearly_better": gain > 0.005,
        "reason": reason or "no trial beats it by more than seeds alone would",
    }


def arm(number: int, mean: float, dice: random.Random, is_default: bool = False) -> Summary:
    scores = [mean + dice.gauss(0, 0.003) for _ in range(5)]
    middle = sum(scores) / 5
    spread = {"low": middle - 0.0037, "high": middle + 0.0037}
    rest = {"difference": None, "p_better": None, "dropped": None}
    facts = {"trial": number, "is_default": is_default, "scores": scores, "mean": middle}
    return {**facts, **spread, **rest}


def tpe(seed: int = 1) -> Summary:
    """20 full trainings; the default stays."""
    dice = random.Random(seed)
    trials = [
        trained(n, dict(DEFAULT) if n == 0 else draw(dice), 3, dice, is_default=n == 0)
        for n in range(20)
    ]
    made = study(trials, SPACE, sampler="tpe", rungs=THIRDS, policy="median", study="tpe")
    stays = {"confirmation": confirmation(made, dice, 0.0), "winner": 0}
    test = {"trial": 0, "scores": {"test/accuracy": 0.9432}, "uses": 2}
    return {**made, **stays, "test": test}


def population() -> Summary:
    """Two of four members were replaced; the best is the copy of a copy: a schedule."""
    rates = [1e-4, 3e-5, 2e-4, 5e-4, 8e-5, 9.6e-5]
    params = [{"optimizer.lr": rate, "scheduler.warmup": 0.1} for rate in rates]
    first = {"trial": 0, "rung": 0, "step": STEPS // 3}
    second = {"trial": 4, "rung": 1, "step": STEPS // 3 * 2}
    trials = [
        trial(0, params[0], [0.7, 0.75, 0.8], is_default=True),
        trial(1, params[1], [0.6, 0.7, 0.78]),
        trial(2, params[2], [0.5, 0.55], state="paused"),
        trial(3, params[3], [0.4], state="paused"),
        trial(4, params[4], [None, 0.8, 0.85], parent=first),
        trial(5, params[5], [None, None, 0.9], parent=second),
    ]
    rungs = [1 / 3, 2 / 3, 1.0]
    return study(trials, [LR, WARMUP], policy="pbt", rungs=rungs, winner=5, reduction_factor=0)


def empty() -> Summary:
    """Nothing has run."""
    return study([], SPACE)


def all_failed() -> Summary:
    """Every trial failed of the same error."""
    dice = random.Random(0)
    trials = [failed(n, draw(dice), "error:DATA-COL") for n in range(3)]
    return study(trials, SPACE, stopped_by="failures")


def all_collapsed() -> Summary:
    """Every trial came to its end with one answer for every row: the same score each."""
    dice = random.Random(0)
    learnt = {"failure": "collapse", "error": "gives every row the same answer"}
    trials = [trial(n, draw(dice), [0.5], best_step=40, **learnt) for n in range(4)]
    return {**study(trials, SPACE), "best": None}


def replicates() -> Summary:
    """Three trials over three seeds each, scored by their mean, less being better."""
    trials = []
    for n, lr in enumerate((1e-5, 1e-4, 1e-3)):
        losses = [0.40 + 0.1 * n + 0.01 * k for k in range(3)]
        seeds = [{"seed": k + 1, "score": x, "best_step": STEPS} for k, x in enumerate(losses)]
        spread = {"replicates": seeds, "deviation": 0.01}
        trials.append(trial(n, {"optimizer.lr": lr}, [sum(losses) / 3], **spread))
    return study(trials, [LR], mode="min", metric="val/loss", explicit_grid=True)


def conditional() -> Summary:
    """A dimension that is active in half of the trials."""
    layers = {"key": "adapt.layers", "kind": "int", "low": 1, "high": 6}
    adapt = {"key": "adapt", "kind": "categorical", "choices": ["full", "frozen"]}
    dice, trials = random.Random(3), []
    for n in range(14):
        params: dict[str, Any] = {"adapt": ("full", "frozen")[n % 2]}
        if n % 2:
            params["adapt.layers"] = 1 + n % 6
        trials.append(trial(n, params, [0.8 + 0.1 * dice.random()]))
    return study(trials, [adapt, {**layers, "when": {"adapt": "frozen"}}], study="conditional")


def hostile() -> Summary:
    """Names, settings and errors that want to be more than text, and long ones."""
    key = f"data.{HOSTILE}"
    values = [HOSTILE, ESCAPE, LONG, "\"><img src=x onerror=document.title='broken'>", "=1+1", "ü"]
    trials = [
        trial(n, {key: value, f"model.{LONG}": LONG}, [0.5 + n / 100], directory=value)
        for n, value in enumerate(values)
    ]
    trials.append(failed(6, {key: ESCAPE}, HOSTILE, error=f"{HOSTILE}{ESCAPE}\n{LONG * 5}"))
    space = [
        {"key": key, "kind": "categorical", "choices": values},
        {"key": f"model.{LONG}", "kind": "categorical", "choices": [LONG]},
    ]
    names = {"study": f"{HOSTILE}{ESCAPE}", "metric": f"val/{HOSTILE}{LONG}", "directory": HOSTILE}
    return study(trials, space, command=["train.py", HOSTILE, ESCAPE], **names)


def large(count: int = 1000) -> Summary:
    """As many trials over three rungs."""
    dice, trials = random.Random(7), []
    for n in range(count):
        params = draw(dice)
        if n % 25 == 24:
            trials.append(failed(n, params, "diverged"))
        else:
            rungs = 1 + (dice.random() < 0.33) + (dice.random() < 0.15)
            trials.append(trained(n, params, rungs, dice))
    return study(trials, SPACE, policy="asha", rungs=THIRDS, study="large")


def with_gaps(made: Summary, seed: int) -> Summary:
    """Return the study with things missing that may be: no score, no curve, no interval."""
    dice, empty = random.Random(seed), {"history": [], "replicates": [], "scores": {}, "params": {}}
    empty |= dict.fromkeys(("score", "rung", "best_step", "failure", "error"))
    for this in made["trials"]:
        this.update({key: value for key, value in empty.items() if dice.random() < 0.1})
        this["state"] = dice.choice([this["state"], this["state"], "running", "failed"])
        for point in this["history"]:
            point.update({key: None for key in ("score", "loss") if dice.random() < 0.1})
    for this in (made["confirmation"] or {"arms": []})["arms"]:
        figures = ("mean", "low", "high", "difference", "p_better")
        this.update({key: None for key in figures if dice.random() < 0.2})
        this["scores"] = [score if dice.random() < 0.7 else None for score in this["scores"]]
    return {**made, **{key: None for key in ("best", "winner", "test") if dice.random() < 0.2}}


KINDS = {
    "grid": grid,
    "confirmed grid": confirmed_grid,
    "asha": asha,
    "tpe": tpe,
    "population": population,
    "empty": empty,
    "all failed": all_failed,
    "all collapsed": all_collapsed,
    "replicates": replicates,
    "conditional": conditional,
    "hostile": hostile,
}
