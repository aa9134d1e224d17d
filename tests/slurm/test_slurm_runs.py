"""A small run on a real Slurm of two nodes is complete in the end, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import yaml
from commands import ended, until
from same_runs import differences
from slurm_bench import NODES

pytestmark = pytest.mark.slow

STIMULI = 26
WHOLE_NODES = ("--partition=high", "--array=1-2", "--cpus-per-task=2")


def check_complete(lab, run: Path, local: Path) -> None:
    """Check that a run is complete, and has the bytes of a run in one process."""
    assert lab.run("verify", run).code == 0
    assert differences(run, local, without={"logs", "shards", ".lock"}) == []


def made(run: Path) -> int:
    return len(list(run.glob("records/*.json")))


def shards(lab, run: Path, tasks: str = "1-4") -> str:
    """Submit shards as an array of jobs; return its number."""
    stimgen = shlex.join([sys.executable, "-m", "stimgen", "run", str(lab.manifest), "--out", str(run)])
    script = f"exec {stimgen} --device cpu --shard $SLURM_ARRAY_TASK_ID/4"
    return lab.slurm.submit(script, f"--array={tasks}", "--requeue", "--gres=gpu:1", "--job-name=shards")


def join(lab, run: Path, local: Path) -> None:
    assert f"{STIMULI} stimuli" in lab.run("tables", run).output
    check_complete(lab, run, local)


def test_shards_that_are_requeued_preempted_and_cancelled(lab, local):
    slurm, run = lab.slurm, lab.folder / "run"
    job = shards(lab, run)
    until(lambda: made(run) >= 4)
    slurm.command("scontrol", "requeue", until(lambda: slurm.jobs("RUNNING", name="shards"))[0])
    until(lambda: made(run) >= 8)
    high = slurm.submit("sleep 1", *WHOLE_NODES)
    # The last shard begins after it, and is cancelled before it can end.
    last = f"{job}_4"
    until(lambda: slurm.state(last) == "RUNNING")
    slurm.command("scancel", last)
    assert "COMPLETED" in slurm.state(high).split()
    until(lambda: not slurm.jobs("RUNNING", "PENDING", "COMPLETING"))
    assert "CANCELLED" in slurm.state(job), slurm.output()
    again = shards(lab, run)
    until(lambda: slurm.state(again) == "COMPLETED")
    join(lab, run, local)


def test_shards_of_a_dead_node_continue_on_another(lab, local):
    slurm, run = lab.slurm, lab.folder / "run"
    job = shards(lab, run)
    until(lambda: made(run) >= 4)
    slurm.kill_node(NODES[0])
    slurm.command("scontrol", "update", f"NodeName={NODES[0]}", "State=DOWN", "Reason=died")
    # A job that lost its node waits two minutes before it starts again, unless it is told not to.
    until(lambda: slurm.jobs("PENDING", name="shards"))
    for waiting in slurm.jobs("PENDING", name="shards"):
        # Of an array, some tasks may run already.
        with contextlib.suppress(AssertionError):
            slurm.command("scontrol", "update", f"JobId={waiting}", "StartTime=now")
    until(lambda: slurm.state(job) == "COMPLETED")
    slurm.start_node(NODES[0])
    slurm.command("scontrol", "update", f"NodeName={NODES[0]}", "State=RESUME")
    join(lab, run, local)


def site_file(lab, **changes: object) -> Path:
    """Write a site file: two workers, each a job on a node of its own with its GPU."""
    slurm = {
        "jobs": 2,
        "queue": "low",
        "gres": "gpu:1",
        "memory": "2GB",
        "cores": 1,
        "walltime": "00:20:00",
        "device": "cpu",  # the GPUs are none
        "interface": "lo",
        "node_interface": "lo",
        "directives": ["--requeue"],
        **changes,
    }
    path = lab.folder / "site.yaml"
    path.write_text(yaml.safe_dump({"executor": {"name": "dask", "slurm": slurm, "wait_s": 300.0}}))
    return path


def start(lab, run: Path, *more: str, **changes: object):
    site = site_file(lab, **changes)
    return lab.start("run", lab.manifest, "--out", run, "--site", site, "--no-report", *more)


def finish(lab, process, run: Path, local: Path) -> str:
    outcome = ended(process)
    logs = "\n".join(path.read_text() for path in run.glob("logs/*") if path.is_file())
    assert outcome.code == 0, f"{outcome.output}\n{logs[-5000:]}"
    check_complete(lab, run, local)
    until(lambda: not lab.slurm.jobs("RUNNING", "PENDING", "COMPLETING", name="stimgen-worker"))
    return outcome.output


def workers(lab) -> list[str]:
    return lab.slurm.jobs("RUNNING", name="stimgen-worker")


def test_workers_on_two_nodes_that_are_killed_and_preempted(lab, local):
    run = lab.folder / "run"
    process = start(lab, run)
    until(lambda: len(workers(lab)) == 2)
    nodes = lab.slurm.command("squeue", "--noheader", "--name=stimgen-worker", "--format=%N %b")
    assert {line.split()[0] for line in nodes.splitlines()} == {"n1", "n2"}
    assert "gpu" in nodes
    until(lambda: made(run) >= 11)  # in the syntheses
    victim = until(lambda: workers(lab))[0]
    for pid in lab.slurm._processes(f"SLURM_JOB_ID={victim}"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: made(run) >= 14)
    high = lab.slurm.submit("sleep 3", *WHOLE_NODES)
    until(lambda: lab.slurm.state(high) == "RUNNING")
    assert workers(lab) == []
    output = finish(lab, process, run, local)
    assert f"{STIMULI} made, 0 kept, 0 failed" in output
    assert not list(run.glob("logs/tls*"))  # no keys are left


def test_run_ends_if_no_job_can_work(lab):
    run = lab.folder / "run"
    process = start(lab, run, "--batch-size", "2", device="cuda:0")
    code, output = astuple(ended(process))
    assert code == 2, output
    assert output.count("A job is ended, and its batch sent to another") == 2, output
    assert "There is no device cuda:0" in output
    assert made(run) == 0
    until(lambda: not lab.slurm.jobs("RUNNING", "PENDING", "COMPLETING", name="stimgen-worker"))
