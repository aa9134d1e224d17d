"""The Methods paragraphs of a run: what its records say, in words, with citations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stimgen import references as known
from stimgen.controls import CONTROLS
from stimgen.networks.architectures import NETWORKS, random_seed
from stimgen.references import Reference
from stimgen.report import templates
from stimgen.report.reported import ReportedRun
from stimgen.runs.record import Record, SynthesisRecord
from stimgen.texture.presets import PRESETS

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
    """What to put into a paper: text, the publications that it cites, and those without a BibTeX entry."""

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

    def network(self, name: str) -> str:
        """Return a network's name as the field writes it, with its citation in brackets."""
        if name not in NETWORKS:
            return name
        architecture = NETWORKS[name]()
        title = architecture.title or name
        if isinstance(architecture.reference, Reference):
            return f"{title} ({self(architecture.reference)})"
        self.others[architecture.reference] = None
        return title


def methods(run: ReportedRun) -> Methods | None:
    """Return the Methods paragraphs of a run; None if it made nothing."""
    if not run.records:
        return None
    cite = _Citations()
    environment = templates(autoescape=False)
    words = {"listed": _listed, "numbers": _numbers, "range": _range, "options": _options}
    separators = {0: "", 1: " and "}  # by how many words of a list follow
    environment.filters |= words | {"separator": lambda loop: separators.get(loop.revindex0, ", ")}
    environment.globals |= {
        "cite": cite,
        "title": cite.network,
        "known": known,
        "known_controls": CONTROLS,
        "known_presets": PRESETS,
        "random_seed": random_seed,
        "counts": run.table["condition"].value_counts(),
        "end_of_paragraph": _END,
    }
    text = environment.get_template("methods.txt").render(_values(run))
    paragraphs = tuple(" ".join(paragraph.split()) for paragraph in text.split(_END))
    ordered = sorted(cite.cited.values(), key=lambda ref: (ref.authors.partition(" and ")[0], ref.year))
    return Methods(paragraphs, tuple(ordered), tuple(cite.others))


def _values(run: ReportedRun) -> dict[str, Any]:
    """Return what the template takes from the records."""
    image, matching = run.records[0].image, run.records[0].matching.settings
    sources = run.source_records.values()
    textures = [record for record in run.records if record.kind == "texture"]
    controls = [record for record in run.records if record.control is not None]
    synthesised = [record for record in controls if record.synthesis is not None]
    conditions = {record.condition: record for record in textures}
    limits: Mapping[str, Any] = run.manifest.get("accept") or {}
    return {
        "run": run,
        "image": image,
        "sources": [
            f"{source.id} ({source.origin}, crop of {source.crop_box[2]} × {source.crop_box[3]} px)"
            for source in sources
        ],
        "packaged": any(source.origin.startswith("skimage:") for source in sources),
        "linearised": [source.id for source in sources if source.linearise == "srgb"],
        "masked": [source.id for source in sources if source.mask],
        "reduced": any(source.crop_box[2] != image.size_px for source in sources),
        "seeds": sorted({record.seed for record in run.records if record.seed is not None}),
        "textures": textures,
        "networks": list(dict.fromkeys(record.network for record in conditions.values())),
        "conditions": conditions,
        "texture_groups": _groups(textures),
        "measured_elsewhere": any(record.measured_in != record.network for record in textures),
        "measured_in": list(dict.fromkeys(record.measured_in for record in textures)),
        "distances": run.table.loc[run.table["kind"] == "texture", "gram_relative_matched"].dropna(),
        "controls": {record.condition: record for record in controls},
        "control_groups": _groups(synthesised),
        "synthesised": list(dict.fromkeys(record.condition for record in synthesised)),
        "matching": matching,
        "matched": [
            f"{_MATCHED[name]} to {'its source' if to == 'source' else 'the mean of all sources'}"
            for name, to in matching.asked.items()
        ],
        "limits": [f"{name} = {value:g}" for name, value in limits.items() if value is not None],
        "versions": [f"{_PACKAGES.get(name, name)} {' and '.join(of)}" for name, of in run.versions.items()],
    }


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
        confined = Counter(synthesis.confined_to for synthesis in syntheses)
        described.append(
            {
                "preset": syntheses[0].preset,
                "version": syntheses[0].version,
                "settings": {name: value for name, value in settings if name not in ("preset", "version")},
                "sides": sorted({stage.size_px for stage in stages}),
                "precisions": sorted({stage.precision for stage in stages}),
                "confined": [(name, _MATCHED[name], confined[name]) for name in _MATCHED if confined[name]],
                "textures": len(syntheses),
                "evaluations": [synthesis.evaluations for synthesis in syntheses],
            }
        )
    return described


def _listed(words: Iterable[str]) -> str:
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _numbers(numbers: Sequence[int]) -> str:
    """Return whole numbers in words: "1 to 4" for [1, 2, 3, 4], "1 and 5" for [1, 5]."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return _listed(map(str, numbers))


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _options(options: Mapping[str, object]) -> str:
    words = {}
    for name, value in options.items():
        if isinstance(value, list | tuple):
            words[name] = f"[{', '.join(map(str, value))}]"
        else:
            words[name] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return "; ".join(f"{name} {word}" for name, word in words.items())
