"""A real Slurm on this machine: two nodes with a fake GPU each."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands import until

NEEDED = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "setpriv")
NODES = ("n1", "n2")
NODE = "CPUs=2 RealMemory=8000 Gres=gpu:1"

CONF = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
KillWait=2
SlurmdTimeout=20
GresTypes=gpu
{nodes}
PartitionName=low Nodes=n[1-2] Default=YES PriorityTier=1 MaxTime=60
PartitionName=high Nodes=n[1-2] PriorityTier=10 MaxTime=60
"""


def missing() -> list[str]:
    """Return the programs and rights that this machine lacks."""
    lacking = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return lacking if os.geteuid() == 0 else ["root", *lacking]


@dataclass
class Bench:
    """A running cluster: the folder of its configuration and logs, and the environment of its commands."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, *arguments: str | Path) -> str:
        """Return what a command of Slurm prints."""
        done = subprocess.run(
            [*map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """Submit a script, and return the number of the job."""
        path = self.folder / f"job-{time.monotonic_ns()}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        output = f"--output={self.folder}/job-%A-%a.out"
        return self.command("sbatch", "--parsable", "--open-mode=append", output, *options, path)

    def jobs(self, *states: str, name: str | None = None) -> list[str]:
        """Return the numbers of jobs in states such as RUNNING."""
        options = [f"--name={name}"] if name else []
        states_ = f"--states={','.join(states)}"
        return self.command("squeue", "--noheader", "--array", "--format=%A", states_, *options).split()

    def state(self, job: str) -> str:
        """Return the state of a job, such as COMPLETED; of an array, of all its tasks."""
        text = self.command("scontrol", "--oneliner", "show", "job", job)
        words = [word.removeprefix("JobState=") for word in text.split() if word.startswith("JobState=")]
        return " ".join(sorted(set(words)))

    def output(self) -> str:
        """Return what jobs printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("job-*.out")))

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        command = ["slurmd", "-D", "-f", str(self.folder / "slurm.conf"), "-N", node]
        self._start(f"slurmd-{node}", command)

    def kill_node(self, node: str) -> None:
        """Kill a node and all its processes."""
        daemon = self.daemons.pop(f"slurmd-{node}")
        daemon.kill()
        daemon.wait()
        for pid in self._processes(f"SLURMD_NODENAME={node}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _processes(self, entry: str) -> list[int]:
        """Return the processes of this cluster's jobs that have an entry in their environment."""
        own = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                entries = path.read_bytes().split(b"\0")
                if entry.encode() in entries and (own in entries or b"SLURM_CLUSTER_NAME=bench" in entries):
                    found.append(int(path.parent.name))
        return found

    def _start(self, name: str, command: list[str], **more: Any) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **more
            )

    def stop(self) -> None:
        """End all jobs and daemons."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.command("scancel", "--user=root", "--signal=KILL", "--full")
            self.command("scancel", "--user=root")
            until(lambda: not self.jobs("RUNNING", "COMPLETING"), 10)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@contextlib.contextmanager
def started() -> Iterator[Bench]:
    """Start a cluster, and stop it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-bench-"))
    folder.chmod(0o755)
    # Slurm's programs are in sbin on some systems.
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }
    bench = Bench(folder, environment)
    try:
        _configure(folder)
        _start_munge(bench)
        bench._start("slurmctld", ["slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf")])
        for node in NODES:
            bench.start_node(node)
        idle = ["sinfo", "--noheader", "--Node", "--partition=low", "--format=%T"]
        until(lambda: _answers(bench, idle) == ["idle", "idle"])
        yield bench
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(bench: Bench, command: list[str]) -> list[str]:
    try:
        return bench.command(*command).split()
    except AssertionError:  # not up yet
        return []


def _configure(folder: Path) -> None:
    host, ports = socket.gethostname(), _free_ports(1 + len(NODES))
    nodes = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {NODE} State=UNKNOWN"
        for node, port in zip(NODES, ports[1:], strict=True)
    ]
    (folder / "state").mkdir()
    conf = CONF.format(host=host, port=ports[0], folder=folder, nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(conf)
    gres = [f"NodeName={node} Name=gpu File=/dev/tty{number}" for number, node in enumerate(NODES)]
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start_munge(bench: Bench) -> None:
    folder = bench.folder / "munge"
    folder.mkdir(mode=0o755)
    key = folder / "key"
    subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True, env=bench.environment)
    key.chmod(0o400)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    files = ("socket", "pid-file", "log-file", "seed-file")
    paths = [f"--{name}={folder / name.removesuffix('-file')}" for name in files]
    as_munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
    bench._start("munged", [*as_munge, "munged", "--foreground", "--force", f"--key-file={key}", *paths])
    until((folder / "socket").exists, 10)
