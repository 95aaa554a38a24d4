"""Loggers that need more than this program: their package is there, their server answers."""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import MachineError
from tunesmith.runtime.environment import variables
from tunesmith.training import distributed, logger_connections

EXTRAS = {
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
}
MARK = "tunesmith_run"  # the tag by which MLflow knows a run directory
DATABASES = ("postgresql", "mysql", "mssql")  # those of MLflow's that are servers
# MLflow would ask a server that is down for four minutes, and a wrong database for longer.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def loggers_in_run(nodes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the loggers that write into the run's directory, and the names of the others."""
    ours = {name: n for name, n in nodes.items() if n["_target_"].startswith("tunesmith.")}
    return ours, [name for name in nodes if name not in ours]


def check_logger(node: Mapping[str, Any]) -> None:
    """Refuse a logger whose package is missing or whose `tracking_uri` cannot be opened."""
    package = EXTRAS.get(node["_target_"])
    if package is not None and importlib.util.find_spec(package) is None:
        fix = f"pip install 'tunesmith[{package}]'"
        raise MachineError("ENV-PACKAGE", f"logger={package}", "not installed", fix)
    address = str(node.get("tracking_uri") or "")
    kind = address.partition(":")[0].partition("+")[0]
    if kind in DATABASES:
        logger_connections.check_database(address)
    elif kind in ("http", "https"):
        _ask(address)


def with_identity(node: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a logger's options with those by which it goes on with its record of this run.

    What is trained in several segments, or is resumed, is one run of W&B or MLflow, by the name
    of its directory. What the user has set of them stays, tags beside ours.
    """
    package = EXTRAS.get(node["_target_"])
    if package is None or distributed.rank() != 0:
        return dict(node)
    path = directory.absolute()
    mark, name = hashlib.sha256(str(path).encode()).hexdigest()[:16], "/".join(path.parts[-3:])
    if package == "wandb":
        return {"id": mark, "name": name, **node}
    if not node.get("tracking_uri"):  # files of the run directory, which MLflow 3 asks for by name
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    begun = _mlflow_run(node, mark)
    if begun is not None:
        return {"run_id": begun, **node}
    return {"run_name": name, **node, "tags": {**(node.get("tags") or {}), MARK: mark}}


def finish() -> None:
    """End the W&B run of this process, if there is one: the next training has one of its own."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish()


def _mlflow_run(node: Mapping[str, Any], mark: str) -> str | None:
    """Return the number of the run that was begun there before."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(node.get("tracking_uri") or f"file:{node['save_dir']}")
    experiment = client.get_experiment_by_name(node["experiment_name"])
    if experiment is None:
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.{MARK} = '{mark}'", max_results=1)
    return found[0].info.run_id if found else None


def _ask(address: str) -> None:
    with logger_connections.connection_errors_as_one_line(address), variables(IMPATIENT):
        from mlflow.tracking import MlflowClient

        MlflowClient(address).search_experiments(max_results=1)
