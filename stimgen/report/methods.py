"""The Methods paragraph of a run: what its records say, in words, with citations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from stimgen import references as known
from stimgen.controls import CONTROLS
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import random_seed
from stimgen.references import Reference
from stimgen.report.reported import ReportedRun, unique
from stimgen.runs.record import ControlRecord, NetworkRecord, Record, SynthesisRecord

_SETTINGS_SAID = ("preset", "version")
_PACKAGES = {"python": "Python", "torch": "PyTorch", "numpy": "NumPy", "scipy": "SciPy", "pillow": "Pillow"}
_MATCHED = {
    "histogram": "the histogram (exactly)",
    "luminance": "mean luminance and RMS contrast",
    "rotational_spectrum": "the rotational average of the Fourier amplitudes",
    "full_spectrum": "the Fourier amplitude at every frequency",
}


@dataclass(frozen=True)
class Methods:
    """What to put into a paper.

    Attributes
    ----------
    paragraphs
        Plain text.
    references
        Publications that the paragraphs cite, by first author.
    others
        References of networks that have no BibTeX entry, as text.
    """

    paragraphs: tuple[str, ...]
    references: tuple[Reference, ...]
    others: tuple[str, ...] = ()

    @property
    def bibtex(self) -> str:
        """The references as a BibTeX file."""
        return "\n\n".join(reference.bibtex for reference in self.references)


def methods(run: ReportedRun) -> Methods | None:
    """Return the Methods paragraphs of a run; None if it made nothing."""
    if not run.records:
        return None
    citing = _Citing()
    textures = [record for record in run.records if record.kind == "texture"]
    controls = [record for record in run.records if record.kind == "control"]
    paragraphs = [_stimuli(run, citing)]
    if textures:
        paragraphs.append(_textures(textures, citing))
    if controls:
        paragraphs.append(_controls(controls, citing))
    paragraphs += [_afterwards(run, citing), _software(run)]
    ordered = sorted(citing.cited.values(), key=lambda reference: (reference.authors[0], reference.year))
    return Methods(tuple(paragraphs), tuple(ordered), tuple(citing.others))


class _Citing:
    """What was cited so far, by key, and what has no BibTeX entry."""

    def __init__(self) -> None:
        self.cited: dict[str, Reference] = {}
        self.others: dict[str, None] = {}

    def __call__(self, *references: Reference) -> str:
        """Return citations without brackets, and remember them."""
        self.cited |= {reference.key: reference for reference in references}
        return "; ".join(reference.cited for reference in references)

    def network(self, name: str) -> str:
        """Return a network's name as the field writes it, with its citation in brackets."""
        if name not in NETWORKS:
            return name
        architecture = NETWORKS[name]()
        title, reference = architecture.title or name, architecture.reference
        if isinstance(reference, Reference):
            return f"{title} ({self(reference)})"
        self.others |= {reference: None}
        return title


def _stimuli(run: ReportedRun, citing: _Citing) -> str:
    records = run.records
    image = records[0].image
    size = f"{image.size_px} × {image.size_px} px"
    if image.size_deg:
        size += f" ({image.size_deg:.3g}° × {image.size_deg:.3g}° at {image.ppd:.4g} px/°)"
    colour = "luminance only" if image.color == "grey" else "in colour (RGB)"
    text = f"Stimuli were 8-bit images of {size}, {colour}."
    sources = {record.source.id: record.source for record in records}
    packaged = [source for source in sources.values() if source.origin.startswith("skimage:")]
    which = _listed(
        f"{source.id} ({source.origin}, crop of {source.crop_box[2]} × {source.crop_box[3]} px)"
        for source in sources.values()
    )
    text += f" The source textures were {which}"
    if packaged:
        text += f"; those of scikit-image come with that package ({citing(known.VAN_DER_WALT_2014)})"
    if any(source.crop_box[2] != image.size_px for source in sources.values()):
        text += ", reduced to the size of the stimuli"
    text += "."
    made = len(records)
    textures = sum(record.kind == "texture" for record in records)
    text += f" There were {made} stimuli: {textures} synthesised textures and {made - textures} controls."
    if run.failures:
        text += f" {len(run.failures)} of the {run.planned} stimuli of the design could not be made."
    if run.missing:
        text += f" {run.missing} of the {run.planned} stimuli of the design were not made."
    seeds = sorted({record.seed for record in records if record.seed is not None})
    if seeds:
        text += f" Seeds: {_numbers(seeds)}; each gives one exemplar of a source in a condition."
    return text


