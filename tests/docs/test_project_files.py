"""Files about the project agree with the code."""

from __future__ import annotations

import re
import tomllib

import yaml
from doc_pages import ROOT

import stimgen

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_citation_has_the_keys_that_its_format_requires():
    """Of https://github.com/citation-file-format/citation-file-format."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"authors", "message", "title"} <= citation.keys()
    for reference in citation["references"]:
        assert {"authors", "title", "type"} <= reference.keys()


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == stimgen.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"].rstrip(".") == PROJECT["description"]
    assert citation["authors"] == PROJECT["authors"]


def test_changelog_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    release, _, development = stimgen.__version__.partition(".dev")
    assert development or release in versions


def test_installation_page_has_every_extra():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(PROJECT["optional-dependencies"])


def test_api_page_has_what_is_public():
    text = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)(?:\(\))?$", text, re.MULTILINE)
    assert sorted(documented) == sorted(stimgen.__all__)
