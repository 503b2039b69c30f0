"""A private Slurm: munged, slurmctld and one slurmd a node, on free loopback ports, all in one folder.

    with slurm_cluster(folder, nodes=2) as cluster:
        subprocess.run(["sbatch", ...], env=cluster.environ)

Nothing of it needs systemd, cgroups or a file outside the folder; it needs root, as any slurmd does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
SECONDS = 30.0
"""How long a cluster may take to be idle after it was started."""
PARTITIONS = """
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes=ALL MaxTime=1 State=UP PriorityTier=1 PreemptMode=OFF
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
"""


@dataclass(frozen=True)
class SlurmCluster:
    """A running cluster, and how to speak to it."""

    folder: Path
    environ: Mapping[str, str]
    """What its clients need on top of their environment."""

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, **self.environ}, timeout=30
        )
        return done.stdout

    def log(self) -> str:
        """The last of what its daemons wrote."""
        return "\n".join(f"{file.name}: {file.read_text()[-2000:]}" for file in sorted(self.folder.glob("*.log")))


@contextlib.contextmanager
def slurm_cluster(
    folder: Path, nodes: int = 2, cpus: int = 4, gpus: int = 2, proctrack: str = "linuxproc"
) -> Iterator[SlurmCluster]:
    """Start one, skip the test if this machine can't, and end it again with all its jobs."""
    if missing := [program for program in PROGRAMS if shutil.which(program, path=_path()) is None]:
        pytest.skip(f"{', '.join(missing)} not installed (Debian: apt-get install slurmctld slurmd munge)")
    if os.geteuid() != 0:
        pytest.skip("a slurmd has to be root")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    environ = _written(folder, nodes, cpus, gpus, proctrack)
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
         f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"],
        ["slurmctld", "-D", "-f", f"{folder}/slurm.conf"],
        *(["slurmd", "-D", "-N", f"n{node}", "-f", f"{folder}/slurm.conf"] for node in range(nodes)),
    ]  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []
    cluster = SlurmCluster(folder, environ)
    try:
        for command in daemons:
            with (folder / f"{len(running)}-{command[0]}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=log, env={**os.environ, **environ}, start_new_session=True
                    )
                )
            if command[0] == "munged":
                _wait(cluster, running, (folder / "munge.socket").exists)
        _wait(cluster, running, lambda: _idle(cluster) == nodes)
        yield cluster
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            cluster.ask("scancel", "--user=root", "--full")
            cluster.ask("scancel", "--user=root", "--signal=KILL", "--full")
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _written(folder: Path, nodes: int, cpus: int, gpus: int, proctrack: str) -> dict[str, str]:
    """Its configuration, and the environment that leads its clients to it."""
    for name in ("state", *(f"spool-n{node}" for node in range(nodes))):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    for index in range(nodes * gpus):  # Slurm wants a device: /dev/null under another name
        os.mknod(folder / f"gpu{index}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    ports = _free_ports(1 + nodes)
    (folder / "gres.conf").write_text(
        "".join(
            f"NodeName=n{node} Name=gpu File={folder}/gpu{node * gpus + index}\n"
            for node in range(nodes)
            for index in range(gpus)
        )
    )
    hosts = "".join(
        f"NodeName=n{node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[1 + node]} "
        f"CPUs={cpus} RealMemory=4000 Gres=gpu:{gpus} State=UNKNOWN\n"
        for node in range(nodes)
    )
    (folder / "slurm.conf").write_text(f"""ClusterName=test
SlurmctldHost={socket.gethostname()}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,requeue_delay=0
GresTypes=gpu
SlurmdParameters=config_overrides
KillWait=30
OverTimeLimit=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=60
MaxJobCount=1000
EnforcePartLimits=ALL
MaxArraySize=100
{hosts}{PARTITIONS}""")
    return {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": _path()}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _idle(cluster: SlurmCluster) -> int:
    try:
        return cluster.ask("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t").split().count("idle")
    except subprocess.SubprocessError:
        return 0


def _wait(cluster: SlurmCluster, running: list[subprocess.Popen[bytes]], ready: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not ready():
        if any(process.poll() is not None for process in running) or time.monotonic() > end:
            pytest.skip(f"no Slurm starts here:\n{cluster.log()}")
        time.sleep(0.1)
