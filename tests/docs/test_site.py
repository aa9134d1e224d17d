"""The site is built without a warning, has every page, and leads nowhere wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
from doc_pages import PAGES, ROOT
from site_pages import broken, pages_of

import stimgen

DOCS = ROOT / "docs"
CAPTIONS = ["Getting started", "How-to guides", "Reference", "Background", "Project"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_has_every_page(site):
    sources = {page.relative_to(DOCS) for page in PAGES[1:]} | {
        p.relative_to(DOCS) for p in DOCS.rglob("*.rst")
    }
    assert {page.with_suffix(".html").as_posix() for page in sources} <= set(pages_of(site))


@pytest.mark.slow
def test_every_page_is_in_the_navigation(site):
    (navigation,) = pages_of(site)["index.html"].find_class("sidebar-tree")
    captions = [caption.text_content() for caption in navigation.find_class("caption")]
    assert captions == CAPTIONS
    listed = navigation.xpath(".//a[contains(@class, 'reference')]/@href")
    expected = [page.relative_to(DOCS) for page in (*PAGES[1:], *DOCS.rglob("*.rst"))]
    assert sorted(listed) == sorted(
        page.with_suffix(".html").as_posix() for page in expected if page.name != "index.md"
    )


@pytest.mark.slow
def test_links_and_images_of_the_site_lead_somewhere(site):
    assert list(broken(site)) == []


@pytest.mark.slow
def test_what_is_public_is_documented_with_its_parameters(site):
    page = pages_of(site)["api.html"]
    for name in stimgen.__all__:
        (entry,) = page.xpath(f"//dl[dt[@id='stimgen.{name}']]/dd")
        assert entry.text_content().strip(), name
    (load_run,) = page.xpath("//dl[dt[@id='stimgen.load_run']]/dd")
    headings = [heading.text_content() for heading in load_run.find_class("field-list")[0].xpath("./dt")]
    assert [heading.rstrip(":") for heading in headings] == ["Parameters", "Returns", "Raises"]


@pytest.mark.slow
def test_pages_of_other_folders_are_included_and_linked(site):
    targets = pages_of(site)["psychopy.html"].xpath("//article//a/@href")
    assert {"experiments.html", "builder.html"} <= set(targets)


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "image.png").write_bytes(b"")
    (tmp_path / "page.html").write_text("<p id='here'><a href='sub/other.html#no'>x</a><a href='#here'>y</a>")
    (tmp_path / "sub" / "other.html").write_text(
        "<img src='../image.png?v=1'><img src='image.png'><a href='../page.html#here'>x</a><a href='https://x.y'>"
    )
    assert list(broken(tmp_path)) == [
        "page.html: sub/other.html#no has no such place",
        "sub/other.html: there is no image.png",
    ]
