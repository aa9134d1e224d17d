"""Trial lists of a manifest: their options, and whether the stimuli suffice for them."""

from __future__ import annotations

from collections.abc import Sequence

from stimgen.controls import CONTROLS
from stimgen.errors import nearest
from stimgen.manifest.document import DataPath, Document, ManifestError, shorten
from stimgen.manifest.plan import plan
from stimgen.manifest.resolved import Manifest, TrialsSpec
from stimgen.manifest.schema import TrialsSection
from stimgen.manifest.sections import read, read_section
from stimgen.trials import DESIGNS, Available, Exemplar, OptionError, make_trials


def read_trials(document: Document) -> tuple[TrialsSpec, ...]:
    """Return the trial lists of a text that has the section `trials`, whatever its other sections are."""
    trials = resolve_trials(read_section("trials", document.data, document) or (), document)
    if document.problems:
        raise ManifestError(document.problems)
    return trials


def resolve_trials(sections: Sequence[TrialsSection | None], document: Document) -> tuple[TrialsSpec, ...]:
    """Return trial lists with all their options, without those that have problems."""
    specs = []
    for index, section in enumerate(sections):
        if section is None:
            continue
        place: DataPath = ("trials", index)
        name = section.id or section.design
        document.claim("id", shorten(name), "another trial list", place)
        if section.design not in DESIGNS:
            message = f'unknown design "{shorten(section.design)}". {nearest(section.design, DESIGNS)}'
            document.complain((*place, "design"), message)
            continue
        model = DESIGNS[section.design].options
        options = read(model, section.model_extra, document, place, others=("design", "id"))
        if options is not None:
            specs.append(TrialsSpec(name, section.design, options))
    return tuple(specs)


def check_trials(manifest: Manifest, document: Document) -> None:
    """Make the trial lists as if every stimulus were accepted, and complain where stimuli do not suffice."""
    if not manifest.trials:
        return
    available = planned(manifest)
    for index, spec in enumerate(manifest.trials):
        try:
            make_trials(spec.design, available, spec.options)
        except OptionError as error:
            message = f"{error.problem[:1].lower()}{error.problem[1:]} {error.cure}"
            document.complain(("trials", index, error.option), message)


def planned(manifest: Manifest) -> Available:
    """Return the stimuli that a manifest makes."""
    exemplars = [
        Exemplar(
            stimulus.stimulus_id,
            stimulus.source,
            stimulus.condition,
            stimulus.seed,
            stimulus.control is not None and CONTROLS[stimulus.control.name].is_source,
        )
        for stimulus in plan(manifest)
    ]
    return Available.of(exemplars, manifest.image.size_px)
