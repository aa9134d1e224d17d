from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stimgen.texture.gram import gram_loss, gram_matrix, relative_gram_distance

features = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-8, 8, width=32),
)


def gram64(maps: np.ndarray) -> np.ndarray:
    """Equation 1 of the paper, divided by the number of positions, one image at a time."""
    flat = maps.astype(np.float64).reshape(maps.shape[0], maps.shape[1], -1)
    return np.stack([image @ image.T / image.shape[1] for image in flat])


@given(features)
def test_gram_matrix_is_that_of_numpy_in_float64(maps: np.ndarray) -> None:
    gram = gram_matrix(torch.from_numpy(maps))
    assert gram.dtype == torch.float32
    np.testing.assert_allclose(gram.numpy(), gram64(maps), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_does_not_change_it(layout: torch.memory_format) -> None:
    maps = np.random.default_rng(0).standard_normal((2, 7, 5, 3))
    gram = gram_matrix(torch.from_numpy(maps).contiguous(memory_format=layout))
    np.testing.assert_allclose(gram.numpy(), gram64(maps), rtol=1e-12)


def test_bfloat16_features_are_summed_in_float32() -> None:
    maps = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    # In bfloat16 a sum of ones would stop at 256.
    assert gram_matrix(maps).item() == 1.0
    assert gram_matrix(maps).dtype == torch.float32


def test_gram_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    synthesis, source = rng.standard_normal((1, 4, 5, 5)), rng.standard_normal((1, 4, 3, 7))
    loss = gram_loss(gram_matrix(torch.from_numpy(synthesis)), gram_matrix(torch.from_numpy(source)))
    expected = np.sum((gram64(synthesis) - gram64(source)) ** 2) / (4 * 4**2)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_relative_distance_is_a_ratio_of_frobenius_norms() -> None:
    rng = np.random.default_rng(2)
    a, b = gram64(rng.standard_normal((3, 4, 5, 5))), gram64(rng.standard_normal((3, 4, 5, 5)))
    distance = relative_gram_distance(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    for i in range(3):
        assert distance[i] == pytest.approx(np.linalg.norm(a[i] - b[i]) / np.linalg.norm(b[i]), rel=1e-12)
    assert relative_gram_distance(torch.from_numpy(a), torch.from_numpy(a)).tolist() == [0, 0, 0]


def test_gradient_is_the_published_one() -> None:
    """The gradient of E with respect to the features is (G - T) F / (N^2 M)."""
    rng = np.random.default_rng(3)
    maps, target = rng.standard_normal((1, 3, 4, 5)), gram64(rng.standard_normal((1, 3, 4, 5)))
    tensor = torch.from_numpy(maps).requires_grad_()
    loss = gram_loss(gram_matrix(tensor), torch.from_numpy(target))
    (gradient,) = torch.autograd.grad(loss.sum(), tensor)
    flat = maps.reshape(3, 20)
    expected = (gram64(maps)[0] - target[0]) @ flat / (3**2 * 20)
    np.testing.assert_allclose(gradient.numpy().reshape(3, 20), expected, rtol=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    target = torch.from_numpy(gram64(np.random.default_rng(4).standard_normal((2, 3, 4, 4))))
    maps = torch.from_numpy(np.random.default_rng(5).standard_normal((2, 3, 4, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: gram_loss(gram_matrix(m), target), (maps,))
