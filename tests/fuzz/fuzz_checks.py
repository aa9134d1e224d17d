"""What holds for every manifest and every image, however damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from stimgen.images.pixels import ImageError, to_unit_range
from stimgen.images.read import SIGNATURES, decode
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan


def check_manifest(path: Path) -> None:
    """Check that a file gives a manifest that can be written and read again, or a ManifestError."""
    try:
        manifest = load_manifest(path)
    except ManifestError as error:
        str(error).encode()
        assert all(problem.message for problem in error.errors)  # noqa: PT017
        return
    ids = [stimulus.stimulus_id for stimulus in plan(manifest)]
    assert len({name.lower() for name in ids}) == len(ids)
    assert manifest.output.parent.name == "results"
    resolved = yaml.safe_dump(manifest.resolved(path.parent), sort_keys=False, allow_unicode=True)
    path.write_text(resolved, encoding="utf-8")
    assert [stimulus.stimulus_id for stimulus in plan(load_manifest(path))] == ids


def check_image(content: bytes) -> None:
    """Check that a file gives pixels from 0 to 1, or an ImageError."""
    try:
        decoded, file_format = decode(content, "image")
        pixels = to_unit_range(decoded, "image")
    except ImageError as error:
        str(error).encode()
        assert error.cure  # noqa: PT017
        return
    assert file_format in SIGNATURES.values()
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1
