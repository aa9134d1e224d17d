from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from run_manifests import tiny

from stimgen.images.sources import load_source
from stimgen.manifest.plan import measuring_network, plan
from stimgen.networks.architectures import CONVENTIONS
from stimgen.networks.weights import Weights
from stimgen.runs.recipe import measured_parts, recipe, stimulus_generator

WEIGHTS = Weights("vgg16", "imagenet", (), (), CONVENTIONS["caffe-rgb"], "a file", "f" * 64, "a" * 64)
GATYS = {"preset": "gatys2015", "iterations": 5}
BOTH = {"histogram": "source", "full_spectrum": "source"}
MATCHED = {"image": {"size_px": 32, "color": "rgb"}}


@dataclass(frozen=True)
class Case:
    """What a recipe is made of: the first stimulus of `changes`, with things replaced after loading."""

    changes: dict
    condition: str = "pool1"
    seed: int | None = 1
    weights: Weights = WEIGHTS
    source: dict | None = None
    measured: tuple[str, ...] = ("conv1_1", "pool1")

    def recipe(self, folder):
        manifest = tiny(folder, **self.changes)
        (stimulus,) = (
            s
            for s in plan(manifest)
            if (s.source, s.condition, s.seed) == ("brick", self.condition, self.seed)
        )
        source = load_source(manifest.sources[0], manifest.image, name=manifest.name)
        source = replace(source, **(self.source or {}))
        others = {spec.id: source for spec in manifest.sources}
        network = measuring_network(manifest, stimulus)
        measured = measured_parts(manifest, network, self.weights, self.measured)
        return recipe(manifest, stimulus, others, lambda network: self.weights, measured)


TEXTURE = Case({})
SCRAMBLED = Case({}, condition="phase_scrambled")
REDUCED = {"layers": ["conv1_1", "pool1"], "components": 8}
OTHER = {"layers": ["conv1_1", "pool1"], "network": {"pooling": "max"}}
POOL1 = {"layers": ["pool1"]}


def random_weights(weights_seed=0, **changes):
    control = {"name": "random_weights", "weights_seed": weights_seed}
    return Case({"layer_sets": {"a": ["pool1"]}, "controls": [control]} | changes, condition="random_weights")


def of_set(others, **options):
    sources = [{"id": "brick", "image": "skimage:brick"}, *others]
    control = {"name": "spectrum_matched_set", **options}
    return Case({"sources": sources, "controls": [control]}, condition="spectrum_matched_set", seed=None)


def changed(case, before, folder):
    """Return which parts of the recipe differ, in one word."""
    parts = dict(case.recipe(folder))
    return " ".join(part for part, other in before.recipe(folder) if parts[part] != other)


@pytest.mark.parametrize(
    ("case", "before", "parts"),
    [
        (replace(TEXTURE, seed=2), TEXTURE, "optimised"),
        (replace(TEXTURE, condition="conv1_1"), TEXTURE, "optimised"),
        (Case({"image": {"size_px": 30, "ppd": 41}}), TEXTURE, "optimised statistics"),
        (Case({"image": {"size_px": 32, "ppd": 40}}), TEXTURE, "statistics"),
        (Case({"image": {"size_px": 32, "ppd": 41, "color": "rgb"}}), TEXTURE, "optimised"),
        (Case({"sources": [{"id": "brick", "image": "skimage:gravel"}]}), TEXTURE, "optimised"),
        (
            Case({"sources": [{"id": "brick", "image": "skimage:brick", "crop": [0, 0, 99, 99]}]}),
            TEXTURE,
            "optimised",
        ),
        (Case({"network": {"name": "vgg19", "normalise": False}}), TEXTURE, "optimised distances"),
        (Case({"network": {"name": "vgg16", "normalise": True}}), TEXTURE, "optimised distances"),
        (
            Case({"network": {"name": "vgg16", "normalise": False, "padding": "zeros"}}),
            Case({"network": {"name": "vgg16", "normalise": False}}),
            "optimised distances",
        ),
        (Case({"layer_sets": {"pool1": ["pool1"]}}), TEXTURE, "optimised"),
        (Case({"layer_sets": {"pool1": REDUCED}}), TEXTURE, "optimised"),
        (
            Case({"measure": {"network": "manifest"}, "layer_sets": {"pool1": OTHER}}),
            Case({"layer_sets": {"pool1": OTHER}}),
            "distances",
        ),
        (
            Case({"synthesis": {"preset": "multiscale", "smallest_px": 16, "evaluations": [5, 6]}}),
            TEXTURE,
            "optimised",
        ),
        (replace(TEXTURE, source={"mask": "alpha"}), TEXTURE, "optimised"),
        (Case({"matching": {"histogram": "source"}}), TEXTURE, "optimised matching"),
        (
            Case({"matching": {"full_spectrum": "source"}, "synthesis": GATYS}),
            Case({"synthesis": GATYS}),
            "matching",
        ),
        (Case({"image": {"size_px": 32, "ppd": 41, "bits": 16}}), TEXTURE, "matching"),
        (
            Case({"matching": {"histogram": "set"}}),
            Case({"matching": {"histogram": "source"}}),
            "optimised matching",
        ),
        (
            Case(MATCHED | {"matching": BOTH | {"iterations": 2}}),
            Case(MATCHED | {"matching": BOTH}),
            "matching",
        ),
        (
            Case(MATCHED | {"matching": BOTH | {"channels": "luminance"}}),
            Case(MATCHED | {"matching": BOTH}),
            "optimised matching",
        ),
        (replace(TEXTURE, weights=replace(WEIGHTS, tensors_sha256="b" * 64)), TEXTURE, "optimised distances"),
        (
            replace(TEXTURE, weights=replace(WEIGHTS, convention=CONVENTIONS["torchvision"])),
            TEXTURE,
            "optimised distances",
        ),
        (replace(SCRAMBLED, weights=replace(WEIGHTS, tensors_sha256="b" * 64)), SCRAMBLED, "distances"),
        (replace(TEXTURE, measured=("conv1_1",)), TEXTURE, "distances"),
        (Case({"measure": {"copying": False}}), TEXTURE, "statistics"),
        (replace(SCRAMBLED, seed=2), SCRAMBLED, "optimised"),
        (
            replace(
                SCRAMBLED, changes={"controls": [{"name": "phase_scrambled", "periodic_component": True}]}
            ),
            SCRAMBLED,
            "optimised",
        ),
        (random_weights(layer_sets={"a": ["conv1_1", "pool1"]}), random_weights(), "optimised"),
        # The published procedure has other padding, where none is named.
        (
            random_weights(synthesis={"preset": "gatys2015", "iterations": 5}),
            random_weights(),
            "optimised distances",
        ),
        (random_weights(weights_seed=1), random_weights(), "optimised"),
        (of_set(["skimage:gravel"]), of_set([]), "optimised"),
        (of_set([], spectrum="rotational"), of_set([]), "optimised"),
    ],
)
def test_each_ingredient_changes_the_part_that_depends_on_it(case, before, parts, tmp_path):
    assert changed(case, before, tmp_path) == parts


