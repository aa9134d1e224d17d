from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_texts import MINIMAL, load, refusal
from PIL import Image

from stimgen.manifest import resolve, sources
from stimgen.manifest.document import Dumper, ManifestError
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import plan
from stimgen.manifest.sources import matching_files
from stimgen.texture.presets import Gatys2015, Multiscale

DATA = Path(__file__).parent / "data"


def test_defaults_are_the_papers_but_for_mirrored_padding(tmp_path: Path) -> None:
    manifest = load(tmp_path)
    defaults = {"name": "vgg19", "weights": "imagenet", "pooling": "average", "normalise": True}
    defaults |= {"padding": "mirrored"}
    assert manifest.network.model_dump() == defaults
    assert (manifest.seeds, manifest.synthesis, manifest.controls) == ((1,), Multiscale(), ())
    assert manifest.matching.asked == manifest.accept.model_dump(exclude_none=True) == {}
    assert manifest.measure.portilla_simoncelli is False
    assert vars(manifest.image) == {"size_px": 256, "size_deg": None, "ppd": None, "color": "grey", "bits": 8}
    assert manifest.folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("synthesis", "network", "padding"),
    [
        ("multiscale", {}, "mirrored"),
        ("multiscale", {"padding": "zeros"}, "zeros"),
        ("gatys2015", {"pooling": "max"}, "zeros"),
        ("gatys2015", {"padding": "mirrored"}, "mirrored"),
    ],
)
def test_padding_of_the_published_procedure_is_zeros_unless_named(
    tmp_path: Path, synthesis: str, network: dict[str, str], padding: str
) -> None:
    other = {"layers": ["pool1"], "network": {"padding": "zeros"}}
    manifest = load(tmp_path, synthesis=synthesis, network=network, layer_sets={"a": ["pool1"], "b": other})
    assert manifest.network.padding == manifest.layer_sets["a"].network.padding == padding
    assert manifest.layer_sets["b"].network.padding == "zeros"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"size_px": 256, "ppd": 32}, (256, 8.0, 32.0)),
        ({"size_px": 256, "size_deg": 8}, (256, 8.0, 32.0)),
        ({"size_deg": 3.1, "ppd": 41}, (127, 127 / 41, 41.0)),
        ({"size_px": 127, "size_deg": 3.1, "ppd": 41}, (127, 127 / 41, 41.0)),
        ({"size_px": 16, "size_deg": 1.03, "ppd": 16}, (16, 1.0, 16.0)),
        ({"size_px": 128}, (128, None, None)),
    ],
)
def test_any_two_sizes_give_the_third(
    tmp_path: Path, image: dict[str, float], expected: tuple[int, float | None, float | None]
) -> None:
    spec = load(tmp_path, image=image).image
    assert (spec.size_px, spec.size_deg, spec.ppd) == expected


def test_sources_are_expanded_with_ids_and_paths(tmp_path: Path) -> None:
    (tmp_path / "textures").mkdir()
    for name in ("oak bark.png", "007.png", "nan.png", "b.jpg"):
        (tmp_path / "textures" / name).write_bytes(b"x")
    manifest = load(
        tmp_path,
        sources=[
            "skimage:grass",
            "textures/*.png",
            {"image": "textures/*.png", "id": "again", "crop": "random"},
            {"image": "textures/*.jpg", "id": "single"},
            {"image": str(DATA / "bark.png"), "crop": [1, 2, 300, 300]},
        ],
    )
    found = [(source.id, source.image, source.crop) for source in manifest.sources]
    assert found == [
        ("grass", "skimage:grass", "centre"),
        ("source_007", "textures/007.png", "centre"),
        ("source_nan", "textures/nan.png", "centre"),
        ("oak_bark", "textures/oak bark.png", "centre"),
        ("again_007", "textures/007.png", "random"),
        ("again_nan", "textures/nan.png", "random"),
        ("again_oak_bark", "textures/oak bark.png", "random"),
        ("single", "textures/b.jpg", "centre"),
        ("bark", str(DATA / "bark.png"), (1, 2, 300, 300)),
    ]
    assert manifest.sources[0].path is None
    assert manifest.sources[3].path == tmp_path.resolve() / "textures" / "oak bark.png"


@pytest.mark.parametrize(
    "image", ["a\0.png", "*\0/*.png", "x" * 5000, "~nobody_of_this_name/a.png", "skimage:", "**/*.none"]
)
def test_paths_that_cannot_be_are_refused(tmp_path: Path, image: str) -> None:
    assert ": sources[0]" in refusal(tmp_path, sources=[{"image": image, "id": "a"}])


