from __future__ import annotations

import numpy as np
import torch
from decoding_images import ORIENTATIONS, SIDE_PX, grating
from PIL import Image
from scipy.signal import correlate2d
from stimgen.decoding.extraction import extract
from stimgen.decoding.representation import parameters, upper_triangle

from stimgen.decoding.features import feature_folder
from stimgen.decoding.settings import ImageSettings
from stimgen.images.read import read_image
from stimgen.networks.extractor import build_extractor
from stimgen.networks.weights import find_weights


def triangle(gram: np.ndarray) -> np.ndarray:
    """The definition, entry by entry."""
    side = len(gram)
    return np.array([gram[i, j] * (1 if i == j else np.sqrt(2)) for i in range(side) for j in range(i, side)])


def test_the_triangle_is_that_of_the_definition():
    grams = np.random.default_rng(1).standard_normal((3, 7, 7))
    grams += grams.transpose(0, 2, 1)
    found = upper_triangle(torch.from_numpy(grams))
    assert found.shape == (3, parameters(7))
    np.testing.assert_allclose(found.numpy(), [triangle(gram) for gram in grams], rtol=1e-15)


def test_distances_are_those_of_the_matrices():
    grams = torch.randn(2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    grams = grams + grams.transpose(1, 2)
    one, two = upper_triangle(grams)
    np.testing.assert_allclose(
        torch.linalg.vector_norm(one - two), torch.linalg.matrix_norm(grams[0] - grams[1])
    )


def test_features_on_disk_are_those_of_the_images(tmp_path):
    """From file to row, against a convolution, a Gram matrix and a triangle in float64 NumPy."""
    rng = np.random.default_rng(2)
    wanted = []
    for name in ORIENTATIONS:
        Image.fromarray(grating(name, rng)).save(tmp_path / f"{name}.png")
        wanted.append((tmp_path / f"{name}.png", read_image(tmp_path / f"{name}.png").sha256))
    weights = find_weights("vgg16", "random:3")
    extractor = build_extractor(weights, normalise=False, deepest="conv1_1")
    folder = feature_folder(tmp_path / "features", {}, {"conv1_1": parameters(64)})
    image = ImageSettings(SIDE_PX, "grey")
    assert extract(extractor, wanted, folder, image, 2, lambda _: None) == []
    rows = folder.open("conv1_1")
    convention, kernel, bias = weights.convention, weights.kernels[0].numpy(), weights.biases[0].numpy()
    for (path, sha256), row in zip(wanted, rows, strict=True):
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
        assert folder.images().index(sha256) == wanted.index((path, sha256))
    assert not np.allclose(rows[0], rows[1], rtol=0.01)
