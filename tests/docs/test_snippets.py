"""Every fenced block of the documentation is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, block_marked, blocks
from page_runner import PageRunner, furnish

SLOW = ("paper.md", "psychopy.md", "scale.md")  # several runs, windows, workers
MARKED = [pytest.param(p, id=p.name, marks=[pytest.mark.slow] if p.name in SLOW else []) for p in PAGES]


@pytest.mark.parametrize("page", MARKED)
def test_blocks_of_a_page_run(page, page_runner, weights_file):
    if weights_file.name in page.read_text(encoding="utf-8"):
        shutil.copy(weights_file, page_runner.folder)
    for block in blocks(page):
        page_runner.run(block)


@pytest.mark.slow
def test_command_of_the_readme_gives_the_numbers_of_the_tutorial(tmp_path, monkeypatch):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    runner = PageRunner(tmp_path, full=True)
    readme, tutorial = blocks(ROOT / "README.md"), blocks(ROOT / "docs" / "tutorial.md")
    (main_job,) = (b for b in readme if b.language == "bash" and "stimgen run" in b.text)
    runner.run(main_job)
    assert len(list((tmp_path / "results" / "quickstart" / "stimuli").glob("*.png"))) == 10
    for block in tutorial:
        if (block.language == "python" and "needs" not in block.marks) or "output" in block.marks:
            runner.run(block)


EXAMPLES = {Path(b.marks["file"]): b.text for b in blocks(ROOT / "docs" / "design.md") if "file" in b.marks}


@pytest.mark.parametrize("module", [path for path in EXAMPLES if path.parts[0] == "stimgen"], ids=str)
def test_worked_example_passes_its_own_test(tmp_path, module):
    """An extension of the design page, registered in a process of its own."""
    (tmp_path / "extension.py").write_text(EXAMPLES[module], encoding="utf-8")
    path_of_test = Path("tests", *module.parts[1:-1], f"test_{module.name}")
    test = EXAMPLES[path_of_test]
    (tmp_path / "example.py").write_text(test, encoding="utf-8")
    code = "import extension, example as e; [f() for name, f in vars(e).items() if name.startswith('test_')]"
    for path, text in {module: EXAMPLES[module], path_of_test: test}.items():
        ruff = [sys.executable, "-m", "ruff", "check", "-q", "--stdin-filename", str(ROOT / path), "-"]
        checked = subprocess.run(ruff, input=text, capture_output=True, text=True, cwd=ROOT)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_import_order_of_the_design_page_is_enforced():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    assert block_marked("docs/design.md", "import order").splitlines() == contract["layers"]
