"""Folders that are read-only, removed or unmounted: real mounts, real removal."""

from __future__ import annotations

import shutil

import pytest
import sabotage
from fault_bench import mount
from fault_networks import REGISTER

OBEY = "import sabotage; sabotage.obey_permissions()"
AT_THIRD_IMAGE = "import sabotage, shutil, subprocess; sabotage.when_writing('*/stimuli/*.png', {}, nth=3)"


def test_read_only_results_folder(bench, disk):
    folder = disk("results")
    mount("-o", "remount,ro", folder)
    bench.check(bench.run(), 4, "Read-only file system", "--out")
    mount("-o", "remount,rw", folder)
    bench.check_same()
    # A finished run stays readable, and is repaired once it can be written.
    next((bench.results / "stimuli").glob("*.png")).unlink()
    mount("-o", "remount,ro", folder)
    bench.check(bench.run(), 4, "Read-only file system")
    bench.check_disk("lacks")
    mount("-o", "remount,rw", folder)
    bench.check_same()


def test_run_folder_without_permission(bench):
    bench.check_same()
    shutil.rmtree(bench.results / "trials")
    bench.results.chmod(0)
    bench.check(bench.run(before=OBEY), 4, "Permission denied", "faults")
    bench.results.chmod(0o755)
    bench.check_same()


def test_read_only_home(bench, disk):
    home = disk("home")
    mount("-o", "remount,ro", home)
    before = (
        "import os; [os.environ.pop(name, None) for name in ('STIMGEN_CACHE', 'XDG_CACHE_HOME')]; "
        "from stimgen.runs import runner; runner.SPEED_NEEDS_S = 0.0"
    )
    bench.check_same(before=before, env={"HOME": str(home)})
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_weights_are_not_imported_into_such_a_cache(bench, disk, fault):
    cache = disk("cache", "size=64k")
    env = {"STIMGEN_CACHE": str(cache)}
    if fault == "full":
        sabotage.fill(str(cache))
    else:
        mount("-o", "remount,ro", cache)
    write = f"{REGISTER}; fault_networks.write_pth('net.pth')"
    command = ("weights", "import", "net.pth", "--network", "tiny", "--input", "torchvision")
    cause = "No space left" if fault == "full" else "Read-only file system"
    bench.check(bench.stimgen(*command, before=write, env=env), 4, cause, "STIMGEN_CACHE", str(cache))
    left = [path.name for path in cache.rglob("*") if path.is_file()]
    assert left == (["ballast"] if fault == "full" else [])
    mount("-o", "remount,rw", cache)
    (cache / "ballast").unlink(missing_ok=True)
    bench.check(bench.stimgen(*command, before=write, env=env), 0)


@pytest.mark.parametrize("name", ["results/faults", "results/faults/records"])
def test_folder_removed_during_a_run(bench, name):
    before = AT_THIRD_IMAGE.format(f"lambda: shutil.rmtree({name!r})")
    bench.check(bench.run(before=before), 4, "No such file or directory")
    bench.check_disk()
    bench.check_same()


def test_disk_unmounted_during_a_run(bench, disk):
    folder = disk("results")
    umount = f"lambda: subprocess.run(['umount', '--lazy', {str(folder)!r}], check=True)"
    bench.check(bench.run(before=AT_THIRD_IMAGE.format(umount)), 4, "No such file or directory")
    assert list(folder.iterdir()) == []
    disk("results")
    bench.check_same()


def test_no_inodes_left(bench, disk):
    folder = disk("results", "size=2m,nr_inodes=14")
    bench.check(bench.run(), 4, "No space left on device")
    bench.check_disk()
    mount("-o", "remount,nr_inodes=100", folder)
    bench.check_same()


def test_largest_file_size_reached(bench):
    before = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    )
    bench.check(bench.run(before=before), 4, "File too large")
    bench.check_disk()
    bench.check_same()


def test_file_in_place_of_the_run_folder(bench):
    bench.results.parent.mkdir()
    bench.results.write_text("mine")
    bench.check(bench.run(), 4, "results/faults", "--out")
    assert bench.results.read_text() == "mine"
