from __future__ import annotations

import numpy as np
import pytest
from decoding_images import ORIENTATIONS, SIDE_PX, grating
from PIL import Image
from scipy.signal import correlate2d

from stimgen.decoding.features import FeatureFolder, extract, locked
from stimgen.decoding.settings import ImageSettings
from stimgen.errors import StimgenError
from stimgen.images.read import read_image
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights
from stimgen.runs.store import StoreError

SIZES = {"conv1_1": 3, "pool1": 2}
FIRST, SECOND, THIRD = ("1" * 64, "2" * 64, "3" * 64)


def rows(start: int, count: int) -> dict[str, np.ndarray]:
    return {
        layer: np.arange(start, start + count * size, dtype=np.float32).reshape(count, size)
        for layer, size in SIZES.items()
    }


def triangle(gram: np.ndarray) -> np.ndarray:
    """The definition of the features, entry by entry."""
    side = len(gram)
    return np.array([gram[i, j] * (1 if i == j else np.sqrt(2)) for i in range(side) for j in range(i, side)])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "features"
    path.mkdir()
    made = FeatureFolder(path, SIZES)
    made.repair()
    return made


def test_rows_are_read_as_they_were_appended(folder):
    folder.append(rows(0, 2), [FIRST, SECOND])
    folder.append(rows(50, 1), [THIRD])
    assert folder.images() == [FIRST, SECOND, THIRD]
    for layer in SIZES:
        expected = np.concatenate([rows(0, 2)[layer], rows(50, 1)[layer]])
        np.testing.assert_array_equal(folder.open(layer), expected)
        assert isinstance(folder.open(layer), np.memmap)


def test_unfinished_rows_are_removed_and_missing_rows_are_damage(folder):
    folder.append(rows(0, 1), [FIRST])
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    with folder.file("conv1_1").open("ab") as file:
        file.write(b"\0" * 17)
    with folder.index.open("ab") as file:
        file.write(SECOND.encode()[:40])
    assert folder.images() == [FIRST]
    folder.repair()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    with folder.file("pool1").open("r+b") as file:
        file.truncate(7)
    with pytest.raises(StimgenError, match="is shorter than") as error:
        folder.repair()
    assert "Remove the folder" in error.value.cure


def test_folder_is_locked_and_cleaned(tmp_path):
    leftovers = [tmp_path / ".tmp-x", tmp_path / "layers" / ".tmp-y"]
    kept = tmp_path / "layers" / "pool1.json"
    leftovers[1].parent.mkdir()
    for path in (*leftovers, kept):
        path.write_text("half")
    with locked(tmp_path):
        assert not any(path.exists() for path in leftovers)
        with pytest.raises(StimgenError, match="Another stimgen decode"), locked(tmp_path):
            pytest.fail("two commands are in one folder")
    assert kept.exists()


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"), locked(tmp_path / "file" / "deeper"):
        pytest.fail("locked")
    with (
        pytest.raises(StoreError, match=r"features cannot be written: No space"),
        locked(tmp_path / "features"),
    ):
        raise OSError(28, "No space left on device")


def test_features_of_files_match_float64_numpy(tmp_path):
    """From file to row, against a convolution, a Gram matrix and a triangle in float64 NumPy."""
    rng = np.random.default_rng(2)
    paths = {}
    for name in ORIENTATIONS:
        Image.fromarray(grating(name, rng)).save(tmp_path / f"{name}.png")
        paths[read_image(tmp_path / f"{name}.png").sha256] = tmp_path / f"{name}.png"
    weights = find_weights("vgg16", "random:3")
    extractor = build_extractor(weights, normalise=False, deepest="conv1_1")
    (tmp_path / "features").mkdir()
    folder = FeatureFolder(tmp_path / "features", {"conv1_1": 64 * 65 // 2})
    assert extract(extractor, paths, folder, ImageSettings(SIDE_PX, "grey"), 2, lambda _: None) == {}
    assert folder.images() == list(paths)
    convention, kernel, bias = weights.convention, weights.kernels[0].numpy(), weights.biases[0].numpy()
    for path, row in zip(paths.values(), folder.open("conv1_1"), strict=True):
        grey = np.asarray(Image.open(path), np.float64) / 255
        planes = [
            (convention.scale * grey - m) / s for m, s in zip(convention.mean, convention.std, strict=True)
        ]
        maps = [
            sum(correlate2d(p, k.astype(np.float64), "same") for p, k in zip(planes, filters, strict=True))
            for filters in kernel
        ]
        active = np.maximum(np.stack(maps) + bias[:, None, None], 0).reshape(64, -1)
        expected = triangle(active @ active.T / active.shape[1])
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert not np.allclose(*folder.open("conv1_1"), rtol=0.01)
