"""The documentation as a site: ``python -m sphinx -W --keep-going -b html docs build/site``."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from stimgen import __version__

project = "stimgen"
author = "The stimgen developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton"]

# Pages are read on GitHub too: headings have anchors as there.
myst_heading_anchors = 4
# Options begin with two hyphens, which must stay two.
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
numpydoc_show_class_members = False
# In docstrings, names in single backticks are those of the code.
default_role = "py:obj"

# Copying a block of commands leaves out the prompts and what is printed.
copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = f"stimgen {release}"
html_copy_source = False
html_show_sourcelink = False

REPOSITORY = Path(__file__).parents[1]
INCLUDED = {
    str(REPOSITORY / "experiments" / "README"): "experiments",
    str(REPOSITORY / "experiments" / "oddity_builder"): "builder",
}
"""Pages that lie elsewhere in the repository, and where the site has them."""


def setup(app: Sphinx) -> None:
    """Let links to pages that lie outside of this folder lead to where the site includes them."""
    app.connect("doctree-read", lead_to_included)


def lead_to_included(_app: Sphinx, page: nodes.document) -> None:
    """Change the targets of such links on a page."""
    for link in page.findall(pending_xref):
        link["reftarget"] = INCLUDED.get(link["reftarget"], link["reftarget"])
