"""The Methods paragraph says what the manifest asked for, and nothing that the records do not say."""

from __future__ import annotations

import re

from small_runs import copied

from stimgen.controls import CONTROLS
from stimgen.report.methods import methods
from stimgen.report.reported import read_runs
from stimgen.runs.record import Record, sealed


def written(folder):
    """Return the run, its Methods, and their text."""
    (run,) = read_runs([folder])
    found = methods(run)
    assert found is not None
    return run, found, "\n".join(found.paragraphs)


def test_methods_describe_the_manifest(small):
    run, found, text = written(small)
    assert "32 × 32 px (0.78° × 0.78° at 41 px/°), luminance only" in text
    assert "brick (skimage:brick (scikit-image" in text
    assert "crop of 512 × 512 px" in text
    assert "14 stimuli: 8 synthesised textures and 6 controls" in text
    assert "Seeds: 1 and 2" in text
    assert 'VGG-16 (Simonyan & Zisserman, 2015) with the weights "imagenet"' in text
    assert run.records[0].network.tensors_sha256[:12] in text
    assert "average pooling, mirrored maps beyond the border, filters not rescaled" in text
    assert "conv1_1 (conv1_1; 2,080 parameters) and pool1 (conv1_1, pool1; 4,160 parameters)" in text
    assert (
        "at 16 and 32 px (stimgen's preset multiscale, version 6: smallest_px 16; evaluations [3, 3];" in text
    )
    for name, value in run.records[0].synthesis.settings.items():
        if name != "preset":
            written_text = str(list(value) if isinstance(value, tuple) else value)
            assert f"{name} {written_text}" in text
    assert "phase_scrambled (n = 4: noise with the spectrum of the source: its Fourier amplitudes" in text
    assert "periodic_component no; Oppenheim & Lim, 1981; Galerne, Gousseau & Morel, 2011" in text
    assert "Nothing was matched afterwards." in text
    assert "No threshold of acceptance was set." in text
    for number in run.records[0].made.versions.values():
        assert number in text
    assert run.records[0].made.device in text
    keys = {reference.key for reference in found.references}
    assert keys == {
        "gatys2015", "simonyan2015", "liu1989", "oppenheim1981", "galerne2011", "vanderwalt2014",
    }  # fmt: skip
    for reference in found.references:
        assert reference.cited in text
        assert f"{{{reference.key}," in found.bibtex
    distances = run.table["gram_relative_matched"].dropna()
    low, high = f"{distances.min():.2g}", f"{distances.max():.2g}"
    assert f"median over 8 textures was {distances.median():.2g} (range {low} to {high})" in text


def test_colour_components_weights_and_controls(made):
    folder = made(
        image={"size_px": 32, "color": "rgb"},
        sources=[{"id": "coffee", "image": "skimage:coffee", "crop": [0, 0, 32, 32]}],
        layer_sets={"few": {"layers": ["pool1"], "components": 8, "layer_weights": {"pool1": 2.5}}},
        seeds=[3, 7, 8],
        controls=[
            {"name": "noise", "id": "pink", "alpha": 1},
            {"name": "phase_scrambled", "periodic_component": True},
        ],
        matching={"histogram": "source"},
    )
    _, found, text = written(folder)
    assert "32 × 32 px, in colour (RGB)" in text
    assert "°" not in text
    assert "reduced" not in text
    assert "few (pool1 with weight 2.5; first 8 principal components of each layer, 36 parameters)" in text
    assert "Seeds: 3, 7 and 8" in text
    assert "pink (n = 3: control noise; noise with the amplitude spectrum 1/f^alpha" in text
    assert "alpha 1.0; Field, 1987" in text
    assert "periodic_component yes" in text
    assert (
        "matched in the histogram (exactly) to its source (Willenbockel et al., 2010; channels: rgb" in text
    )
    assert "At full size it kept the histogram (exactly) that images are matched to below" in text
    assert "the mean products of pixel values in 3 × 3 pixels were matched, too." in text
    assert {"moisan2011", "willenbockel2010", "field1987", "absil2008"} <= {r.key for r in found.references}


def test_random_weights_and_the_published_procedure(made):
    folder = made(
        network={"name": "alexnet", "weights": "random:5", "normalise": False, "pooling": "max"},
        image={"size_px": 64},
        layer_sets={"conv1": ["conv1"]},
        seeds=[1],
        synthesis={"preset": "gatys2015", "iterations": 2},
        controls=None,
    )
    _, found, text = written(folder)
    assert "AlexNet (Krizhevsky, 2014) with random weights (seed 5; SHA-256" in text
    assert "max pooling" in text
    assert "imagenet" not in text
    assert "the published procedure, L-BFGS-B (Byrd et al., 1995) at full size" in text
    assert "stimgen's preset gatys2015, version 1: iterations 2; history 20" in text
    assert {"krizhevsky2014", "byrd1995"} <= {reference.key for reference in found.references}
    assert "liu1989" not in {reference.key for reference in found.references}
    assert "Controls were" not in text


def test_networks_and_procedures_of_conditions_and_controls(made):
    folder = made(
        layer_sets={
            "trained": ["conv1_1"],
            "untrained": {"layers": ["conv1_1"], "network": {"weights": "random:2"}},
        },
        measure={"network": "manifest"},
        controls=[{"name": "random_weights", "layer_set": "trained"}],
        seeds=[1],
    )
    run, _, text = written(folder)
    assert re.search(r'trained \(conv1_1; 2,080 parameters; VGG-16 [^)]*\) with the weights "imagenet"', text)
    assert re.search(
        r"untrained \(conv1_1; 2,080 parameters; VGG-16 [^)]*\) with random weights \(seed 2", text
    )
    assert (
        'was measured on the image files, in VGG-16 (Simonyan & Zisserman, 2015) with the weights "ima'
        in text
    )
    (control,) = {record.control.weights_sha256 for record in run.records if record.control}
    assert control[:12] in text
    assert "For random_weights: The loss was minimised by a coarse-to-fine procedure" in text


def test_thresholds_and_what_they_reject(small, tmp_path):
    folder = copied(small, tmp_path / "run", gram_relative_max=1e-9)
    _, _, text = written(folder)
    assert "above a threshold (gram_relative_max = 1e-09) were marked: 8 of 14 were rejected" in text


def test_several_versions_and_devices_are_all_named(small, tmp_path):
    folder = copied(small, tmp_path / "run")
    path = folder / "records" / "brick-original.json"
    text = path.read_text("utf-8")
    device = written(folder)[0].records[0].made.device
    text = text.replace(f'"device": "{device}"', '"device": "cuda:0 Card"')
    text = re.sub(r'"torch": "[^"]+"', '"torch": "9.9"', text)
    path.write_text(sealed(Record.model_validate_json(text)).model_dump_json(), "utf-8")
    _, _, written_text = written(folder)
    assert re.search(r"PyTorch [\d.]+\S* and 9\.9", written_text)
    assert f"on {device} and cuda:0 Card." in written_text


def test_every_control_is_described_by_its_first_sentence():
    for name, control in CONTROLS.items():
        assert re.match(r"(the|a|another|noise|source)\b", control.summary), name
