"""The report of `stimgen check`: what a manifest will make, and what that will cost."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stimgen.controls import CONTROLS
from stimgen.counting import counted
from stimgen.manifest.estimate import Estimate, estimate
from stimgen.manifest.load import load_manifest
from stimgen.manifest.plan import Stimulus, check_paths, measuring_network, plan
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.trials import planned
from stimgen.networks.architectures import NETWORKS
from stimgen.networks.weights import whereabouts
from stimgen.texture.presets import Gatys2015
from stimgen.texture.schedule import stages
from stimgen.trials import make_trials

SHOWN = 6
"""How many sources and stimulus ids are named when not all are asked for."""


def check_report(
    path: str | Path,
    *,
    network: str | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    out: Path | None = None,
    list_all: bool = False,
) -> str:
    """Load a manifest and return what it will make, in plain text.

    Parameters
    ----------
    path, network, seeds
        As `load_manifest` takes them.
    device
        As `estimate` takes it.
    out
        The run folder; by default `Manifest.output`.
    list_all
        Whether to name every source and stimulus.

    Raises
    ------
    ManifestError
        With everything that is wrong in the file.
    InputError
        If there is no such device.
    """
    manifest = load_manifest(path, network=network, seeds=seeds)
    stimuli = plan(manifest)
    folder = (out or manifest.output).absolute()
    check_paths(folder, stimuli)
    return summary(manifest, stimuli, estimate(manifest, stimuli, device=device), folder, list_all=list_all)


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
    width = max(len(condition) for condition in counts)
    lines = [f"{manifest.path}: {counted(len(stimuli), 'stimulus', 'stimuli')}", ""]
    if manifest.description:
        lines[1:1] = [manifest.description]
    for name, layer_set in manifest.layer_sets.items():
        what = f"texture, {layer_set.network.name}: {_layers(layer_set.layers)}"
        lines.append(f"  {name:<{width}}  {counts[name]:>6}  {what}")
    for control in manifest.controls:
        what = control.name if control.id != control.name else "control"
        what = what if what == "control" else f"control, {what}"
        lines.append(f"  {control.id:<{width}}  {counts[control.id]:>6}  {what}")
    sources = _some([source.id for source in manifest.sources], list_all)
    per_source = counted(len(stimuli) // len(manifest.sources), "stimulus", "stimuli")
    lines += [
        "",
        f"Sources:   {counted(len(manifest.sources), 'source', 'sources')}, {per_source} of each: {sources}",
        f"Size:      {_size(manifest)}",
        *_accept(manifest),
        *_weights(manifest),
        *_missing(manifest),
        *_synthesis(manifest),
        *_trials(manifest),
        f"Ids:       {_some([stimulus.stimulus_id for stimulus in stimuli], list_all)}",
        f"Time:      {_time(cost)}",
        f"Memory:    about {cost.memory_bytes / 1e9:.1f} GB for one stimulus at a time",
        f"Output:    {folder or manifest.output}",
    ]
    if manifest.image.size_px % 2:
        lines.append(
            f"Warning:   size_px is odd ({manifest.image.size_px}). PsychoPy resamples images with odd sides "
            "when it centres them in a window with even sides; use an even size_px."
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a time span as people say it.

    Examples
    --------
    >>> duration(8), duration(95), duration(5400), duration(260000)
    ('8 s', '1.6 min', '1.5 h', '3.0 days')
    """
    for limit, unit, text in ((90, 1, "{:.0f} s"), (5400, 60, "{:.1f} min"), (172_800, 3600, "{:.1f} h")):
        if seconds < limit:
            return text.format(seconds / unit)
    return f"{seconds / 86_400:.1f} days"


def _time(cost: Estimate) -> str:
    if not cost.seconds:
        return f"{cost.basis} ({cost.device_name})"
    return f"about {duration(cost.seconds)} on {cost.device_name}, {cost.basis}"


def _size(manifest: Manifest) -> str:
    image = manifest.image
    text = f"{image.size_px} × {image.size_px} px, {image.color}"
    if image.size_deg is None or image.ppd is None:
        return f"{text}; degrees of visual angle unknown (give ppd or size_deg)"
    return f"{text}; {image.size_deg:.3g}° at {image.ppd:.4g} px/°"


def _accept(manifest: Manifest) -> list[str]:
    accept = manifest.accept
    limits = []
    if accept.gram_relative_max is not None:
        limits.append(f"relative Gram distance up to {accept.gram_relative_max} on matched layers")
    if accept.gram_normalised_max is not None:
        limits.append(f"normalised Gram distance up to {accept.gram_normalised_max} on matched layers")
    if accept.clipped_share_max is not None:
        limits.append(f"clipped share up to {accept.clipped_share_max}")
    return [f"Accepted:  {', '.join(limits)}"] if limits else []


def _weights(manifest: Manifest) -> list[str]:
    used = dict.fromkeys(entry.network for entry in manifest.layer_sets.values())
    used |= dict.fromkeys(measuring_network(manifest, stimulus) for stimulus in plan(manifest))
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
        architecture = NETWORKS[layer_set.network.name]()
        for stage in stages(preset, architecture, layer_set.layers, manifest.image.size_px):
            own[stage.size_px] += stage.evaluations
        most |= own
    if not most:
        return []
    unit = "iterations" if isinstance(preset, Gatys2015) else "evaluations"
    effort = ", ".join(f"{most[side]} {unit} at {side} px" for side in sorted(most))
    return [f"Synthesis: {preset.preset}, at most {effort}"]


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


def _layers(layers: Sequence[str]) -> str:
    return ", ".join(layers) if len(layers) <= SHOWN else f"{len(layers)} layers, {layers[0]} to {layers[-1]}"


def _some(names: Sequence[str], list_all: bool) -> str:
    if list_all or len(names) <= SHOWN:
        return ", ".join(names) if len(names) <= SHOWN else "\n  " + "\n  ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more (--all lists them)"