def test_globs_and_names_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run[1]"
    folder.mkdir()
    for name in ("aa.png", "bb[1].png", "cc.png"):
        (folder / name).write_bytes(b"x")
    assert [source.id for source in load(folder, sources=["*.png"]).sources] == ["aa", "bb_1", "cc"]
    assert [source.id for source in load(folder, sources=["bb[1].png"]).sources] == ["bb_1"]
    assert "more than 64 characters" in refusal(folder, sources=[{"image": "*.png", "id": "p" * 62}])
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    assert "more than 2 files" in refusal(folder, sources=["*.png"])


def test_layer_sets_have_layers_in_network_order_with_weights(tmp_path: Path) -> None:
    manifest = load(
        tmp_path,
        layer_sets={
            "short": ["pool2", "conv1_1"],
            "long": {
                "layers": ["pool1"],
                "layer_weights": {"pool1": 2},
                "network": {"name": "vgg16", "pooling": "max"},
            },
        },
    )
    short, long = manifest.layer_sets["short"], manifest.layer_sets["long"]
    assert short.layers == ("conv1_1", "pool2")
    assert short.layer_weights == {"conv1_1": 1.0, "pool2": 1.0}
    assert short.network == manifest.network
    assert long.layer_weights == {"pool1": 2.0}
    assert (long.network.name, long.network.pooling, long.network.weights) == ("vgg16", "max", "imagenet")
    assert hash(short) != hash(long)


def test_ranges_of_layers_are_written_out(tmp_path: Path) -> None:
    sets = {
        "inside": ["conv2_2..conv3_2"],
        "one": ["pool2..pool2"],
        "two": ["conv3_1..pool3", "conv1_1"],
        "vgg16": {"layers": ["conv3_1..pool3"], "network": {"name": "vgg16"}},
    }
    found = {name: entry.layers for name, entry in load(tmp_path, layer_sets=sets).layer_sets.items()}
    assert found == {
        "inside": ("conv2_2", "pool2", "conv3_1", "conv3_2"),
        "one": ("pool2",),
        "two": ("conv1_1", "conv3_1", "conv3_2", "conv3_3", "conv3_4", "pool3"),
        "vgg16": ("conv3_1", "conv3_2", "conv3_3", "pool3"),
    }


@pytest.mark.parametrize(
    ("layers", "components", "parameters"),
    [
        (["conv1_1..pool4"], None, 852_128),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], None, 176_640),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], 64, 10_400),
        (["conv1_1", "pool1", "pool2", "pool3", "pool4"], 20, 1_050),
        (["conv1_1", "pool4"], 100, 64 * 65 // 2 + 100 * 101 // 2),
    ],
)
def test_parameters_of_vgg19_are_the_published_ones(
    tmp_path: Path, layers: list[str], components: int | None, parameters: int
) -> None:
    section = {"layers": layers} | ({"components": components} if components else {})
    assert load(tmp_path, layer_sets={"a": section}).layer_sets["a"].parameters == parameters


def test_thresholds_and_layers_that_are_measured_load(tmp_path: Path) -> None:
    untrained = {"layers": ["pool1"], "network": {"weights": "random"}}
    accept, layers = {"gram_relative_max": 0.1}, {"layers": ["pool2"]}
    assert load(tmp_path, layer_sets={"a": ["pool1"], "b": untrained}, accept=accept)
    assert load(tmp_path, layer_sets={"a": ["pool1"]}, measure={"network": "manifest"}, accept=accept)
    reduced = {"a": {"layers": ["pool1"], "components": 2}}
    assert load(tmp_path, layer_sets=reduced, accept={"clipped_share_max": 0.1})
    assert load(tmp_path, layer_sets={"b": untrained}, measure=layers | {"network": "manifest"})
    assert load(tmp_path, layer_sets={"b": untrained}, measure=layers, controls=["original"])


def test_order_is_textures_then_controls_by_source_condition_seed(tmp_path: Path) -> None:
    manifest = load(
        tmp_path,
        sources=["skimage:brick", "skimage:grass"],
        layer_sets={"b": ["pool2"], "a": ["pool1"]},
        seeds=[5, 2],
        controls=["phase_scrambled", {"name": "original", "id": "source_itself"}],
    )
    stimuli = plan(manifest)
    assert [stimulus.stimulus_id for stimulus in stimuli] == [
        "brick-b-s5", "brick-b-s2", "brick-a-s5", "brick-a-s2",
        "grass-b-s5", "grass-b-s2", "grass-a-s5", "grass-a-s2",
        "brick-phase_scrambled-s5", "brick-phase_scrambled-s2", "brick-source_itself",
        "grass-phase_scrambled-s5", "grass-phase_scrambled-s2", "grass-source_itself",
    ]  # fmt: skip
    texture, control = stimuli[0], stimuli[10]
    assert (texture.source, texture.condition, texture.kind, texture.seed) == ("brick", "b", "texture", 5)
    assert texture.layer_set is manifest.layer_sets["b"]
    assert texture.control is None
    assert (control.condition, control.kind, control.seed) == ("source_itself", "control", None)
    assert control.control is manifest.controls[1]
    assert control.layer_set is None


