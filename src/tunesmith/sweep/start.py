"""From a command line with -m to a study: everything is checked, then its directory is opened."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import config, environment, rundir, targets
from tunesmith.errors import ConfigError, Interrupted, StudyError, TunesmithError, raise_all
from tunesmith.sweep import composing, finale, summary
from tunesmith.sweep.differences import differences
from tunesmith.sweep.executors.base import Executor
from tunesmith.sweep.policies import make as make_policy
from tunesmith.sweep.policies.base import Policy
from tunesmith.sweep.samplers import sampler as make_sampler
from tunesmith.sweep.settings import Settings, settings_from
from tunesmith.sweep.space import Space
from tunesmith.sweep.store import FILE, Store
from tunesmith.sweep.study import Study
from tunesmith.sweep.trial import Result, Segment
from tunesmith.sweep.watching import Watching

log = logging.getLogger(__name__)

SHARE_OF_BUDGET = 0.55  # what the search may use of it before confirmation takes the rest
ConfigOf = Callable[[Sequence[str]], dict[str, Any]]
MAY_CHANGE = ("trials", "budget", "timeout", "max_disk", "max_failures", "retries")


def start(cfg: DictConfig, arguments: Sequence[str], loader: Any) -> dict[str, Any]:
    """Search as the config says; return the summary. Raises every mistake before anything runs."""
    folder = _folder(cfg)
    conf, config_dir = _sources(loader)
    known = (folder / FILE).exists()
    compose = (
        composing.frozen(folder, _name(cfg))
        if known
        else composing.Composer(conf, config_dir, _name(cfg))
    )
    space, settings = _checked(cfg, arguments, loader, compose)
    rundir.check_writable(Path(cfg.paths.runs))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with rundir.lock(folder), rundir.setup_log(folder):
        composing.freeze(folder, conf, config_dir)
        compose = composing.frozen(folder, _name(cfg))
        return _run(cfg, folder, space, settings, compose)


def _run(
    cfg: DictConfig, folder: Path, space: Space, settings: Settings, compose: composing.Composer
) -> dict[str, Any]:
    began = time.monotonic()
    base = compose(list(space.fixed))
    with _executor(cfg) as executor:
        executor.check(folder.resolve())
        config_of = _config_of(compose, executor.threads, folder)
        store, metric, mode = _opened(folder, space, executor, config_of)
        try:
            _same_study(store, space, settings, f"{metric} {mode}", folder)
            spec = _spec(folder, settings, space, metric, mode)
            store.set("spec", spec)
            store.set("ended", None)
            study = Study(
                folder,
                settings,
                space,
                make_sampler(settings.sampler, space, settings.seed),
                _policy(settings),
                store,
                executor,
                config_of,
                mode=mode,
                seeds=_seeds(space, settings, base.seed),
                default=None if settings.is_grid else _default(space, base, compose),
            )
            with Watching(study, metric) as study.watcher, _signals(study):
                ended = _search_and_confirm(study, began, base.test)
            ended |= _winner(study, ended["winner"]) | {"seconds": time.monotonic() - began}
            store.set("ended", ended)
            made = summary.summarise(study, spec, ended)
            summary.write(made, folder)
            _write_best(study, compose, folder, ended["winner"])
            _say_the_end(made)
            _raise_if_it_failed(study, folder)
        finally:
            store.close()
    return made


def _executor(cfg: DictConfig) -> Executor:
    found = targets.build(OmegaConf.to_container(cfg.executor), trust=cfg.trust)
    assert isinstance(found, Executor)
    return found


def _opened(
    folder: Path, space: Space, executor: Executor, config_of: ConfigOf
) -> tuple[Store, str, str]:
    """Open the store; of a new study ask a worker first what decides, and whether all is there."""
    if (folder / FILE).exists():
        store = Store(folder, folder.name, "max", space.dimensions)
        if "objective" in store.attributes:
            return store, *store.attributes["objective"]
        store.close()
        (folder / FILE).unlink()  # killed before it was a study
    config = config_of(list(space.fixed))
    segment = Segment(-1, 0, 0, 1.0, 0, str(folder), config, list(space.fixed), None, kind="check")
    found = executor.submit(segment).result()
    if found.state != "done":
        raise CheckError(found)
    store = Store(folder, folder.name, found.mode, space.dimensions)
    store.set("objective", [found.metric, found.mode])
    return store, found.metric, found.mode


class CheckError(TunesmithError):
    """What a worker found wrong with the study's own config, as it said it."""

    def __init__(self, found: Result) -> None:
        self.said = found.error or "the worker that was to check the study died"
        self.exit_code = found.exit_code or 1
        super().__init__("STUDY-CHECK", "", self.said)

    def __str__(self) -> str:
        return self.said


