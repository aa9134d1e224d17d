"""All that a run needs before anything is made: sources, networks, recipes, and the plan in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stimgen.controls import CONTROLS
from stimgen.errors import InputError
from stimgen.images.sources import Source, load_source
from stimgen.manifest.plan import Stimulus, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.matching.reference import Reference
from stimgen.measure.portilla_simoncelli import load_plenoptic
from stimgen.runs.batches import measured_layers
from stimgen.runs.networks import Networks
from stimgen.runs.recipe import recipe, recipe_sha256


@dataclass(frozen=True)
class Preparation:
    """What making the stimuli of a manifest needs, the same in every process that makes some of them.

    Attributes
    ----------
    manifest
        What is asked for.
    sources
        By id.
    networks
        On the device of this process.
    the_set
        What stimuli are matched to where the manifest says "set".
    """

    manifest: Manifest
    sources: dict[str, Source]
    networks: Networks
    the_set: Reference

    def recipe_sha256(self, stimulus: Stimulus) -> str:
        """Return the hash of all that a stimulus depends on."""
        measured = measured_layers(self.manifest, measuring_network(self.manifest, stimulus))
        return recipe_sha256(recipe(self.manifest, stimulus, self.sources, self.networks.weights, measured))

    def recipes(self) -> dict[str, str]:
        """Return the hashes of all recipes by stimulus id, in the order of the plan."""
        return {stimulus.stimulus_id: self.recipe_sha256(stimulus) for stimulus in plan(self.manifest)}


def prepare(manifest: Manifest, device: str) -> Preparation:
    """Load the sources, and check that all that the manifest asks for can be made of them.

    Parameters
    ----------
    manifest
        A loaded manifest.
    device
        Where this process computes, for example "cuda:0".

    Raises
    ------
    StimgenError
        If something that the manifest asks for is not installed.
    InputError
        With everything that is wrong with any source.
    """
    if manifest.measure.portilla_simoncelli:
        load_plenoptic()  # every stimulus needs it, and would fail only when it is made
    sources = load_sources(manifest)
    check_controls(manifest, sources.values())
    return Preparation(manifest, sources, Networks(manifest, device), set_reference(manifest, sources))


def set_reference(manifest: Manifest, sources: Mapping[str, Source]) -> Reference:
    """Return what stimuli are matched to where the manifest says "set"."""
    return Reference(tuple(source.pixels for source in sources.values()), manifest.matching.channels)


def load_sources(manifest: Manifest) -> dict[str, Source]:
    """Load all sources by id.

    Raises
    ------
    InputError
        With everything that is wrong with any of them.
    """
    sources: dict[str, Source] = {}
    errors: list[str] = []
    for source in manifest.sources:
        try:
            sources[source.id] = load_source(source, manifest.image, name=manifest.name)
        except InputError as error:
            errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))
    return sources


def check_controls(manifest: Manifest, sources: Iterable[Source]) -> None:
    """Raise InputError with every source that a control can make nothing of, or what it cannot do without.

    Raises
    ------
    StimgenError
        If a control needs what is not installed.
    InputError
        If a source does not suit a control.
    """
    errors: list[str] = []
    for control in {spec.name: CONTROLS[spec.name] for spec in manifest.controls}.values():
        if control.prepare:
            control.prepare()
        if control.check_source is None:
            continue
        for source in sources:
            try:
                control.check_source(source)
            except InputError as error:
                errors.append(str(error))
    if errors:
        raise InputError("\n".join(errors))
