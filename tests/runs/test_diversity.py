from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from run_manifests import IDS

from stimgen.images.png import encode_png
from stimgen.runs import diversity
from stimgen.runs.diversity import Exemplar, seed_correlations
from stimgen.runs.store import RunFolder, sha256


@pytest.fixture(autouse=True)
def empty_cache():
    diversity._highest.cache_clear()


@pytest.fixture
def group(finished, tmp_path):
    """Return a function that writes 8-bit images as exemplars of one condition: folder and records."""
    template = finished.read_record(IDS[0])

    def write(*images):
        folder = RunFolder(tmp_path / "run")
        folder.prepare()
        records = []
        for seed, image in enumerate(images):
            content = encode_png(image)
            changes = {"stimulus_id": f"brick-conv1_1-s{seed}", "seed": seed, "png_sha256": sha256(content)}
            records.append(template.model_copy(update=changes))
            folder.png(records[-1].stimulus_id).write_bytes(content)
        return folder, records

    return write


def compared(folder, records):
    return seed_correlations(folder, [Exemplar.of(record) for record in records])


def noise(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def test_stimuli_of_a_run_are_compared_with_their_other_seeds(finished):
    table = pd.read_csv(finished.path / "stimuli.csv", index_col="stimulus_id")["seed_correlation"]
    for one, other in ((0, 1), (2, 3), (5, 6)):
        images = [np.asarray(Pillow.open(finished.png(IDS[place]))).ravel() for place in (one, other)]
        expected = np.corrcoef(*images)[0, 1]
        assert table[IDS[one]] == pytest.approx(expected, abs=1e-6)
        assert table[IDS[other]] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(table["brick-original"])


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
@pytest.mark.parametrize("images_at_once", [1, 3, 100])
def test_highest_correlation_is_numpys_whatever_fits_in_memory(group, monkeypatch, shape, images_at_once):
    folder, records = group(*noise(7, *shape))
    side = records[0].image.size_px
    monkeypatch.setattr(diversity, "MEMORY_BYTES", images_at_once * 8 * side**2)
    planes = [np.asarray(Pillow.open(folder.png(record.stimulus_id))) / 255 for record in records]
    if len(shape) == 3:
        planes = [plane @ (0.2126, 0.7152, 0.0722) for plane in planes]
    matrix = np.corrcoef([plane.ravel() for plane in planes])
    np.fill_diagonal(matrix, -np.inf)
    found = compared(folder, records)
    assert list(found.values()) == pytest.approx(matrix.max(axis=0).tolist(), abs=1e-6)


def test_equal_images_and_images_without_contrast(group):
    one, other = noise(2, 8, 8)
    constant = np.full((8, 8), 77, np.uint8)
    folder, records = group(one, other, one, constant)
    first, second, third, fourth = compared(folder, records).values()
    assert first == third == pytest.approx(1)
    assert second == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1], abs=1e-6)
    assert fourth is None


def test_other_conditions_and_sources_are_not_compared(group):
    folder, (one, other) = group(*noise(2, 8, 8))
    other = other.model_copy(update={"condition": "pool1"})
    assert set(compared(folder, [one, other]).values()) == {None}
    other = one.model_copy(update={"source": one.source.model_copy(update={"id": "gravel"})})
    assert set(compared(folder, [one, other]).values()) == {None}


def test_the_same_files_are_not_read_again(group, monkeypatch):
    folder, records = group(*noise(3, 8, 8))
    first = compared(folder, records)
    monkeypatch.setattr(diversity, "decode_png", None)
    assert compared(folder, records) == first