def _textures(textures: Sequence[Record], citing: _Citing) -> str:
    text = (
        f"Textures were synthesised by matching Gram matrices ({citing(known.GATYS_2015)}): an image was changed "
        "until the Gram matrices of its features, on chosen layers of a convolutional network, were nearly those "
        "of its source."
    )
    by_condition = {record.condition: record for record in textures}
    networks = unique(_network(record.network, citing) for record in by_condition.values())
    of_condition = {name: _network(record.network, citing) for name, record in by_condition.items()}
    if len(networks) == 1:
        text += f" The network was {networks[0]}."
    sets = []
    for name, record in by_condition.items():
        assert record.synthesis is not None
        what = _layers(record.synthesis)
        sets.append(f"{name} ({what})" if len(networks) == 1 else f"{name} ({what}; {of_condition[name]})")
    text += f" The conditions with their layers were {_listed(sets)}."
    for group in _same([record.synthesis for record in textures if record.synthesis]):
        text += " " + _procedure(group, citing)
    return text + " " + _reached(textures, citing)


def _network(network: NetworkRecord, citing: _Citing) -> str:
    parts = [citing.network(network.name)]
    seed = random_seed(network.weights)
    hashed = f"SHA-256 of the tensors {network.tensors_sha256[:12]}…"
    if seed is not None:
        parts.append(f"with random weights (seed {seed}; {hashed})")
    else:
        parts.append(f'with the weights "{network.weights}" ({hashed})')
    parts.append(f"{network.pooling} pooling")
    if network.normalised:
        how = "as published" if network.weights_normalised else "by stimgen"
        parts.append(f"filters scaled to a mean activation of 1 ({how})")
    else:
        parts.append("filters not rescaled")
    return ", ".join([" ".join(parts[:2]), *parts[2:]])


def _layers(synthesis: SynthesisRecord) -> str:
    weights = synthesis.layer_weights
    layers = ", ".join(weights)
    if set(weights.values()) != {1.0}:
        layers = ", ".join(f"{layer} with weight {weight:g}" for layer, weight in weights.items())
    components = (
        f"first {synthesis.components} principal components of each layer, " if synthesis.components else ""
    )
    return f"{layers}; {components}{synthesis.parameters:,} parameters"


def _same(syntheses: Sequence[SynthesisRecord]) -> list[list[SynthesisRecord]]:
    """Return syntheses in groups that were made with one preset and the same settings."""
    groups: dict[str, list[SynthesisRecord]] = {}
    for synthesis in syntheses:
        key = repr((synthesis.preset, synthesis.version, sorted(synthesis.settings.items())))
        groups.setdefault(key, []).append(synthesis)
    return list(groups.values())


def _procedure(syntheses: Sequence[SynthesisRecord], citing: _Citing) -> str:
    one = syntheses[0]
    stages = [stage for synthesis in syntheses for stage in synthesis.traces]
    sides = sorted({stage.size_px for stage in stages})
    precisions = sorted({stage.precision for stage in stages})
    if one.preset == "gatys2015":
        how = f"the published procedure, L-BFGS-B ({citing(known.BYRD_1995)}) at full size from noise"
    elif one.preset == "multiscale":
        how = f"a coarse-to-fine procedure with L-BFGS ({citing(known.LIU_1989)}), at {_numbers(sides)} px"
    else:
        how = f"the procedure {one.preset}"
    settings = "; ".join(
        f"{name} {_setting(value)}" for name, value in one.settings.items() if name not in _SETTINGS_SAID
    )
    evaluations = [synthesis.evaluations for synthesis in syntheses]
    return (
        f"The loss was minimised by {how} (stimgen's preset {one.preset}, version {one.version}: {settings}), "
        f"with convolutions in {_listed(precisions)}, in {_range(evaluations)} evaluations of loss and gradient."
    )