def test_a_new_version_of_a_preset_changes_the_hash(tmp_path, monkeypatch):
    before = TEXTURE.recipe(tmp_path)
    monkeypatch.setattr("stimgen.texture.presets.Multiscale.version", 99)
    assert TEXTURE.recipe(tmp_path) != before


@pytest.mark.parametrize(
    "case",
    [
        Case({"name": "other", "description": "Another text"}),
        Case({"sources": [{"id": "brick", "image": "skimage:brick"}, "skimage:gravel"]}),
        Case({"accept": {"gram_relative_max": 0.1, "clipped_share_max": 0.01}}),
        Case({"layer_sets": {"pool1": {"layers": ["pool1", "conv1_1"], "layer_weights": {"pool1": 1}}}}),
        Case({"synthesis": {"evaluations": [5, 5], "smallest_px": 16}}),
        Case({}, weights=replace(WEIGHTS, name="copy", origin="elsewhere", file_sha256="0" * 64)),
    ],
)
def test_what_changes_no_pixel_and_no_number_changes_no_hash(case, tmp_path):
    assert case.recipe(tmp_path) == TEXTURE.recipe(tmp_path)


@pytest.mark.parametrize("to", ["source", "set"])
def test_another_source_changes_what_is_matched_to_the_set_and_nothing_else(to, tmp_path):
    alone = {"matching": {"full_spectrum": to}}
    among_others = alone | {"sources": [{"id": "brick", "image": "skimage:brick"}, "skimage:gravel"]}
    for case, of_set in ((TEXTURE, "optimised matching"), (SCRAMBLED, "matching")):
        parts = changed(replace(case, changes=among_others), replace(case, changes=alone), tmp_path)
        assert parts == (of_set if to == "set" else "")


def numbers(stimulus, purpose="make"):
    return stimulus_generator(stimulus, purpose).integers(2**32, size=4).tolist()


def test_stimuli_and_purposes_have_generators_of_their_own(tmp_path):
    stimuli = plan(tiny(tmp_path, sources=["skimage:brick", "skimage:gravel"]))
    drawn = [numbers(stimulus, purpose) for stimulus in stimuli for purpose in ("make", "match")]
    assert len({tuple(draw) for draw in drawn}) == len(drawn)


def test_a_generator_depends_on_source_condition_and_seed_alone(tmp_path):
    alone = {s.stimulus_id: numbers(s) for s in plan(tiny(tmp_path))}
    changes = {
        "name": "other",
        "sources": ["skimage:gravel", "skimage:brick"],
        "seeds": [7, 2, 1],
        "layer_sets": {"pool2": ["pool2"], "pool1": ["pool1"], "conv1_1": ["conv1_1"]},
        "synthesis": {"preset": "gatys2015"},
    }
    among_others = {s.stimulus_id: numbers(s) for s in plan(tiny(tmp_path, **changes))}
    assert alone == {stimulus_id: among_others[stimulus_id] for stimulus_id in alone}


def test_noise_stays_what_it_is_from_version_to_version(tmp_path):
    # If this must change, recipe.VERSION must too: the same recipe then means other pixels.
    assert numbers(plan(tiny(tmp_path))[0]) == [3943684773, 1106320566, 3589514215, 3656638114]
