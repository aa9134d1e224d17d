"""Every fenced block of the documentation is run, or is on the list of those that are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec

import pytest
from doc_pages import PAGES, ROOT, blocks
from workshop import Workshop, furnish

NEEDS = {
    "docs/howto/gpu.md": ["gpu", "gpu"],
    "docs/howto/offline.md": ["internet"],
    "docs/paper.md": ["internet"],
    "docs/psychopy.md": ["psychopy", "psychopy", "psychopy", "participant", "psychopy"],
    "docs/trials.md": ["psychopy"],
    "docs/tutorial.md": ["psychopy"],
    "docs/weights.md": ["internet"],
}
"""What blocks of a page need that may be missing: those are compiled, or parsed, and not run.

A participant is always missing, and so is the GPU of these pages.
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, workshop, weights_file):
    if weights_file.name in page.read_text(encoding="utf-8"):
        shutil.copy(weights_file, workshop.folder)
    for block in blocks(page):
        workshop.run(block)
    missing = [need for need in NEEDS.get(_name(page), []) if need == "internet" or find_spec(need) is None]
    assert [block.marks["needs"] for block in workshop.not_run] == missing


def test_nothing_needs_more_than_is_listed():
    found = {_name(page): [b.marks["needs"] for b in blocks(page) if "needs" in b.marks] for page in PAGES}
    assert {page: needs for page, needs in found.items() if needs} == NEEDS


@pytest.mark.slow
def test_the_main_job_and_the_numbers_of_the_tutorial(tmp_path, monkeypatch):
    """The README's command with the manifest as it is, then what the pages print from its tables."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    workshop = Workshop(tmp_path, full=True)
    readme, tutorial = blocks(ROOT / "README.md"), blocks(ROOT / "docs" / "tutorial.md")
    (main_job,) = (b for b in readme if b.language == "bash" and "stimgen run" in b.text)
    workshop.run(main_job)
    assert len(list((tmp_path / "results" / "quickstart" / "stimuli").glob("*.png"))) == 10
    compared = 0
    for block in tutorial:
        if (block.language == "python" and "needs" not in block.marks) or "output" in block.marks:
            workshop.run(block)
            compared += "output" in block.marks
    assert compared


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("stimgen/controls/partly_shuffled.py", "tests/controls/test_partly_shuffled.py"),
        ("stimgen/measure/local_contrast.py", "tests/measure/test_local_contrast.py"),
    ],
)
def test_a_worked_example_passes_its_own_test(tmp_path, module, test):
    """The control and the statistic of the design page, each registered in a process of its own."""
    example = {b.marks["file"]: b.text for b in blocks(ROOT / "docs" / "design.md") if "file" in b.marks}
    (tmp_path / "extension.py").write_text(example[module], encoding="utf-8")
    (tmp_path / "example.py").write_text(example[test], encoding="utf-8")
    code = (
        "import extension, example\n"
        "(test,) = (f for name, f in vars(example).items() if name.startswith('test_'))\n"
        "test()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_import_order_is_the_enforced_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    (order,) = (b for b in blocks(ROOT / "docs" / "design.md") if "import order" in b.marks)
    assert order.text.split("\n")[:-1] == contract["layers"]


def _name(page):
    return page.relative_to(ROOT).as_posix()
