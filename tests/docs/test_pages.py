"""Links and paths lead somewhere, and generated parts are up to date."""

from __future__ import annotations

import importlib.util
import re

import pytest
from doc_pages import PAGES, ROOT, anchors, inline

PATH = re.compile(r"(stimgen|tests|benchmarks|experiments|manifests)/[\w/.-]+\.\w+|test_\w+\.py")


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in inline(page, "links"):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: there is no {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target} has no such heading"


@pytest.mark.parametrize("name", ["reliability.md", "contributing.md", "engine.md", "decoding.md"])
def test_files_that_a_page_names_exist(name):
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for text in inline(ROOT / "docs" / name, "code_inline"):
        if PATH.fullmatch(text):
            assert text in tests or (ROOT / text).exists(), f"{name}: there is no {text}"


def test_every_page_is_linked_from_the_readme():
    readme = PAGES[0]
    linked = {(readme.parent / target.partition("#")[0]).resolve() for target in inline(readme, "links")}
    assert set(PAGES[1:]) <= linked


def test_generated_parts_are_up_to_date(generate):
    found = []
    for page in PAGES[1:]:
        text = page.read_text(encoding="utf-8")
        assert generate.regenerate(text) == text, f"{page.name} is out of date: python docs/generate.py"
        found += re.findall(r"<!-- generated: ([\w ]+) -->", text)
    assert sorted(found) == sorted(generate.PARTS)


def test_outdated_part_is_noticed(generate):
    outdated = "<!-- generated: seeds -->\nold\n<!-- end of seeds -->"
    fresh = generate.regenerate(outdated)
    assert "`count`" in fresh
    assert "old" not in fresh
    assert generate.regenerate(fresh) == fresh
