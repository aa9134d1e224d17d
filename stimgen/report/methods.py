"""The Methods paragraphs of a run: what its records say, in words, with citations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stimgen import references as known
from stimgen.controls import CONTROLS
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.catalogue import random_seed
from stimgen.references import Reference
from stimgen.report import templates
from stimgen.report.reported import ReportedRun
from stimgen.runs.record import NetworkRecord, Record, SynthesisRecord

_END = "\f"
"""End of a paragraph."""
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


class _Citations:
    """What was cited so far: references by key, and those without a BibTeX entry."""

    def __init__(self) -> None:
        self.cited: dict[str, Reference] = {}
        self.others: dict[str, None] = {}

    def __call__(self, *references: Reference) -> str:
        """Return citations without brackets, and remember them."""
        self.cited |= {reference.key: reference for reference in references}
        return "; ".join(reference.cited for reference in references)


def methods(run: ReportedRun) -> Methods | None:
    """Return the Methods paragraphs of a run; None if it made nothing."""
    if not run.records:
        return None
    cite = _Citations()
    environment = templates(autoescape=False)
    words = {"listed": _listed, "numbers": _numbers, "range": _range, "options": _options}
    environment.filters |= words
    text = environment.get_template("methods.txt").render(
        run=run,
        cite=cite,
        known=known,
        end_of_paragraph=_END,
        **_design(run),
        **_textures(run, cite),
        **_controls(run, cite),
        **_after(run),
    )
    paragraphs = tuple(" ".join(paragraph.split()) for paragraph in text.split(_END))
    ordered = sorted(cite.cited.values(), key=lambda reference: (reference.authors[0], reference.year))
    return Methods(paragraphs, tuple(ordered), tuple(cite.others))


def _design(run: ReportedRun) -> dict[str, Any]:
    image, sources = run.records[0].image, run.source_records.values()
    return {
        "image": image,
        "sources": [
            f"{source.id} ({source.origin}, crop of {source.crop_box[2]} × {source.crop_box[3]} px)"
            for source in sources
        ],
        "packaged": any(source.origin.startswith("skimage:") for source in sources),
        "reduced": any(source.crop_box[2] != image.size_px for source in sources),
        "seeds": sorted({record.seed for record in run.records if record.seed is not None}),
    }


def _textures(run: ReportedRun, cite: _Citations) -> dict[str, Any]:
    textures = [record for record in run.records if record.kind == "texture"]
    by_condition = {record.condition: record for record in textures}
    of_condition = {name: _network(record.network, cite) for name, record in by_condition.items()}
    networks = list(dict.fromkeys(of_condition.values()))
    conditions = []
    for name, record in by_condition.items():
        assert record.synthesis is not None
        network = "" if len(networks) == 1 else f"; {of_condition[name]}"
        conditions.append(f"{name} ({_layers(record.synthesis)}{network})")
    elsewhere = any(record.measured_in != record.network for record in textures)
    return {
        "textures": textures,
        "networks": networks,
        "conditions": conditions,
        "texture_groups": _groups(textures),
        "measured_in": list(dict.fromkeys(_network(r.measured_in, cite) for r in textures))
        if elsewhere
        else [],
        "distances": run.table.loc[run.table["kind"] == "texture", "gram_relative_matched"].dropna(),
    }


def _network(network: NetworkRecord, cite: _Citations) -> str:
    title = network.name
    if network.name in NETWORKS:
        architecture = NETWORKS[network.name]()
        title = getattr(architecture, "title", "") or architecture.name
        if isinstance(architecture.reference, Reference):
            title += f" ({cite(architecture.reference)})"
        else:
            cite.others[architecture.reference] = None
    seed = random_seed(network.weights)
    weights = f'with the weights "{network.weights}"' if seed is None else "with random weights"
    details = f"seed {seed}; " if seed is not None else ""
    rescaled = "as published" if network.weights_normalised else "by stimgen"
    filters = (
        f"filters scaled to a mean activation of 1 ({rescaled})"
        if network.normalised
        else "filters not rescaled"
    )
    return (
        f"{title} {weights} ({details}SHA-256 of the tensors {network.tensors_sha256[:12]}…), "
        f"{network.pooling} pooling, {filters}"
    )


def _layers(synthesis: SynthesisRecord) -> str:
    weights = synthesis.layer_weights
    layers = ", ".join(weights)
    if set(weights.values()) != {1.0}:
        layers = ", ".join(f"{layer} with weight {weight:g}" for layer, weight in weights.items())
    count = synthesis.components
    components = f"first {count} principal components of each layer, " if count else ""
    return f"{layers}; {components}{synthesis.parameters:,} parameters"


def _groups(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what syntheses have in common, for each preset with its settings."""
    groups: dict[str, list[SynthesisRecord]] = {}
    for record in records:
        if synthesis := record.synthesis:
            key = repr((synthesis.preset, synthesis.version, sorted(synthesis.settings.items())))
            groups.setdefault(key, []).append(synthesis)
    described = []
    for syntheses in groups.values():
        stages = [stage for synthesis in syntheses for stage in synthesis.traces]
        settings = syntheses[0].settings.items()
        described.append(
            {
                "preset": syntheses[0].preset,
                "version": syntheses[0].version,
                "settings": {name: value for name, value in settings if name not in ("preset", "version")},
                "sides": sorted({stage.size_px for stage in stages}),
                "precisions": sorted({stage.precision for stage in stages}),
                "evaluations": [synthesis.evaluations for synthesis in syntheses],
            }
        )
    return described


def _controls(run: ReportedRun, cite: _Citations) -> dict[str, Any]:
    records = [record for record in run.records if record.control is not None]
    counts = run.table["condition"].value_counts()
    described = []
    for condition, record in {record.condition: record for record in records}.items():
        control = record.control
        assert control is not None
        details = [f"control {control.name}"] if condition != control.name else []
        cited: tuple[Reference, ...] = ()
        if control.name in CONTROLS:
            details.append(CONTROLS[control.name].summary)
            cited = CONTROLS[control.name].cited(control.options)
        if control.options:
            details.append(_options(control.options))
        if control.weights_sha256:
            details.append(f"SHA-256 of the weights' tensors {control.weights_sha256[:12]}…")
        if cited:
            details.append(cite(*cited))
        described.append(f"{condition} (n = {counts[condition]}: {'; '.join(details)})")
    synthesised = [record for record in records if record.synthesis]
    return {
        "controls": described,
        "control_groups": _groups(synthesised),
        "synthesised_controls": list(dict.fromkeys(record.condition for record in synthesised)),
    }


def _after(run: ReportedRun) -> dict[str, Any]:
    matching = run.records[0].matching.settings
    limits: Mapping[str, Any] = run.manifest.get("accept") or {}
    return {
        "matching": matching,
        "matched": [
            f"{_MATCHED[name]} to {'its source' if to == 'source' else 'the mean of all sources'}"
            for name, to in matching.asked.items()
        ],
        "limits": [f"{name} = {value:g}" for name, value in limits.items() if value is not None],
        "versions": [f"{_PACKAGES.get(name, name)} {' and '.join(of)}" for name, of in run.versions.items()],
        "devices": run.devices,
    }


def _listed(words: Iterable[str]) -> str:
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _numbers(numbers: Sequence[int]) -> str:
    """Return whole numbers in words; consecutive ones by the first and the last.

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


def _options(options: Mapping[str, object]) -> str:
    return "; ".join(f"{name} {_option(value)}" for name, value in options.items())


def _option(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