def _search_and_confirm(study: Study, began: float, tests: bool) -> dict[str, Any]:
    """Search within its share of the budget, confirm within the rest."""
    budget, confirms = study.settings.budget, study.settings.confirm_top > 0
    if budget is not None:
        study.deadline = began + budget * (SHARE_OF_BUDGET if confirms else 0.85)
    study.search()
    stopped_by = study.ended_by
    ended: dict[str, Any] = {"winner": None, "test": None, "stopped_by": stopped_by or "trials"}
    if stopped_by == "failures":
        return ended
    study.ended_by = None
    if budget is not None:
        study.deadline = began + 0.85 * budget
    confirmation = finale.confirm_best(study)
    winner = finale.winner_of(study, confirmation)
    if winner is None:
        return ended
    study.ended_by, study.deadline = None, None  # the winner's model is what the budget was for
    result = finale.keep_winner(study, winner, confirmation is not None and tests)
    ended["winner"] = winner
    if confirmation is not None and result is not None and result.state == "done":
        tested = {k: v for k, v in result.scores.items() if k.startswith("test/")}
        ended["test"] = {"trial": winner, "scores": tested, "uses": 1} if tested else None
    return ended


# The parts


def _folder(cfg: DictConfig) -> Path:
    name = cfg.study or f"study-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.urandom(2).hex()}"
    raise_all(error for error in [config.check_value("study", name)] if error is not None)
    return Path(cfg.paths.runs) / name


def _name(cfg: DictConfig) -> str:
    return str(cfg.hydra.job.config_name or "train")


def _sources(loader: Any) -> tuple[Path, Path | None]:
    """Return the folders of the config files that Hydra reads."""
    found: dict[str, Path] = {}
    for entry in loader.get_search_path().get_path():
        scheme, _, path = str(entry.path).partition("://")
        if scheme == "file":
            found.setdefault(entry.provider, Path(path))
    return found.get("main", config.CONF), found.get("command-line")


def _checked(
    cfg: DictConfig, arguments: Sequence[str], loader: Any, compose: composing.Composer
) -> tuple[Space, Settings]:
    """Read the space and the settings; raise all that is wrong with them and what they make."""
    from tunesmith.sweep.checking import check_point, check_space
    from tunesmith.sweep.reading import read

    _refuse_launchers(cfg)
    plain: Any = OmegaConf.to_container(cfg.search, resolve=True)
    is_grid = plain["sampler"] == "grid" and plain["policy"] == "full"
    space, mistakes = read(arguments, cfg, loader.get_group_options, adaptive=not is_grid)
    raise_all(mistakes + check_space(space, compose))
    settings = settings_from(plain)
    raise_all(error for point in settings.points for error in check_point(space, point))
    _policy(settings)
    make_sampler(settings.sampler, space, settings.seed)
    if not settings.is_grid and settings.trials is None:
        raise ConfigError("CONF-TRIALS", "search.trials=null", "how many?", "search.trials=20")
    return space, settings


def _refuse_launchers(cfg: DictConfig) -> None:
    launcher = str(cfg.hydra.launcher._target_)
    if launcher != "hydra._internal.core_plugins.basic_launcher.BasicLauncher":
        what = "trials run on Tunesmith's own executors"
        raise ConfigError("CONF-LAUNCHER", "hydra/launcher", what, "executor=local, ray or slurm")


def _policy(settings: Settings) -> Policy:
    eta, startup = settings.reduction_factor, settings.startup
    return make_policy(settings.policy, settings.rungs, eta, startup)


def _config_of(compose: composing.Composer, threads: int, folder: Path) -> ConfigOf:
    return lambda overrides: _trial_config(compose, overrides, threads, folder)


def _trial_config(
    compose: composing.Composer, overrides: Sequence[str], threads: int, folder: Path
) -> dict[str, Any]:
    """Return a trial's config: as typed, without the test split, with its share of the machine."""
    cfg = compose(overrides)
    cfg.test, cfg.callbacks.progress = False, False
    if cfg.trainer.threads is None:
        cfg.trainer.threads = threads
    cfg.study = folder.name
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return plain


def _seeds(space: Space, settings: Settings, seed: int) -> list[int]:
    return list(space.seeds) or [seed + i for i in range(settings.replicates)]


