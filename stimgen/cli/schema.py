"""The command `stimgen schema`."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of manifests, for editors that check YAML while you type.

    For example:

      stimgen schema > stimgen.schema.json
    """
    from stimgen.manifest.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
