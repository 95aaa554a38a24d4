"""Loggers that need more than this program: their package is there, their server answers."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import MachineError
from tunesmith.runtime.environment import variables
from tunesmith.training import logger_connections

EXTRAS = {
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
}
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


def _ask(address: str) -> None:
    with logger_connections.connection_errors_as_one_line(address), variables(IMPATIENT):
        from mlflow.tracking import MlflowClient

        MlflowClient(address).search_experiments(max_results=1)
