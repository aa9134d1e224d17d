"""The report of `stimgen check`: what a manifest will make, and what that will cost."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stimgen.controls import CONTROLS
from stimgen.counting import SHOWN, counted, first_few
from stimgen.manifest.estimate import Estimate
from stimgen.manifest.plan import Stimulus, measuring_network
from stimgen.manifest.resolve import planned
from stimgen.manifest.resolved import Manifest
from stimgen.networks.weights import whereabouts
from stimgen.texture.presets import Gatys2015
from stimgen.trials import make_trials


def summary(
    manifest: Manifest,
    stimuli: Sequence[Stimulus],
    cost: Estimate,
    folder: Path | None = None,
    *,
    list_all: bool = False,
) -> str:
    """Return counts, ids, size, cost, output folder and warnings, one fact a line."""
    counts = Counter(stimulus.condition for stimulus in stimuli)
    kinds = {}
    for name, layer_set in manifest.layer_sets.items():
        layers = ", ".join(layer_set.layers)
        if len(layer_set.layers) > SHOWN:
            layers = f"{len(layer_set.layers)} layers, {layer_set.layers[0]} to {layer_set.layers[-1]}"
        kinds[name] = f"texture, {layer_set.network.name}: {layers}"
    for control in manifest.controls:
        kinds[control.id] = "control" if control.id == control.name else f"control, {control.name}"
    width = max(map(len, counts))
    number = counted(len(manifest.sources), "source", "sources")
    each = counted(len(stimuli) // len(manifest.sources))
    time = f"{cost.basis} ({cost.device_name})"
    if cost.seconds:
        time = f"about {duration(cost.seconds)} on {cost.device_name}, {cost.basis}"
    lines = [f"{manifest.path}: {counted(len(stimuli))}", *filter(None, [manifest.description]), ""]
    lines += [f"  {name:<{width}}  {counts[name]:>6}  {kind}" for name, kind in kinds.items()]
    lines += [
        "",
        f"Sources:   {number}, {each} of each: {_some([source.id for source in manifest.sources], list_all)}",
        f"Size:      {_size(manifest)}",
        *_accept(manifest),
        *_weights(manifest, stimuli),
        *_missing(manifest),
        *_synthesis(manifest),
        *_trials(manifest),
        f"Ids:       {_some([stimulus.stimulus_id for stimulus in stimuli], list_all)}",
        f"Time:      {time}",
        f"Memory:    about {cost.memory_bytes / 1e9:.1f} GB for one stimulus at a time",
        f"Output:    {folder or manifest.output}",
    ]
    if manifest.image.size_px % 2:
        lines.append(
            f"Warning:   size_px is odd ({manifest.image.size_px}). PsychoPy resamples images with odd sides "
            "when it centres them in a window with even sides; use an even size_px."
        )
    if manifest.image.bits == 16:
        lines.append(
            "Warning:   PsychoPy's ImageStim shows 16-bit files with few levels. The experiments of stimgen "
            "show them right; docs/psychopy.md says how a script of your own can."
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a time span as people say it."""
    for limit, unit, text in ((90, 1, "{:.0f} s"), (5400, 60, "{:.1f} min"), (172_800, 3600, "{:.1f} h")):
        if seconds < limit:
            return text.format(seconds / unit)
    return f"{seconds / 86_400:.1f} days"


def _size(manifest: Manifest) -> str:
    image = manifest.image
    angle = "degrees of visual angle unknown (give ppd or size_deg)"
    if image.size_deg is not None and image.ppd is not None:
        angle = f"{image.size_deg:.3g}° at {image.ppd:.4g} px/°"
    return f"{image.size_px} × {image.size_px} px, {image.color}, {image.bits} bits; {angle}"


def _accept(manifest: Manifest) -> list[str]:
    names = {
        "gram_relative_max": "relative Gram distance up to {} on matched layers",
        "gram_normalised_max": "normalised Gram distance up to {} on matched layers",
        "clipped_share_max": "clipped share up to {}",
    }
    given = manifest.accept.model_dump(exclude_none=True)
    limits = ", ".join(text.format(given[name]) for name, text in names.items() if name in given)
    return [f"Accepted:  {limits}"] if limits else []


def _weights(manifest: Manifest, stimuli: Sequence[Stimulus]) -> list[str]:
    used = dict.fromkeys(layer_set.network for layer_set in manifest.layer_sets.values())
    used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in stimuli)
    keys = dict.fromkeys((network.name, network.weights) for network in used)
    return [f"Weights:   {name} {Path(weights).name}: {whereabouts(name, weights)}" for name, weights in keys]


def _missing(manifest: Manifest) -> list[str]:
    controls = [CONTROLS[control.name] for control in manifest.controls]
    used = manifest.measure.portilla_simoncelli or any(one.package == "plenoptic" for one in controls)
    if not used or importlib.util.find_spec("plenoptic"):
        return []
    return [
        "Missing:   the package plenoptic, for Portilla & Simoncelli's statistics: pip install 'stimgen[ps]'"
    ]


def _synthesis(manifest: Manifest) -> list[str]:
    """Return the most evaluations at each size, of the layer set that has most there."""
    preset, most = manifest.synthesis, Counter[int]()
    for layer_set in manifest.layer_sets.values():
        own = Counter[int]()
        for stage in manifest.stages(layer_set):
            own[stage.size_px] += stage.evaluations
        most |= own
    if not most:
        return []
    unit = "iterations" if isinstance(preset, Gatys2015) else "evaluations"
    effort = ", ".join(f"{most[side]} {unit} at {side} px" for side in sorted(most))
    lines = [f"Synthesis: {preset.preset}, at most {effort}"]
    matching, inside = manifest.matching, manifest.confined_to
    if matching.asked:
        asked = ", ".join(f"{name} to the {to}" for name, to in matching.asked.items())
        lines.append(f"Matching:  {asked} (channels: {matching.channels})")
    if inside:
        lines.append(f"           {inside} of textures in the synthesis")
    after = ", ".join(name for name in matching.asked if name != inside)
    if after:
        lines.append(
            f"           {after} of textures after the synthesis, which takes them from their layers"
        )
    return lines


def _trials(manifest: Manifest) -> list[str]:
    if not manifest.trials:
        return []
    available, lines = planned(manifest), []
    for spec in manifest.trials:
        made = make_trials(spec.design, available, spec.options)
        count, blocks = counted(made.trials, "trial", "trials"), counted(made.blocks, "block", "blocks")
        design = "" if spec.id == spec.design else f" ({spec.design})"
        time = f"{duration(made.seconds)} at most, without breaks"
        lines.append(f"Trials:    {spec.id}{design}: {count} in {blocks}, {time}")
    return lines


def _some(names: Sequence[str], list_all: bool) -> str:
    if len(names) <= SHOWN:
        return first_few(names)
    return "\n  " + "\n  ".join(names) if list_all else f"{first_few(names)} (--all lists them)"
