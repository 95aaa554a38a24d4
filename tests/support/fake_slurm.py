"""Stands in for SLURM's commands: a job is a process group of this machine."""

import os
from pathlib import Path

SCRIPTS = {
    "sbatch": """
id=$(( $(ls "$QUEUE" | wc -l) + 101 ))
cp "${@: -1}" "$CALLS/$id.sh"
SLURM_JOB_ID=$id SLURM_NTASKS=1 setsid bash "$CALLS/$id.sh" > /dev/null 2>&1 < /dev/null &
echo $! > "$QUEUE/$id"
echo "$@" >> "$CALLS/sbatch"
echo "Submitted batch job $id"
""",
    "srun": """
while [[ $1 == --* ]]; do
  case $1 in
    --error) log=${2//%j/$SLURM_JOB_ID}; shift 2;;
    --output) shift 2;;
    *) shift;;
  esac
done
exec "$@" 2> "${log//%t/0}"
""",
    "squeue": """
echo "$@" >> "$CALLS/squeue"
for job in "$QUEUE"/*; do
  kill -0 -- "-$(cat "$job")" 2> /dev/null && basename "$job"
done
exit 0
""",
    "scontrol": """
echo "JobId=${@: -1} JobState=FAILED Reason=NonZeroExitCode"
""",
    "scancel": """
echo "$@" >> "$CALLS/scancel"
signal=KILL
for word in "$@"; do
  case $word in
    --signal=*) signal=${word#*=};;
    --state=PENDING) exit 0;;
    --*) ;;
    *) kill -s $signal -- "-$(cat "$QUEUE/$word")" 2> /dev/null;;
  esac
done
exit 0
""",
}


class StandIn:
    """A directory of commands, to be put on PATH."""

    def __init__(self, folder: Path) -> None:
        self.queue, self.calls, self.commands = (
            folder / name for name in ("queue", "calls", "commands")
        )
        for made in (self.queue, self.calls, self.commands):
            made.mkdir(parents=True)
        for name, script in SCRIPTS.items():
            file = self.commands / name
            file.write_text(f"#!/bin/bash\nQUEUE={self.queue} CALLS={self.calls}\n{script}")
            file.chmod(0o755)
        self.path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"

    def jobs(self) -> dict[str, int]:
        """Return {number: process group} of all jobs that there were."""
        return {file.name: int(file.read_text() or 0) for file in sorted(self.queue.iterdir())}

    def running(self) -> list[str]:
        return [number for number, group in self.jobs().items() if is_alive(group)]

    def called(self, command: str) -> list[str]:
        file = self.calls / command
        return file.read_text().splitlines() if file.exists() else []


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
