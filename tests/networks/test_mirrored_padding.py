"""Convolutions of maps that are mirrored at their border, against NumPy's own padding."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stimgen.networks import extractor as module
from stimgen.networks.architectures import Convolution
from stimgen.networks.extractor import _Convolution, build_extractor


def convolved(step, maps, kernel, bias):
    """The layer in float64: mirrored by NumPy, and each output summed over its window."""
    width, stride, side = step.padding, step.stride, step.kernel
    padded = np.pad(maps, ((0, 0), (0, 0), (width, width), (width, width)), mode="reflect")
    rows, columns = ((length - side) // stride + 1 for length in padded.shape[2:])
    found = np.empty((len(maps), len(kernel), rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = padded[:, :, top : top + side, left : left + side]
            found[:, :, row, column] = np.einsum("bcij,ocij->bo", window, kernel) + bias
    return np.maximum(found, 0)


@pytest.mark.parametrize("band", [2**22, 30, 1])
@pytest.mark.parametrize(("side", "stride", "width"), [(3, 1, 1), (5, 1, 2), (5, 2, 2), (3, 1, 0)])
def test_maps_and_gradient(monkeypatch, side, stride, width, band):
    monkeypatch.setattr(module, "BAND", band)
    step = Convolution("conv", 2, 3, side, stride, width)
    generator = torch.Generator().manual_seed(1)
    maps, kernel, bias = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in ((2, 2, 7, 6), step.kernel_shape, (3,))
    )
    expected = convolved(step, maps.numpy(), kernel.numpy(), bias.numpy())
    np.testing.assert_allclose(_Convolution.apply(maps, kernel, bias, step, True), expected, atol=1e-12)
    maps.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: _Convolution.apply(x, kernel, bias, step, True), maps)


def test_a_network_with_mirrored_borders_has_the_filters_of_one_with_zeros(tiny_weights):
    zeros, mirrored = (build_extractor(tiny_weights("torchvision"), padding=p) for p in ("zeros", "mirrored"))
    assert all(torch.equal(*kernels) for kernels in zip(zeros.kernels, mirrored.kernels, strict=True))
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    first = zeros.architecture.layers[0]
    inside, outside = (one.features(images, [first])[first] for one in (zeros, mirrored))
    torch.testing.assert_close(inside[..., 1:-1, 1:-1], outside[..., 1:-1, 1:-1])
    assert not torch.allclose(inside, outside)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    padded = F.pad((images - mean) / std, (1, 1, 1, 1), mode="reflect")
    expected = F.relu(F.conv2d(padded, mirrored.kernels[0], mirrored.biases[0]))
    torch.testing.assert_close(outside, expected, rtol=1e-4, atol=1e-4)
