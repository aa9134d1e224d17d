"""Records of any content, for the tests of this folder."""

from __future__ import annotations

from hypothesis import strategies as st

from stimgen.manifest.schema import MatchingSpec, is_reserved
from stimgen.measure import statistics_in_order
from stimgen.measure.portilla_simoncelli import FAMILIES
from stimgen.runs.record import (
    ControlRecord,
    ImageRecord,
    MadeRecord,
    MatchingRecord,
    NetworkRecord,
    Record,
    SourceRecord,
    StageRecord,
    SynthesisRecord,
)

MATCHED_TO = st.sampled_from(["none", "source", "set"])
LAYERS = ("conv1_1", "pool1", "pool4", "conv5_4")
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PERHAPS = st.none() | NUMBERS
DISTANCES = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
IDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True).filter(lambda word: not is_reserved(word))
FILES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=20).map(lambda s: f"{s}.pth")


@st.composite
def stages(draw):
    losses = draw(st.lists(NUMBERS, max_size=6))
    accepted = draw(st.lists(st.booleans(), min_size=len(losses), max_size=len(losses)))
    return StageRecord(
        size_px=draw(st.integers(16, 4096)),
        layers=draw(st.lists(st.sampled_from(LAYERS), min_size=1, unique=True)),
        precision=draw(st.sampled_from(["bfloat16", "float32"])),
        metric=draw(st.sampled_from(["flat", "plain"])),
        stop_reason=draw(st.sampled_from(["evaluations", "no progress"])),
        losses=losses,
        accepted=accepted,
    )


def syntheses(layers):
    return st.builds(
        SynthesisRecord,
        preset=st.sampled_from(["multiscale", "gatys2015"]),
        version=st.integers(1, 9),
        settings=st.just({}),
        layer_weights=st.just(dict.fromkeys(layers, 1.0)),
        components=st.none() | st.integers(1, 512),
        parameters=st.integers(1, 10**6),
        residual_gram=NUMBERS,
        loss=NUMBERS,
        iterations=st.integers(0, 10**6),
        evaluations=st.integers(0, 10**6),
        stop_reason=st.sampled_from(["evaluations", "iterations", "abnormal: ", "stop, total no. of f"]),
        restarts=st.integers(0, 99),
        traces=st.lists(stages(), max_size=3).map(tuple),
    )


def controls(name):
    options = {"periodic_component": True}
    residuals = st.dictionaries(st.sampled_from(["spectrum", "histogram"]), NUMBERS)
    return st.builds(ControlRecord, name=st.just(name), options=st.just(options), residuals=residuals)


@st.composite
def statistics(draw, layers):
    """Draw a number or None for each column of each statistic."""
    values = {}
    with_families = draw(st.booleans())
    for statistic in statistics_in_order():
        for column in statistic.columns:
            if "{layer}" in column.name:
                needed = column.name.startswith(("gram_loss", "gram_relative", "gram_ceiling"))
                for layer in layers:
                    values[column.name.format(layer=layer)] = draw(DISTANCES if needed else PERHAPS)
            elif column.on_request and with_families:
                for family in FAMILIES:
                    values[column.name.format(family=family)] = draw(PERHAPS)
            elif not column.on_request:
                values[column.name] = draw(st.none() | st.booleans() if column.name == "copied" else PERHAPS)
    return values


def stage_distances(layers):
    names = [f"gram_{name}_{layer}" for layer in layers for name in ("loss", "relative", "normalised")]
    return st.fixed_dictionaries(dict.fromkeys(names, DISTANCES))


@st.composite
def matchings(draw):
    settings = {name: draw(MATCHED_TO) for name in ("luminance", "full_spectrum")}
    perhaps = {name: draw(st.none() | NUMBERS) for name in ("mean", "contrast", "histogram", "spectrum")}
    return MatchingRecord(settings=MatchingSpec(**settings), **perhaps)


@st.composite
def networks(draw):
    return NetworkRecord(
        name=draw(st.sampled_from(["vgg16", "vgg19"])),
        weights=draw(IDS | FILES),
        weights_origin="a file",
        file_sha256=draw(SHA256),
        tensors_sha256=draw(SHA256),
        input="caffe-rgb",
        pooling="average",
        normalise=draw(st.booleans()),
        weights_normalised=draw(st.booleans()),
    )


@st.composite
def records(draw):
    """Draw a record: a texture, or a control with or without randomness, measured on some layers."""
    source, condition = draw(IDS), draw(IDS)
    texture = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1)) if texture else draw(st.none() | st.integers(0, 2**32 - 1))
    stimulus_id = f"{source}-{condition}" if seed is None else f"{source}-{condition}-s{seed}"
    measured = draw(st.lists(st.sampled_from(LAYERS), min_size=1, unique=True))
    degrees = draw(st.none() | st.floats(0.1, 90))
    share = st.floats(0, 1)
    network = draw(networks())
    powers = draw(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4))
    return Record(
        stimulus_id=stimulus_id,
        filename=f"stimuli/{stimulus_id}.png",
        png_sha256=draw(SHA256),
        recipe_sha256=draw(SHA256),
        condition=condition,
        kind="texture" if texture else "control",
        seed=seed,
        source=SourceRecord(
            id=source,
            origin=draw(st.text(max_size=10)),
            sha256=draw(SHA256),
            crop_box=(0, 0, 64, 64),
            original_size=(64, 64),
            clipped_share=draw(share),
        ),
        image=ImageRecord(
            size_px=draw(st.integers(16, 4096)),
            size_deg=degrees,
            ppd=degrees,
            color=draw(st.sampled_from(["grey", "rgb"])),
        ),
        network=network,
        measured_in=draw(st.just(network) | networks()),
        measured_layers=measured,
        measured_with={"luminance": 1},
        synthesis=draw(syntheses(measured)) if texture else None,
        control=None if texture else draw(controls(condition)),
        matching=draw(matchings()),
        clipped_share=draw(share),
        statistics=draw(statistics(measured)),
        stages={stage: draw(stage_distances(measured)) for stage in ("optimised", "matched")},
        power=[power for power, _ in powers],
        power_source=[power for _, power in powers],
        made=MadeRecord(finished="2026-01-01T00:00:00+00:00", seconds=1.0, device="cpu", versions={}),
    )
