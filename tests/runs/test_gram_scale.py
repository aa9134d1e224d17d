"""Floor and ceiling of Gram distances: on what they are measured, and runs with another scale."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from run_manifests import IDS, tiny
from same_runs import comparable

from stimgen.images.sources import Box, Photograph, Source
from stimgen.measure import STATISTICS
from stimgen.measure.gram import gram_distances
from stimgen.runs.preparation import crops_around, prepare, scrambled_versions
from stimgen.runs.record import content_sha256
from stimgen.runs.runner import run
from stimgen.verify.recompute import recompute_statistics
from stimgen.verify.run import verify_run

LAYERS = ["conv1_1", "pool1"]


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        (Box(30, 40, 8, 8), [(26, 36), (34, 36), (26, 44), (34, 44)]),
        (Box(0, 52, 8, 8), [(0, 44), (8, 44), (0, 52), (8, 52)]),
        (Box(31, 3, 25, 25), [(19, 0), (44, 0), (19, 25), (44, 25)]),
    ],
    ids=["around the source", "in a corner", "an odd side"],
)
def test_crops_are_quarters_of_a_square_around_the_source(box, corners):
    rows, columns = np.indices((60, 90))
    numbers = (rows * 90 + columns).astype(np.float32) / 5400
    image = type("Spec", (), {"size_px": box.width, "color": "grey"})
    source = Source("a", np.zeros((box.width,) * 2, np.float32), "", "", box, (60, 90), 0.0)
    crops = crops_around(source, lambda: Photograph(numbers, "", box, image))
    expected = [numbers[top : top + box.width, left : left + box.width] for left, top in corners]
    assert [crop[0, 0] for crop in crops] == [crop[0, 0] for crop in expected]
    np.testing.assert_array_equal(crops, expected)


def test_a_photograph_without_room_is_not_read_again():
    source = Source("a", np.zeros((8, 8), np.float32), "", "", Box(0, 0, 31, 31), (61, 900), 0.0)
    assert crops_around(source, lambda: pytest.fail("read")) == []


def test_the_floor_is_of_crops_as_large_as_the_source_if_the_file_has_room(tmp_path):
    box = (100, 60, 64, 64)
    crops = [(68, 28, 64, 64), (132, 28, 64, 64), (68, 92, 64, 64), (132, 92, 64, 64)]
    entries = [{"id": name, "image": "skimage:brick"} for name in "abcdef"]
    for entry, crop in zip(entries[:5], [box, *crops], strict=True):
        entry["crop"] = list(crop)
    manifest = tiny(tmp_path, sources=entries)
    prepared = prepare(manifest, "cpu")
    found, *others = (prepared.networks.grams(manifest.network, prepared.sources[name]) for name in "abcde")
    assert found.extrapolated is False
    for layer in LAYERS:
        grams = [other.targets[layer][0].double().numpy() for other in others]
        size = np.linalg.norm(found.targets[layer][0])
        distances = [np.linalg.norm(one - other) / size for one, other in itertools.combinations(grams, 2)]
        assert found.scales[layer].floor == pytest.approx(np.mean(distances), rel=1e-4)
        assert found.scales[layer].floor_sd == pytest.approx(np.std(distances, ddof=1), rel=1e-4)
    whole = prepared.networks.grams(manifest.network, prepared.sources["f"])
    assert whole.extrapolated is True


def test_the_ceiling_is_of_five_scrambles(tmp_path):
    prepared = prepare(tiny(tmp_path), "cpu")
    network, source = prepared.manifest.network, prepared.sources["brick"]
    found = prepared.networks.grams(network, source)
    scrambled = list(scrambled_versions(source.pixels))
    assert len({version.tobytes() for version in scrambled}) == 5
    for layer in LAYERS:
        distances = [
            gram_distances(found.extractor, version, found.targets)[layer][1] for version in scrambled
        ]
        assert found.scales[layer].ceiling == pytest.approx(np.mean(distances), rel=1e-5)
        assert found.scales[layer].ceiling_sd == pytest.approx(np.std(distances, ddof=1), rel=1e-5)


def test_a_run_with_another_scale_is_measured_again_and_keeps_its_images(as_finished, finished, tmp_path):
    for name in IDS:
        path = as_finished.record(name)
        content = json.loads(path.read_bytes())
        content["measured_with"]["gram"] = STATISTICS["gram"].version - 1
        content["recipe_sha256"]["statistics"] = "of that version"
        statistics = content["statistics"]
        for layer in LAYERS:
            statistics |= {f"gram_floor_{layer}": 9.0, f"gram_ceiling_{layer}": 9.0}
            del statistics[f"gram_floor_sd_{layer}"], statistics[f"gram_ceiling_sd_{layer}"]
            for values in (statistics, *content["stages"].values()):
                values[f"gram_normalised_{layer}"] = 9.0
        del statistics["gram_floor_extrapolated"]
        content["record_sha256"] = content_sha256(content)
        path.write_text(json.dumps(content))
    before = verify_run(as_finished.path)
    records = [one for one in before.findings if one.file.startswith("records/")]
    assert {one.severity for one in records} == {"warning"}
    assert all("was measured with another version of gram" in one.problem for one in records)
    again = [one for one in recompute_statistics(before).findings if one not in before.findings]
    assert again == []

    result = run(tiny(tmp_path))
    assert (result.made, result.measured) == (0, 7)
    again, first = comparable(as_finished.path), comparable(finished.path)
    assert {name for name, content in first.items() if again[name] != content} <= {"run.json"}
    assert verify_run(as_finished.path).right
