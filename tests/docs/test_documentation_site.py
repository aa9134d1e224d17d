"""The site is built without a warning."""

from __future__ import annotations

import subprocess
import sys

import pytest
from doc_pages import ROOT

import stimgen


@pytest.mark.slow
def test_site_is_built_without_a_warning(tmp_path):
    """Sphinx warns of links and images that lead nowhere, and of pages that no navigation lists."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api.html").read_text(encoding="utf-8")
    for name in stimgen.__all__:
        assert f'id="stimgen.{name}"' in api
    psychopy = (tmp_path / "psychopy.html").read_text(encoding="utf-8")
    for page_of_another_folder in ("experiments.html", "builder.html"):
        assert psychopy.count(f'href="{page_of_another_folder}"') >= 2  # in the navigation and in the text
