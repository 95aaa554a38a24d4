"""Machines with a network between them: namespaces of this one's kernel, and nothing outside it.

Each has its own addresses, processes and name; the file system is shared. Linux, as root.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tunesmith.runtime.processes import die_with_parent

SUBNET = "10.213.7"  # only ever inside the namespaces
INTERFACE = "eth0"


class Network:
    """Machines of these names on one switch; the first is where commands are given."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names
        self.mark = f"ts{os.getpid()}"
        self.started: list[subprocess.Popen[bytes]] = []
        hosts = [f"{self.address(name)} {name}" for name in names]
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        _remove_strays()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        switch = self.space("switch")
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "switch", "up")
        for name in self.names:
            space, there = self.space(name), ["-n", self.space(name)]
            _run("ip", "netns", "add", space)
            cable = ["type", "veth", "peer", "name", INTERFACE, "netns", space]
            _run("ip", "-n", switch, "link", "add", "name", name, *cable)
            _run("ip", "-n", switch, "link", "set", "dev", name, "master", "switch", "up")
            _run("ip", *there, "address", "add", f"{self.address(name)}/24", "dev", INTERFACE)
            _run("ip", *there, "link", "set", INTERFACE, "up")
            _run("ip", *there, "link", "set", "lo", "up")

    def space(self, name: str) -> str:
        """Return the name of a machine's network namespace."""
        return f"{self.mark}-{name}"

    def address(self, name: str) -> str:
        return f"{SUBNET}.{self.names.index(name) + 1}"

    def command(self, name: str, words: list[str], own_processes: bool = False) -> list[str]:
        """Return the command that runs these words on a machine.

        With `own_processes` in a process namespace of its own: all that comes of it ends with it.
        """
        apart = ["--pid", "--fork", "--kill-child", "--mount-proc"] if own_processes else []
        setting = f'hostname {name}; mount --bind {self.folder}/hosts /etc/hosts; exec "$@"'
        enter = ["nsenter", f"--net=/run/netns/{self.space(name)}", "unshare", "--uts", "--mount"]
        return [*enter, *apart, "bash", "-c", setting, "-", *words]

    def start(
        self, name: str, words: list[str], env: Mapping[str, str], log: str, own_processes: bool
    ) -> "subprocess.Popen[bytes]":
        """Start a command on a machine; what it says goes into a file of the folder."""
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                self.command(name, words, own_processes),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                preexec_fn=die_with_parent,
            )
        self.started.append(process)
        return process

    def connect(self, name: str, connected: bool) -> None:
        """Put a machine's cable in, or take it out."""
        state = "up" if connected else "down"
        _run("ip", "-n", self.space("switch"), "link", "set", "dev", name, state)

    def close(self) -> None:
        """End what was started and remove the namespaces."""
        for process in self.started:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for name in ("switch", *self.names):
            subprocess.run(["ip", "netns", "delete", self.space(name)], stderr=subprocess.DEVNULL)


def lacking(*commands: str) -> str:
    """Say which command is not there, or that this user may make no namespaces; else nothing."""
    missing = [name for name in ("ip", "nsenter", *commands) if shutil.which(name) is None]
    if missing:
        return f"no {missing[0]} on this machine; make clusters installs it"
    return "" if os.geteuid() == 0 else "only root may make network namespaces"


def wait_until(holds, seconds: float = 60, what: str = "") -> None:
    """Wait until something holds; an error in the meantime counts as no."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError, KeyError):
            if holds():
                return
        assert time.monotonic() < end, f"took too long: {what}"
        time.sleep(0.2)


def _remove_strays() -> None:
    """Remove the namespaces of tests that were killed."""
    for file in Path("/run/netns").glob("ts*-*"):
        owner = file.name[2:].partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            _run("ip", "netns", "delete", file.name)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