def test_weights_may_be_a_file_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "mine.PTH").write_bytes(b"x")
    manifest = load(tmp_path, network={"weights": "mine.PTH"}, layer_sets={"a": ["pool1"]})
    assert manifest.network.weights == str(tmp_path.resolve() / "mine.PTH")
    assert manifest.layer_sets["a"].network == manifest.network


def test_imported_weights_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stimgen.networks.weights.cache import cached_path

    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    assert 'unknown weights "mine"' in refusal(tmp_path, network={"weights": "mine"})
    cached_path("vgg19", "mine").parent.mkdir(parents=True)
    cached_path("vgg19", "mine").write_bytes(b"x")
    assert load(tmp_path, network={"weights": "mine"}).network.weights == "mine"
    assert 'unknown weights "mine"' in refusal(tmp_path, network={"name": "vgg16", "weights": "mine"})


@pytest.mark.parametrize(
    ("section", "form", "expected"),
    [
        ("seeds", {"first": 3, "count": 2}, (3, 4)),
        ("seeds", [9, 0, 4], (9, 0, 4)),
        ("seeds", {"first": 0}, (0,)),
        ("synthesis", "gatys2015", Gatys2015()),
        ("synthesis", {"smallest_px": 32}, Multiscale(smallest_px=32)),
        ("synthesis", {"preset": "gatys2015", "iterations": 5}, Gatys2015(iterations=5)),
        ("synthesis", {"evaluations": [5]}, Multiscale(evaluations=(5,))),
    ],
)
def test_forms_of_seeds_and_synthesis(tmp_path: Path, section: str, form: object, expected: object) -> None:
    assert getattr(load(tmp_path, **{section: form}), section) == expected


def test_controls_have_all_their_options(tmp_path: Path) -> None:
    controls = ["original", {"name": "phase_scrambled", "id": "noise", "periodic_component": True}]
    original, scrambled = load(tmp_path, controls=controls).controls
    assert (original.id, original.seeded, original.options) == ("original", False, {})
    assert (scrambled.id, scrambled.name, scrambled.seeded) == ("noise", "phase_scrambled", True)
    assert scrambled.options["periodic_component"] is True
    assert load(tmp_path, layer_sets=None, controls=["original"]).layer_sets == {}


def test_the_number_of_stimuli_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "MAX_STIMULI", 3)
    assert "make 4 stimuli, more than 3" in refusal(tmp_path, seeds={"count": 4})


@pytest.mark.parametrize("version", [True, "1", 1.0, None, 0, 2])
def test_only_version_1_is_read(tmp_path: Path, version: object) -> None:
    path = tmp_path / "m.yaml"
    # A byte order mark is skipped.
    path.write_text("\ufeff" + yaml.safe_dump(MINIMAL | {"stimgen": version}, sort_keys=False))
    with pytest.raises(ManifestError, match="stimgen: expected 1"):
        load_manifest(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "exp1.yaml").write_text("stimgen: 1")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.yaml").write_text("stimgen: 1")
    for name, message in {
        "exp2.yaml": 'no such file. Did you mean "exp1.yaml"',
        "nowhere/exp.yaml": r"folder .*nowhere doesn't exist",
        ".": "is a folder. Name a manifest",
        "run": "is a folder. The run in it has the manifest .*run/manifest.yaml",
        "x" * 300: "can't be read: File name too long",
        "large.yaml": "Larger than 1000000 bytes",
    }.items():
        with pytest.raises(ManifestError, match=message):
            load_manifest(tmp_path / name)


def test_message_lists_100_problems_at_most(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, seeds=[-1] * 150)
    assert len(caught.value.errors) == 150
    assert str(caught.value).count("\n") == 100
    assert str(caught.value).endswith("… and 50 more problems.")


