"""Runs shown to people: figures of stimuli, a report on one page, and a page while a run works."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates(*, autoescape: bool = True) -> Environment:
    """Return the environment of the templates.

    With `autoescape`, names, messages and manifests are text on a page, whatever is in them.
    """
    return Environment(
        loader=PackageLoader("stimgen.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