def _default(space: Space, base: DictConfig, compose: composing.Composer) -> dict[str, Any]:
    """Return what the default config has on the dimensions, where that is a value of them."""
    params: dict[str, Any] = {}
    for dimension in space.parents_first:
        if dimension.is_group:
            value = compose.choice(list(space.fixed), dimension.key)
        else:
            value = OmegaConf.select(base, dimension.key)
        active = space.active({**params, dimension.key: value})
        if dimension in active and dimension.contains(value):
            params[dimension.key] = value
    return params


# Going on with a study


def _same_study(
    store: Store, space: Space, settings: Settings, objective: str, folder: Path
) -> None:
    """Write down what the study is, or refuse to go on with another one under its name."""
    fixed = {k: v for k, v in vars(settings).items() if k not in MAY_CHANGE and "confirm" not in k}
    now: dict[str, Any] = {
        "space": space.identity(),
        "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in fixed.items()},
        "objective": objective,
    }
    before = store.attributes.get("identity")
    if before is None:
        store.set("identity", now)
        return
    changes = differences(before["space"], now["space"])
    changes += [
        f"search.{key}: {before['settings'][key]} -> {value}"
        for key, value in now["settings"].items()
        if before["settings"].get(key) != value
    ]
    if before["objective"] != now["objective"]:
        changes.append(f"objective: {before['objective']} -> {now['objective']}")
    if changes:
        what = f"is another study: {'; '.join(changes[:4])}"
        raise ConfigError("STUDY-OTHER", f"study={folder.name}", what, "choose another name")


def _spec(folder: Path, settings: Settings, space: Space, metric: str, mode: str) -> dict[str, Any]:
    """Return what the study was asked: it stands in the store, so that it can be told anew."""
    return {
        "study": folder.name,
        "command": _command(),
        "metric": metric,
        "mode": mode,
        "sampler": settings.sampler,
        "policy": settings.policy,
        "reduction_factor": settings.reduction_factor,
        "seed": settings.seed,
        "explicit_grid": settings.is_grid,
        "target": settings.trials,
        "rungs": list(settings.rungs),
        "space": [dimension.plain() for dimension in space.dimensions],
    }


# The end


@contextlib.contextmanager
def _signals(study: Study) -> Iterator[None]:
    """Let the first SIGTERM or Ctrl-C save everything under way; the second leaves at once."""

    def handle(number: int, frame: Any) -> None:
        if study.interrupted:
            study.executor.close()
            os._exit(128 + number)
        study.interrupt()

    before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Interrupted:
        log.warning("stopped; go on with study=%s", study.folder.name)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command() -> list[str]:
    """Return what was typed, as one can type it again."""
    program, *words = environment.redact(sys.argv)
    is_script = Path(program).suffix == ".py" and Path(program).name != "cli.py"
    return ["python", program, *words] if is_script else ["tunesmith", "train", *words]


def _winner(study: Study, winner: int | None) -> dict[str, Any]:
    """Return where the winner's run is, and the overrides that train it again."""
    if winner is None:
        return {"winner_directory": None, "winner_overrides": None}
    segment = finale.winner_segment(study, winner)
    masked = [config.masked_override(text) for text in segment.overrides]
    where = str(Path(segment.directory).relative_to(study.folder))
    return {"winner_directory": where, "winner_overrides": masked}


def _write_best(
    study: Study, compose: composing.Composer, folder: Path, winner: int | None
) -> None:
    """Write experiment/best.yaml: --config-dir STUDY experiment=best trains the winner again."""
    if winner is None:
        return
    from tunesmith.sweep.best import best_yaml

    if winner == finale.DEFAULT:
        overrides = study.overrides_of(study.space.fixed, study.seeds[0])
    else:
        record = study.records[winner]
        overrides = study.overrides_of(record.overrides, record.seeds[0])
    (folder / "experiment").mkdir(exist_ok=True)
    text = best_yaml(overrides, folder, compose.is_choice)
    rundir.write_text(folder / "experiment" / "best.yaml", text)


def _say_the_end(made: Mapping[str, Any]) -> None:
    from rich.console import Console

    from tunesmith.sweep.table import final

    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False).print(final(made))


def _raise_if_it_failed(study: Study, folder: Path) -> None:
    """Leave with exit code 7 where more trials failed than may, or all."""
    failed = [record for record in study.records if record.has_failed]
    limit = study.settings.max_failures
    if not failed or (len(failed) < len(study.records) and (limit is None or len(failed) <= limit)):
        return
    what = f"{len(failed)} of {len(study.records)} trials failed, the first: {failed[0].error}"
    raise StudyError("STUDY-FAILED", str(folder), what)
