"""Folders that cannot be written, or are gone: real mounts, real removal."""

from __future__ import annotations

import shutil

import pytest
import sabotage
from fault_bench import mount

pytestmark = pytest.mark.slow

OBEY = "import sabotage; sabotage.obey_permissions()"
NET = "import fault_networks; fault_networks.register_tiny()"


def test_read_only_results(bench, disk, fault):
    fault(
        "read-only results folder",
        done="results on a disk that is mounted read-only",
        expects="exit 4 with the folder and the cure; after a remount the same command runs",
    )
    folder = disk("results")
    mount("-o", "remount,ro", folder)
    bench.see(bench.run(), 4, "Read-only file system", "--out")
    mount("-o", "remount,rw", folder)
    bench.see_same()


@pytest.mark.parametrize("missing", [0, 1])
def test_finished_run_made_read_only(bench, disk, fault, missing):
    what = "lacks one stimulus" if missing else "is complete"
    fault(
        f"read-only run folder that {what}",
        done="a finished run, then its disk mounted read-only, then the same command",
        expects="exit 4 with the folder and the cure; what is there stays readable",
    )
    folder = disk("results")
    bench.see_same()
    for path in sorted((bench.results / "stimuli").glob("*.png"))[:missing]:
        path.unlink()
    mount("-o", "remount,ro", folder)
    bench.see(bench.run(), 4, "Read-only file system")
    assert ("lacks" if missing else "6 of 6") in bench.see_disk()
    mount("-o", "remount,rw", folder)
    bench.see_same()


def test_folder_without_permission(bench, fault):
    fault(
        "run folder without permission",
        done="a finished run in a folder of mode 000, as for a folder of somebody else",
        expects="exit 4 with the folder and the cure; then the same command runs",
    )
    bench.see_same()
    shutil.rmtree(bench.results / "trials")
    bench.results.chmod(0)
    bench.see(bench.run(before=OBEY), 4, "Permission denied", "faults")
    bench.results.chmod(0o755)
    bench.see_same()


def test_manifest_without_permission(bench, fault):
    fault(
        "manifest that may not be read",
        done="the manifest has mode 000",
        expects="exit 2 with the file",
    )
    manifest = bench.folder / "manifests" / "faults.yaml"
    manifest.chmod(0)
    bench.see(bench.run(before=OBEY), 2, "not readable", "faults.yaml")
    manifest.chmod(0o644)
    bench.see_same()


def test_read_only_cache(bench, disk, fault):
    fault(
        "read-only cache",
        done="STIMGEN_CACHE on a read-only disk; the run would record its speed there",
        expects="exit 0, as if nothing were wrong: only later estimates need the speed",
    )
    cache = disk("cache")
    mount("-o", "remount,ro", cache)
    speed = "from stimgen.runs import runner; runner.SPEED_NEEDS_S = 0.0"
    ran = bench.run(before=speed, env={"STIMGEN_CACHE": str(cache)})
    bench.see(ran, 0)
    bench.see_disk()
    assert list(cache.iterdir()) == []
    bench.see_same(before=speed)


@pytest.mark.parametrize("full", [False, True])
def test_weights_into_a_cache_that_takes_none(bench, disk, fault, full):
    what = "full" if full else "read-only"
    fault(
        f"weights for a {what} cache",
        done=f"stimgen weights import with STIMGEN_CACHE on a {what} disk",
        expects="exit 4 with the folder and the variable STIMGEN_CACHE; no half file; then it works",
    )
    cache = disk("cache", "size=64k")
    env = {"STIMGEN_CACHE": str(cache)}
    if full:
        sabotage.fill(str(cache))
    else:
        mount("-o", "remount,ro", cache)
    write = f"{NET}; fault_networks.write_pth('net.pth')"
    command = ("weights", "import", "net.pth", "--network", "tiny", "--input", "torchvision")
    ran = bench.stimgen(*command, before=write, env=env)
    bench.see(ran, 4, "No space left" if full else "Read-only file system", "STIMGEN_CACHE", str(cache))
    assert [path.name for path in cache.rglob("*") if path.is_file()] == (["ballast"] if full else [])
    if full:
        (cache / "ballast").unlink()
    else:
        mount("-o", "remount,rw", cache)
    bench.see(bench.stimgen(*command, before=write, env=env), 0)