MATCHING = {"histogram": "set", "full_spectrum": "source", "channels": "luminance", "iterations": 3}
WEIGHTED = {"layers": ["pool1"], "layer_weights": {"pool1": 0.1}}
ELSEWHERE = {"layers": ["pool3"], "network": {"weights": "other/w", "pooling": "max"}}
SOURCES = [
    "skimage:brick",
    {"image": "skimage:moon", "crop": [0, 0, 300, 300]},
    {"image": "*.png", "id": "set", "crop": "random"},
    "[x].png",
]
SECTIONS: dict[str, list[Any]] = {
    "image": [{"size_px": 257}, {"size_deg": 3.1, "ppd": 41}, {"size_px": 256, "ppd": 41.3, "color": "rgb"}],
    "sources": [SOURCES, SOURCES[::-1]],
    "network": [{}, {"name": "vgg16", "normalise": False}, {"weights": "w.pth"}],
    "layer_sets": [{}, {"a": ["pool2", "conv1_1"], "b": WEIGHTED}, {"b": ELSEWHERE, "a": ["pool1"]}],
    "seeds": [[2**32 - 1, 0, 5], {"first": 3, "count": 4}],
    "synthesis": ["gatys2015", {"evaluations": [3, 2]}, {"preset": "gatys2015", "history": 3}],
    "controls": [["original", {"name": "phase_scrambled", "id": "ps"}]],
    "measure": [{}, {"layers": ["conv1_1..conv1_2", "pool5"]}],
    "matching": [{}, {"histogram": "source"}, MATCHING],
    "accept": [{}, {"gram_relative_max": 0.1}, {"clipped_share_max": 0}],
}
manifests = st.fixed_dictionaries(
    {name: st.sampled_from(forms) for name, forms in SECTIONS.items()}
    | {"description": st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]))}
)


@given(sections=manifests, elsewhere=st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_resolved_loads_again_to_an_equal_plan(
    tmp_path: Path, sections: dict[str, Any], elsewhere: bool
) -> None:
    for name in ("[x].png", "oak bark.png", "w.pth", "other/w"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    data = {"stimgen": 1, "name": "exp1"} | sections
    path = tmp_path / "m.yaml"
    path.write_text(yaml.dump(data, Dumper=Dumper), encoding="utf-8")
    first = load_manifest(path)
    target = tmp_path / "results" / "exp1" if elsewhere else tmp_path
    target.mkdir(parents=True, exist_ok=True)
    resolved = first.resolved(target)
    again = target / "manifest.resolved.yaml"
    again.write_text(
        yaml.dump(resolved, Dumper=Dumper, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    second = load_manifest(again)
    assert plan(second) == plan(first)
    assert [source.path for source in second.sources] == [source.path for source in first.sources]
    assert (second.image, second.synthesis, second.matching) == (first.image, first.synthesis, first.matching)
    assert (second.description, second.accept) == (first.description, first.accept)
    assert (second.measure, second.layer_sets) == (first.measure, first.layer_sets)
    assert second.resolved(target) == resolved


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (r'"..\textures\bark.png"', "use / in paths"),
        (r'"..\new\tree.png"', "use / in paths"),
        (r'"..\images\oak.png"', "use / in paths"),
    ],
)
def test_backslashes_in_double_quotes_are_explained(tmp_path, written, said):
    path = tmp_path / "exp.yaml"
    text = "stimgen: 1\nname: exp\nimage: {size_px: 32}\nsources: [%s]\ncontrols: [original]\n"
    path.write_text(text % written)
    with pytest.raises(ManifestError, match=said):
        load_manifest(path)


def test_the_case_of_endings_does_not_matter_in_patterns(tmp_path):
    for name in ("a.JPG", "b.jpg", "C.jpg", "d.png"):
        (tmp_path / name).touch()
    assert matching_files("*.jpg", tmp_path) == ["C.jpg", "a.JPG", "b.jpg"]
    assert matching_files("c.jp*", tmp_path) == []


def test_all_mistakes_are_told_at_once_also_of_images_and_trials(tmp_path):
    Image.new("L", (40, 30)).save(tmp_path / "small.png")
    (tmp_path / "notes.png").write_text("no image")
    text = """
stimgen: 1
name: exp
image: {size_px: 64}
sources:
  - {id: a, image: "skimage:brik"}
  - {id: b, image: small.png}
  - {id: c, image: notes.png}
  - {id: d, image: "skimage:brick", crop: [500, 0, 64, 64]}
network: {name: vgg16}
layer_sets: {pool1: [pool1]}
trials: {design: oddity, crop_px: 48}
"""
    path = tmp_path / "exp.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, open_images=True)
    told = str(caught.value)
    for words in (
        'no image "brik"',
        "smaller than the stimuli",
        "not an image file",
        "leaves the image",
        "Two patches of 48 px",
        "original",
    ):
        assert words.lower() in told.lower(), told
