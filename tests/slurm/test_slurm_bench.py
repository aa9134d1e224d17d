"""The cluster that the other tests use does what clusters do."""

from __future__ import annotations

import pytest
from slurm_bench import wait_until

pytestmark = pytest.mark.slow


def test_jobs_run_on_both_nodes_each_with_its_gpu(slurm):
    job = slurm.submit(
        'echo "$SLURMD_NODENAME gpus=$CUDA_VISIBLE_DEVICES"; sleep 2', "--array=1-2", "--gres=gpu:1"
    )
    wait_until(lambda: slurm.state(job) == "COMPLETED")
    assert "n1 gpus=0" in slurm.output()
    assert "n2 gpus=0" in slurm.output()


def test_a_job_in_high_takes_the_place_of_one_in_low(slurm):
    low = slurm.submit("sleep 60", "--array=1-2", "--cpus-per-task=2")
    wait_until(lambda: len(slurm.jobs("RUNNING")) == 2)
    high = slurm.submit("sleep 1", "--partition=high", "--array=1-2", "--cpus-per-task=2")
    wait_until(lambda: slurm.state(high) == "COMPLETED")
    assert slurm.state(low) in {"PENDING", "RUNNING", "PENDING RUNNING"}
    slurm.command("scancel", low)
    wait_until(lambda: not slurm.jobs("RUNNING", "PENDING", "COMPLETING"))
