"""Files about the project say what the project is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT
from jsonschema import Draft7Validator, FormatChecker

import stimgen

# Version 1.2.0 of https://github.com/citation-file-format/citation-file-format (CC BY 4.0).
SCHEMA = Draft7Validator(
    json.loads((Path(__file__).parent / "citation_file_format_1_2_0.json").read_text(encoding="utf-8")),
    format_checker=FormatChecker(),
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_is_valid(citation):
    assert [error.message for error in SCHEMA.iter_errors(citation)] == []


def test_a_citation_without_authors_is_not_valid(citation):
    del citation["authors"]
    errors = [error.message for error in SCHEMA.iter_errors(citation)]
    assert errors == ["'authors' is a required property"]


def test_the_citation_is_of_this_version(citation):
    assert citation["version"] == stimgen.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"].rstrip(".") == PROJECT["description"]
    assert citation["authors"] == PROJECT["authors"]


def test_the_changelog_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    release, _, development = stimgen.__version__.partition(".dev")
    assert development or release in versions


def test_the_installation_page_has_every_extra():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert named == list(PROJECT["optional-dependencies"])


def test_the_api_page_has_what_is_public():
    text = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)(?:\(\))?$", text, re.MULTILINE)
    assert sorted(documented) == sorted(stimgen.__all__)
