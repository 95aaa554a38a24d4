"""Segments as tasks of a Ray cluster, which is started or joined.

Who reaches Ray's ports can run code: what is started here listens on this machine alone, and
every cluster is spoken to with a token (ShadowRay, CVE-2023-48022).
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tunesmith.errors import MachineError
from tunesmith.runtime.options import Count, CountOrAuto, Text
from tunesmith.search.executors.cluster import (
    ClusterExecutor,
    run_remotely,
    threads_of,
)
from tunesmith.search.executors.jobs import Job, JobLostError
from tunesmith.search.executors.ray_session import RaySession
from tunesmith.search.trial import Result, result_of

HERE = "127.0.0.1"
GLANCE = 5.0  # seconds between two looks at the node of a job
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
WARM: list[Any] = []  # of this Ray worker process: what its earlier segments have read


class RayExecutor(ClusterExecutor):
    """A task a segment, with as many CPUs as it has threads, and a GPU a device if there are any.

    `address` is null (start Ray here), auto, host:port or ray://host:port.
    """

    def __init__(
        self,
        workers: CountOrAuto = "auto",
        address: Text | None = None,
        threads: Count = 1,
        host: Text = HERE,
    ) -> None:
        self._ray = _imported(address, host)
        self._is_client = (address or "").startswith("ray://")
        # Not this thread, where Ray would put its own handler of SIGTERM in place of ours; one that
        # stays, since Linux ends Ray with the thread that started it.
        self._starter = ThreadPoolExecutor(1, "ray")
        self._session = RaySession() if address is None else None
        try:
            self._start(address, host)
            resources = self._ray.cluster_resources()
        except BaseException:
            self._shut_down()
            raise
        cpus, self.gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        count = min(max(1, cpus // threads), self.gpus or cpus)
        super().__init__("ray", count if workers == "auto" else int(workers), threads)
        # 0: a worker that had a GPU is used again too, and stays warm.
        self._task = self._ray.remote(max_retries=0, max_calls=0)(_segment)

    def check(self, folder: Path) -> None:
        """Refuse a directory that some node of the cluster does not see."""
        marker, secret = folder / f".shared-{secrets.token_hex(8)}", secrets.token_hex(16)
        marker.write_text(secret, encoding="utf-8")
        try:
            asked = [(node, self._ask(node["NodeID"], marker)) for node in self._other_nodes()]
            for node, answer in asked:
                if self._ray.get(answer) != secret:
                    self._refuse(folder, node["NodeManagerHostname"])
        finally:
            marker.unlink(missing_ok=True)

    def close(self) -> None:
        """End all tasks; Ray itself only if it was started here."""
        super().close()
        self._shut_down()

    def _launch(self, job: Job) -> Any:
        segment = job.segment
        threads = threads_of(segment, self.threads)
        share = {"num_cpus": threads * segment.devices}
        if self.gpus:
            share["num_gpus"] = segment.devices
        return self._task.options(**share).remote(self.payload(job), threads)

    def _await(self, job: Job) -> Result:
        lost = self._ray.exceptions
        try:
            while not self._ray.wait([job.handle], timeout=GLANCE)[0]:
                self._look_for_node(job)
            return Result(**self._ray.get(job.handle))
        except lost.TaskCancelledError:
            return result_of(job.segment, "interrupted")
        except (lost.WorkerCrashedError, lost.NodeDiedError, lost.ObjectLostError) as error:
            raise JobLostError(f"its Ray worker was lost ({type(error).__name__})") from error

    def _look_for_node(self, job: Job) -> None:
        """Raise JobLostError where the node of a job is dead to Ray.

        Of one that was cut off, Ray itself would wait for an answer for minutes more.
        """
        with contextlib.suppress(OSError):  # it has not begun
            node = self.marker(job).read_text(encoding="utf-8")
            if any(n["NodeID"] == node and not n["Alive"] for n in self._ray.nodes()):
                self._cancel(job, True)
                raise JobLostError("its node was lost")

    def _cancel(self, job: Job, at_once: bool) -> None:
        # Not at once: a KeyboardInterrupt, which a training takes as a Ctrl-C, and saves.
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.cancel(job.handle, force=at_once)

    def _other_nodes(self) -> list[dict[str, Any]]:
        own = None if self._is_client else self._ray.get_runtime_context().get_node_id()
        return [n for n in self._ray.nodes() if n["Alive"] and n["NodeID"] != own]

    def _ask(self, node: str, marker: Path) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ask = self._ray.remote(num_cpus=0, max_retries=0)(_seen)
        return ask.options(scheduling_strategy=there).remote(str(marker))

    @staticmethod
    def _refuse(folder: Path, node: str) -> None:
        what = f"node {node} does not see this directory, or may not write there"
        fix = "set paths.runs to a place on storage that all nodes share"
        raise MachineError("ENV-STORAGE", str(folder), what, fix)

    def _shut_down(self) -> None:
        self._ray.shutdown()
        self._starter.shutdown()
        if self._session is not None:
            self._session.close()

    def _start(self, address: Text | None, host: str) -> None:
        """Start or join Ray."""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
        if self._session is not None:
            options |= {"dashboard_host": HERE, "include_dashboard": False}
            options |= {"_temp_dir": str(self._session.folder)}
            options |= {} if host == HERE else {"_node_ip_address": host}
        try:
            self._starter.submit(self._ray.init, address=address or "local", **options).result()
        except Exception as error:  # Ray has no class of its own for it
            what = (str(error).strip().splitlines() or [type(error).__name__])[0]
            name, fix = "executor=ray", "RAY_TMPDIR=/tmp sets where it keeps its files"
            if address is not None:
                name = f"executor.address={address}"
                fix = "is it up, and RAY_AUTH_TOKEN that of the cluster?"
            raise MachineError("ENV-RAY", name, what, fix) from error


def _imported(address: Text | None, host: str) -> Any:
    """Return Ray's module."""
    _set_environment(address, host)
    try:
        import ray
    except ImportError as error:
        raise _missing() from error
    return ray


def _set_environment(address: Text | None, host: str) -> None:
    """Set what Ray reads of the environment, once, when it is imported."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None:
        return
    if not any(os.environ.get(name) for name in TOKENS):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for this Ray, and never on disk
    if host == HERE:
        # Ray takes 127.0.0.1 for the machine's own address, and listens on all, unless it is
        # told that this is no place for clusters of several machines.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def _missing() -> MachineError:
    fix = "pip install 'tunesmith[ray]'"
    return MachineError("ENV-PACKAGE", "executor=ray", "Ray is not installed", fix)


# In the Ray worker


def _segment(payload: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Run a segment in this worker process; Ray would have given it one thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import ray

    return run_remotely(payload, WARM, ray.get_runtime_context().get_node_id())


def _seen(marker: str) -> str | None:
    """Return what a file holds that another node has written, if its folder can be written to."""
    path = Path(marker)
    try:
        return path.read_text(encoding="utf-8") if os.access(path.parent, os.W_OK) else None
    except OSError:
        return None