def _reached(textures: Sequence[Record], citing: _Citing) -> str:
    text = "The relative Gram distance to the source, ‖G − T‖ / ‖T‖ with the Frobenius norm, was measured on the "
    text += "image files"
    if any(record.measured_in != record.network for record in textures):
        measured = unique(_network(record.measured_in, citing) for record in textures)
        text += f", in {_listed(measured)}"
    matched = [
        max(distance.gram_relative for distance in found)
        for record in textures
        if (found := [one for one in record.distances if one.stage == "file" and one.constrained])
    ]
    if not matched:
        return f"{text}."
    return (
        f"{text}: on the matched layer where it was largest, its median over {len(matched)} textures was "
        f"{median(matched):.2g} (range {min(matched):.2g} to {max(matched):.2g})."
    )


def _controls(records: Sequence[Record], citing: _Citing) -> str:
    counts: dict[str, int] = {}
    controls: dict[str, ControlRecord] = {}
    synthesised: list[str] = []
    for record in records:
        if record.control is None:
            continue
        counts[record.condition] = counts.get(record.condition, 0) + 1
        controls[record.condition] = record.control
    described = []
    for condition, control in controls.items():
        details: list[str] = []
        cited: list[Reference] = []
        if condition != control.name:
            details.append(f"control {control.name}")
        if control.name in CONTROLS:
            details.append(CONTROLS[control.name].summary)
            cited += CONTROLS[control.name].references
        if control.options:
            details.append("; ".join(f"{name} {_setting(value)}" for name, value in control.options.items()))
        if control.options.get("periodic_component") is True:
            cited.append(known.MOISAN_2011)
        if control.weights_sha256:
            details.append(f"SHA-256 of the weights' tensors {control.weights_sha256[:12]}…")
        if cited:
            details.append(citing(*cited))
        described.append(f"{condition} (n = {counts[condition]}: {'; '.join(details)})")
        synthesised += [condition] if any(r.condition == condition and r.synthesis for r in records) else []
    text = f"Controls were {_listed(described)}."
    for group in _same([record.synthesis for record in records if record.synthesis]):
        text += f" For {_listed(synthesised)}: {_procedure(group, citing)}"
    return text


def _afterwards(run: ReportedRun, citing: _Citing) -> str:
    settings = run.records[0].matching.settings
    asked = settings.asked
    if asked:
        what = _listed(
            f"{_MATCHED[name]} to {'its source' if to == 'source' else 'the mean of all sources'}"
            for name, to in asked.items()
        )
        text = f"Each image was then matched in {what} ({citing(known.WILLENBOCKEL_2010)}; "
        text += f"channels: {settings.channels}, iterations: {settings.iterations})."
    else:
        text = "Nothing was matched after synthesis."
    clipped = [record.clipped_share for record in run.records]
    text += (
        " Values outside the displayable range were clipped"
        f" (largest share of pixels in an image: {max(clipped):.2g})."
    )
    accept: Mapping[str, Any] = run.manifest.get("accept") or {}
    limits = [f"{name} = {value:g}" for name, value in accept.items() if value is not None]
    if limits:
        text += f" Stimuli above a threshold ({', '.join(limits)}) were marked: {len(run.rejected)} of "
        text += f"{len(run.records)} were rejected."
    else:
        text += " No threshold of acceptance was set."
    return text


def _software(run: ReportedRun) -> str:
    versions: dict[str, list[str]] = {}
    for record in run.records:
        for package, version in record.made.versions.items():
            versions.setdefault(package, [])
            versions[package] += [version] if version not in versions[package] else []
    named = [f"{_PACKAGES.get(package, package)} {' and '.join(of)}" for package, of in versions.items()]
    devices = _listed(unique(record.made.device for record in run.records))
    return f"The stimuli were made{f' with {_listed(named)}' if named else ''} on {devices}."


def _listed(words: Iterable[str]) -> str:
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _numbers(numbers: Sequence[int]) -> str:
    """Return whole numbers, in words for consecutive ones.

    Examples
    --------
    >>> _numbers([1, 2, 3, 4]), _numbers([1, 5])
    ('1 to 4', '1 and 5')
    """
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return _listed(map(str, numbers))


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
