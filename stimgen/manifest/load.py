"""Load a manifest: text, data with positions, schema, meaning. All problems are reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stimgen.bounded import read_file
from stimgen.errors import nearest
from stimgen.manifest.document import MAX_BYTES, Document, ManifestError, Problem, decoded, parse, shorten
from stimgen.manifest.resolve import is_weights_file, resolve
from stimgen.manifest.resolved import Manifest
from stimgen.manifest.schema import LARGEST_SEED, VERSION, ManifestFile, NetworkSpec
from stimgen.manifest.sections import describe, read_section
from stimgen.networks.architectures import NETWORKS


def load_manifest(
    path: str | Path,
    *,
    network: str | None = None,
    seeds: Sequence[int] | None = None,
    files_needed: bool = True,
    open_images: bool = False,
    content: bytes | None = None,
) -> Manifest:
    """Read, check and resolve a manifest; with `content`, these bytes as those of the file.

    With `open_images`, the sizes of the sources are read from their files and checked, too.
    """
    path = Path(path)
    content = _read(path) if content is None else content
    document = parse(decoded(content, str(path)), str(path))
    if not isinstance(document.data, dict):
        message = f"a manifest is a mapping that starts with stimgen: 1, not {describe(document.data)}."
        document.complain((), message)
        raise ManifestError(document.problems)
    data = document.data
    version = data.get("stimgen", VERSION)
    if ("stimgen",) not in document.spoilt and (type(version) is not int or version != VERSION):
        message = (
            f"expected {VERSION}, the manifest version that this stimgen reads, got {describe(version)}."
        )
        document.complain(("stimgen",), message)
        if isinstance(version, int) and version > VERSION:
            # The other sections follow rules unknown here; problems found in them would mislead.
            raise ManifestError(document.problems)
    for key in data.keys() - ManifestFile.model_fields:
        message = f'unknown key "{shorten(key)}". {nearest(key, ManifestFile.model_fields)}'
        document.complain((key,), message, key=True)
    _override(data, document, network, seeds)
    # The version is looked at above.
    data |= {"stimgen": VERSION} if "stimgen" in data else {}
    sections = {name: read_section(name, data, document) for name in ManifestFile.model_fields}
    manifest = resolve(
        SimpleNamespace(**sections), document, path, files_needed=files_needed, open_images=open_images
    )
    if manifest is None or document.problems:
        raise ManifestError(document.problems)
    given = {"network": network, "seeds": list(seeds) if seeds is not None else None}
    overrides = {key: value for key, value in given.items() if value is not None}
    return replace(manifest, overrides=overrides, content=content)


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_BYTES)
    except FileNotFoundError:
        hint = f"Its folder {path.parent} doesn't exist either."
        if path.parent.is_dir():
            manifests = sorted(file.name for file in path.parent.glob("*.y*ml"))[:20]
            hint = nearest(path.name, manifests) if manifests else ""
        message = f"there is no such file. {hint}".strip()
    except IsADirectoryError:
        own = path / "manifest.yaml"
        hint = f"The run in it has the manifest {own}." if own.is_file() else "Name a manifest, a YAML file."
        message = f"is a folder. {hint}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"can't be read: {reason}. Name a manifest, a YAML file of at most 1 MB."
    raise ManifestError([Problem(str(path), None, None, "", message)])


def _override(
    data: dict[str, Any], document: Document, network: str | None, seeds: Sequence[int] | None
) -> None:
    """Put the options of the command line into the data."""
    section = data.get("network", {})
    if network is not None and network not in NETWORKS:
        message = f'unknown network "{network}". {nearest(network, NETWORKS)}'
        document.add(Problem("--network", None, None, "", message))
    elif network is not None and isinstance(section, dict):
        weights, before = section.get("weights"), section.get("name", NetworkSpec().name)
        if isinstance(weights, str) and is_weights_file(weights) and before != network:
            message = (
                f"--network {network} can't use this weights file of {before}; change the manifest instead."
            )
            document.complain(("network", "weights"), message)
        data["network"] = section | {"name": network}
    if seeds and len(set(seeds)) == len(seeds) and all(0 <= seed <= LARGEST_SEED for seed in seeds):
        data["seeds"] = list(seeds)
    elif seeds is not None:
        found = ", ".join(map(str, seeds)) or "nothing"
        message = f"expected different whole numbers from 0 to {LARGEST_SEED}, got {found}."
        document.add(Problem("--seeds", None, None, "", message))
