"""Gram distances and their scale in plain float64 NumPy, as `oracle.py` has the other statistics."""

from __future__ import annotations

import math

import numpy as np


def maps(pixels, network):
    """Return the feature maps (channel, height, width) of each layer."""
    factor, offset = network["input"]
    planes = np.repeat(pixels[np.newaxis], 3, axis=0) if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    x = factor * planes + np.asarray(offset)[:, np.newaxis, np.newaxis]
    found = {}
    for layer, weights in network.items():
        if layer == "input":
            continue
        if weights is None:
            height, width = (side // 2 * 2 for side in x.shape[1:])
            x = x[:, :height, :width]
            x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
        else:
            kernel, bias = weights
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="reflect")
            height, width = x.shape[1:]
            x = bias[:, np.newaxis, np.newaxis] + sum(
                np.tensordot(kernel[:, :, i, j], padded[:, i : i + height, j : j + width], axes=1)
                for i in range(3)
                for j in range(3)
            )
            x = np.maximum(x, 0)
        found[layer] = x
    return found


def gram_matrices(pixels, network):
    """Return the Gram matrix of each layer, divided by the number of positions."""
    flat = {layer: x.reshape(len(x), -1) for layer, x in maps(pixels, network).items()}
    return {layer: x @ x.T / x.shape[1] for layer, x in flat.items()}


def gram(pixels, source, network, scrambled):
    """Return the Gram distances of each layer, with their scale."""
    own, goal = gram_matrices(pixels, network), gram_matrices(source, network)
    above = [gram_matrices(image, network) for image in scrambled]
    height, width = (source.shape[0] + 1) // 2, (source.shape[1] + 1) // 2
    quarters = [
        gram_matrices(source[top : top + height, left : left + width], network)
        for top in (0, source.shape[0] - height)
        for left in (0, source.shape[1] - width)
    ]
    shrinking = math.sqrt(height * width / (source.shape[0] * source.shape[1]))
    found = {"gram_floor_extrapolated": True}
    for layer, target in goal.items():
        size = np.linalg.norm(target)
        relative = np.linalg.norm(own[layer] - target) / size
        between = [
            shrinking * np.linalg.norm(quarters[i][layer] - quarters[j][layer]) / size
            for i in range(4)
            for j in range(i)
        ]
        beyond = [np.linalg.norm(grams[layer] - target) / size for grams in above]
        found |= {
            f"gram_loss_{layer}": ((own[layer] - target) ** 2).sum() / (4 * len(target) ** 2),
            f"gram_relative_{layer}": relative,
            f"gram_normalised_{layer}": relative / np.mean(between) if any(between) else None,
            f"gram_floor_{layer}": np.mean(between),
            f"gram_floor_sd_{layer}": np.std(between, ddof=1),
            f"gram_ceiling_{layer}": np.mean(beyond),
            f"gram_ceiling_sd_{layer}": np.std(beyond, ddof=1),
        }
    return found