def test_read_only_home(bench, disk, fault):
    fault(
        "read-only home",
        done="HOME on a read-only disk, no STIMGEN_CACHE: check, run, figure",
        expects="exit 0 three times",
    )
    home = disk("home")
    mount("-o", "remount,ro", home)
    before = (
        "import os; [os.environ.pop(name, None) for name in ('STIMGEN_CACHE', 'XDG_CACHE_HOME')]; "
        "from stimgen.runs import runner; runner.SPEED_NEEDS_S = 0.0"
    )
    env = {"HOME": str(home)}
    for command in (("check", "manifests/faults.yaml"), ("run", "manifests/faults.yaml")):
        bench.see(bench.stimgen(*command, before=before, env=env), 0)
    bench.see(bench.stimgen("figure", "results/faults", "--out", "f.png", before=before, env=env), 0)
    assert list(home.iterdir()) == []
    bench.see_same()


@pytest.mark.parametrize("which", ["results/faults", "results/faults/stimuli", "results/faults/records"])
def test_folder_removed_while_running(bench, fault, which):
    fault(
        f"{which.removeprefix('results/')} removed during a run",
        done="rm -r of the folder just before the third image is written",
        expects="exit 4 with what is gone; what is left is described; the same command makes the rest",
    )
    before = (
        "import sabotage, shutil; "
        f"sabotage.when_writing('*/stimuli/*.png', lambda: shutil.rmtree({which!r}), nth=3)"
    )
    bench.see(bench.run(before=before), 4, "No such file or directory")
    bench.see_disk()
    bench.see_same()


@pytest.mark.parametrize("mounted", ["results", "results/faults"])
def test_results_disk_unmounted(bench, disk, fault, mounted):
    fault(
        f"disk of {mounted} unmounted during a run",
        done="umount --lazy just before the third image is written",
        expects="exit 4 with the file that cannot be written; nothing below the mount point",
    )
    folder = disk(mounted)
    before = (
        "import sabotage, subprocess; sabotage.when_writing('*/stimuli/*.png', "
        f"lambda: subprocess.run(['umount', '--lazy', {str(folder)!r}], check=True), nth=3)"
    )
    bench.see(bench.run(before=before), 4, "No such file or directory")
    assert list(folder.iterdir()) == []
    disk(mounted)
    bench.see_same()


def test_no_inodes(bench, disk, fault):
    fault(
        "no inodes left",
        done="results on a disk for 14 files and folders",
        expects="exit 4 with the cause; no half file; then the same command goes on",
    )
    folder = disk("results", "size=2m,nr_inodes=14")
    bench.see(bench.run(), 4, "No space left on device")
    bench.see_disk()
    mount("-o", "remount,nr_inodes=100", folder)
    bench.see_same()


def test_file_where_the_folder_should_be(bench, fault):
    fault(
        "a file where the run folder should be",
        done="results/faults is a file",
        expects="exit 4 or 2 with its name and --out; the file stays",
    )
    bench.results.parent.mkdir()
    bench.results.write_text("mine")
    bench.see(bench.run(), 4, "results/faults", "--out")
    assert bench.results.read_text() == "mine"
    bench.results.unlink()
    bench.see_same()


def test_quota(bench, fault):
    fault(
        "largest file size reached",
        done="ulimit -f 4 KB: the kernel refuses longer files",
        expects="exit 4 with the file and the cause; then the same command goes on",
    )
    before = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    )
    bench.see(bench.run(before=before), 4, "File too large")
    bench.see_disk()
    bench.see_same()
