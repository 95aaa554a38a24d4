"""How much memory is left for processes of ours: the machine's, or that of a container."""

from pathlib import Path

import pytest

from tunesmith.runtime import memory

MEMINFO = "MemTotal: 100000 kB\nMemAvailable:   60000 kB\n"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 0),
        ({"proc/meminfo": MEMINFO}, 60_000 * 1024),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "0::/job/5\n",
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/memory.current": "7\n",
                "sys/fs/cgroup/job/5/memory.max": "5000000\n",
                "sys/fs/cgroup/job/5/memory.current": "3000000\n",
                "sys/fs/cgroup/job/5/memory.stat": "anon 4\ninactive_file 1000000\n",
            },
            3_000_000,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "9500000\n",
            },
            0,
        ),
    ],
)
def test_what_is_free_is_the_least_of_machine_and_container(tmp_path: Path, files, free):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory.available_memory(tmp_path) == free


def test_this_process_holds_some_and_uses_no_gpu():
    assert 10**7 < memory.peak_memory() < 10**11
    memory.release_memory()
    assert memory.gpu_memory() is None
