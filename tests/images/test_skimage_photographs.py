from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from stimgen.images.pixels import ImageError
from stimgen.images.read import PHOTOGRAPHS, read_image, skimage_file, skimage_path


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_of_scikit_image(name):
    raw = read_image(f"skimage:{name}")
    assert raw.sha256 == hashlib.sha256(skimage_path(name).read_bytes()).hexdigest()
    assert raw.origin.startswith(f"skimage:{name} (scikit-image ")
    assert 0 <= raw.pixels.min() < raw.pixels.max() <= 1


@pytest.mark.parametrize("name", ["bricks", "multipage", "../data/brick", ""])
def test_unknown_photograph_lists_the_known(name):
    with pytest.raises(ImageError, match="astronaut, brick, camera") as caught:
        read_image(f"skimage:{name}")
    if name == "bricks":
        assert 'Did you mean "brick"?' in caught.value.cure


@pytest.mark.parametrize("package", ["skimage", "_skimage2"])
def test_photographs_are_found_in_the_package_folders_of_scikit_image(tmp_path, monkeypatch, package):
    """Version 0.26 has its images in skimage/data, the main branch in _skimage2/data."""
    content = skimage_path("brick").read_bytes()
    for name in ("skimage", "_skimage2"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    path = tmp_path / package / "data" / "brick.png"
    path.write_bytes(content)
    (tmp_path / package / "data" / "README.txt").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    assert skimage_path("brick") == skimage_file("brick.png") == path
    assert skimage_file("camera.png") is None
    with pytest.raises(ImageError, match="ships no image"):
        skimage_path("camera")
    assert read_image("skimage:brick").sha256 == hashlib.sha256(content).hexdigest()


def test_finding_a_photograph_imports_no_scikit_image():
    code = (
        "import sys; from stimgen.images.read import skimage_path; import stimgen.images.sources;"
        "slow = {'skimage', 'scipy', 'torch', 'PIL', 'tifffile'};"
        "print(skimage_path('brick').is_file(), slow & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split(maxsplit=1) == ["True", "set()\n"]
