from __future__ import annotations

import re

import pytest

from stimgen import references
from stimgen.references import Reference

REFERENCES = [value for value in vars(references).values() if isinstance(value, Reference)]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.key)
def test_references_are_whole(reference):
    assert re.fullmatch(r"[a-z]+\d{4}", reference.key)
    assert reference.key.endswith(str(reference.year))
    assert str(reference.year) in reference.text
    assert reference.bibtex.count("{") == reference.bibtex.count("}")
    assert not re.search(r"(?<!\\)&", reference.bibtex)
    assert reference.bibtex.isascii()


def test_references_have_different_keys():
    keys = [reference.key for reference in REFERENCES]
    assert len(set(keys)) == len(keys)
