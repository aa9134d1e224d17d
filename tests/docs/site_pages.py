"""The built site, taken apart: what its pages link to and show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from lxml import html

LINKS = (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href"))


def pages_of(site: Path) -> dict[str, html.HtmlElement]:
    """Return the pages of a site by their paths in it."""
    return {
        path.relative_to(site).as_posix(): html.document_fromstring(path.read_bytes())
        for path in sorted(site.rglob("*.html"))
    }


def broken(site: Path) -> Iterator[str]:
    """Yield what links and images of a site lead nowhere: to no file, or to no place in a page."""
    pages = pages_of(site)
    anchors = {name: set(page.xpath("//@id")) for name, page in pages.items()}
    for name, page in pages.items():
        for element, attribute in LINKS:
            for target in page.xpath(f"//{element}/@{attribute}"):
                if "://" in target or target.startswith(("data:", "mailto:")):
                    continue
                path, _, anchor = target.partition("#")
                # A query is a version, against copies that browsers keep.
                file = (site / name).parent / unquote(path.partition("?")[0]) if path else site / name
                if not file.is_file():
                    yield f"{name}: there is no {target}"
                    continue
                found = file.resolve().relative_to(site.resolve()).as_posix()
                if anchor and found in anchors and unquote(anchor) not in anchors[found]:
                    yield f"{name}: {target} has no such place"
