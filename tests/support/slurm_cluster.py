"""A SLURM that runs: its controller and nodes on machines of a network, its files in a folder."""

import os
import re
import signal
import subprocess
from pathlib import Path

from support.network import Network, wait_until

CONTROLLER, NODES = "head", ("a", "b")
COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
CONF = """
ClusterName=tunesmith
SlurmctldHost=head({address})
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
Prolog={folder}/prolog
PrologFlags=Alloc
ReturnToService=2
SlurmdTimeout=8
KillWait=10
NodeName=a NodeAddr={a} CPUs=2 RealMemory=1000 State=UNKNOWN
NodeName=b NodeAddr={b} CPUs=2 RealMemory=1000 CpuBind=none State=UNKNOWN
PartitionName=normal Nodes=ALL Default=YES LLN=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF
"""


class SlurmCluster:
    """One controller and two nodes of two processors each; the tasks of `a` keep to theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network(folder, [CONTROLLER, *NODES])
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        addresses = {name: self.network.address(name) for name in NODES}
        head = self.network.address(CONTROLLER)
        (folder / "slurm.conf").write_text(CONF.format(folder=folder, address=head, **addresses))
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        (folder / "state").mkdir()
        (folder / "prolog").write_text(
            f"#!/bin/sh\nsleep $(cat {folder}/slow 2> /dev/null || echo 0)\n"
        )
        (folder / "prolog").chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.env = {
            "SLURM_CONF": f"{folder}/slurm.conf",
            "TUNESMITH_TEST": str(folder),  # marks whatever comes of it
            "OMP_NUM_THREADS": "1",
        }
        try:
            self._start_munge()
            self.start(CONTROLLER)
            for node in NODES:
                self.start(node)
        except BaseException:
            self.close()
            raise

    def _start_munge(self) -> None:
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        files |= {"log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={self.folder}/munge.{end}" for option, end in files.items()]
        command = ["munged", "--foreground", "--force", *words]
        self._munge = self.network.start(CONTROLLER, command, {}, "munge.out", True)
        wait_until((self.folder / "munge.socket").exists, what="munged")

    def start(self, name: str) -> None:
        """Start SLURM's daemon of a machine; returns when it is at work."""
        words = ["slurmctld", "-D"] if name == CONTROLLER else ["slurmd", "-D", "-N", name]
        out = f"daemon-{name}.out"
        self.daemons[name] = self.network.start(name, words, self.env, out, own_processes=True)
        if name == CONTROLLER:
            wait_until(lambda: "UP" in self.said("scontrol", "ping"), what="slurmctld")
        else:
            wait_until(
                lambda: self.state_of_node(name) in ("IDLE", "MIXED"), what=f"slurmd of {name}"
            )

    def crash(self, name: str) -> None:
        """End a machine's daemon and all that it runs, as where its power fails."""
        self.daemons[name].send_signal(signal.SIGKILL)
        self.daemons[name].wait()

    def said(self, *command: str) -> str:
        """Return what a command of SLURM says on the controller's machine; raises if it fails."""
        done = subprocess.run(
            self.network.command(CONTROLLER, list(command)),
            capture_output=True,
            text=True,
            env={**os.environ, **self.env},
            timeout=300,
        )
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout

    def queue(self, state: str = "all") -> dict[str, str]:
        """Return {number: machine} of the jobs that have not ended, in this state."""
        states = [] if state == "all" else [f"--states={state}"]
        lines = self.said("squeue", "--noheader", "--format=%i %N", *states).splitlines()
        return {number: node for number, _, node in (line.partition(" ") for line in lines)}

    def state_of_node(self, name: str) -> str:
        shown = self.said("scontrol", "show", "node", "--oneliner", name)
        return re.findall(r"State=([A-Z]+)", shown)[0]

    def ended(self) -> dict[str, str]:
        """Return {number: how it ended} of all jobs that have ended."""
        file = self.folder / "ended.txt"
        found = re.findall(
            r"JobId=(\d+) .*?JobState=(\w+)", file.read_text() if file.exists() else ""
        )
        return dict(found)

    def close(self) -> None:
        """End the daemons and whatever they run, and remove the network."""
        self.network.close()
