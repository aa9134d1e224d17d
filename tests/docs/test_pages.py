"""Links lead somewhere, and generated tables are up to date."""

from __future__ import annotations

import importlib.util

import pytest
from doc_pages import PAGES, ROOT, anchors, links


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    for target in links(page):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: there is no {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target} has no such heading"


def test_every_page_is_linked_from_the_readme():
    readme = PAGES[0]
    linked = {(readme.parent / target.partition("#")[0]).resolve() for target in links(readme)}
    assert set(PAGES[1:]) <= linked


def test_generated_tables_are_up_to_date():
    generate = load("generate")
    found = []
    for page in PAGES[1:]:
        text = page.read_text(encoding="utf-8")
        assert generate.regenerate(text) == text, f"{page.name} is stale: python docs/generate.py"
        assert text.count("<!-- generated: ") == len(generate.PART.findall(text))
        found += [part[1] for part in generate.PART.findall(text)]
    assert sorted(found) == sorted(generate.PARTS)


def test_a_stale_table_is_noticed():
    generate = load("generate")
    stale = "<!-- generated: seeds -->\n| old |\n<!-- end of seeds -->"
    fresh = generate.regenerate(stale)
    assert fresh != stale
    assert "`count`" in fresh
    assert generate.regenerate(fresh) == fresh
