from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from stimgen.errors import StimgenError
from stimgen.images.read import skimage_file
from stimgen.networks import extractor as module
from stimgen.networks.extractor import PHOTOGRAPHS, photographs


def test_photographs_are_squares_of_256_px_halved_by_area() -> None:
    pictures = list(photographs())
    assert len(pictures) == len(PHOTOGRAPHS) == 6
    assert {(picture.shape, picture.dtype) for picture in pictures} == {((256, 256, 3), np.dtype(np.float32))}
    assert all(picture.min() >= 0 and 0.5 < picture.max() <= 1 for picture in pictures)
    from skimage.io import imread

    path = skimage_file("astronaut.png")
    assert path is not None
    halved = (imread(path)[..., :3] / 255).reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(pictures[0] - halved).max() <= 1.01 / 255


def test_a_changed_or_missing_photograph_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PHOTOGRAPHS:
        path = skimage_file("coffee.png" if name == "chelsea.png" else name)
        assert path is not None
        shutil.copy(path, tmp_path / name)
    monkeypatch.setattr(
        module, "skimage_file", lambda name: path if (path := tmp_path / name).is_file() else None
    )
    with pytest.raises(StimgenError, match=r"chelsea.png is not the photograph(.|\n)*reinstall"):
        list(photographs())
    (tmp_path / "camera.png").unlink()
    with pytest.raises(StimgenError, match=r"lacks the photograph camera.png"):
        list(photographs())
