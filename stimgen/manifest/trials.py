"""Trial lists of a manifest: their options, and whether they can be made of what the manifest makes."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import ConfigDict, ValidationError

from stimgen.controls import CONTROLS
from stimgen.errors import nearest
from stimgen.manifest.document import Document, shorten
from stimgen.manifest.plan import plan
from stimgen.manifest.problems import DataPath, ManifestError
from stimgen.manifest.resolved import Manifest, TrialsSpec
from stimgen.manifest.schema import Section, TrialsSection, spell_out
from stimgen.manifest.wording import option_problems, problems_of
from stimgen.trials import DESIGNS, Available, Exemplar, OptionError, make_trials


def resolve_trials(index: int, section: TrialsSection, document: Document) -> TrialsSpec | None:
    """Return a trial list with all its options; None, with problems, if they are wrong in themselves."""
    place: DataPath = ("trials", index)
    if section.design not in DESIGNS:
        message = f'unknown design "{shorten(section.design)}". {nearest(section.design, DESIGNS)}'
        document.complain((*place, "design"), message)
        return None
    model = DESIGNS[section.design].options
    try:
        # As JSON, because pydantic's strict mode takes a list for a tuple there, but never "3" for 3.
        options = model.model_validate_json(json.dumps(section.model_extra), strict=True)
    except ValidationError as error:
        known = ["design", "id", *model.model_fields]
        for problem in option_problems(error, document, place, known):
            document.add(problem)
        return None
    return TrialsSpec(section.id or section.design, section.design, options)


class _Trials(Section):
    """The section `trials` of a text; the others are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trials: tuple[TrialsSection, ...]


def read_trials(document: Document) -> tuple[TrialsSpec, ...]:
    """Return the trial lists of a text that has the section `trials`, whatever its other sections are.

    Raises
    ------
    ManifestError
        With everything that is wrong in the section.
    """
    data = spell_out(document.data)
    specs = []
    try:
        sections = _Trials.model_validate_json(json.dumps(data), strict=True).trials
        check_ids(enumerate(sections), document)
        specs = [resolve_trials(index, section, document) for index, section in enumerate(sections)]
    except ValidationError as error:
        for problem in problems_of(error, document, data):
            document.add(problem)
    if document.problems:
        raise ManifestError(document.problems)
    return tuple(spec for spec in specs if spec is not None)


def check_ids(trials: Iterable[tuple[int, TrialsSection]], document: Document) -> None:
    """Complain about ids that are taken, ignoring case as file systems do."""
    taken: set[str] = set()
    for index, section in trials:
        name = section.id or section.design
        if name.lower() in taken:
            document.complain(
                ("trials", index),
                f'the id "{shorten(name)}" is taken by another trial list; give another id.',
            )
        taken.add(name.lower())


def check_trials(manifest: Manifest, places: Iterable[int], document: Document) -> None:
    """Complain about trial lists that the stimuli of a manifest do not suffice for.

    The lists are made for this, as if every stimulus were accepted.

    Parameters
    ----------
    manifest
        With trial lists.
    places
        Place of each in the list of the document.
    document
        Where problems go.
    """
    if not manifest.trials:
        return
    available = planned(manifest)
    for index, spec in zip(places, manifest.trials, strict=True):
        try:
            make_trials(spec.design, available, spec.options)
        except OptionError as error:
            message = f"{error.problem[:1].lower()}{error.problem[1:]} {error.cure}"
            document.complain(("trials", index, error.option), message)


def planned(manifest: Manifest) -> Available:
    """Return the stimuli that a manifest makes."""
    exemplars = tuple(
        Exemplar(
            one.stimulus_id,
            one.source,
            one.condition,
            one.seed,
            one.control is not None and CONTROLS[one.control.name].is_source,
        )
        for one in plan(manifest)
    )
    return Available.of(exemplars, manifest.image.size_px)
