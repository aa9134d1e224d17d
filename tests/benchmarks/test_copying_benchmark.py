from __future__ import annotations

from pathlib import Path

import yaml

from benchmarks import copying
from stimgen.manifest.load import load_manifest
from stimgen.runs.runner import run

MANIFEST = Path(copying.__file__).with_suffix(".yaml")


def test_every_kind_of_image_has_a_row(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    asked = yaml.safe_load(MANIFEST.read_text("utf-8"))
    asked["sources"] = [source for source in asked["sources"] if source["id"] == "gravel_detail"]
    asked |= {"network": {"name": "vgg16", "normalise": False}, "layer_sets": {"pool4": ["conv1_1"]}}
    asked |= {"seeds": [1], "synthesis": {"preset": "multiscale", "evaluations": [2]}}
    asked |= {"controls": ["phase_scrambled", "block_shuffled"]}
    (tmp_path / "copying.yaml").write_text(yaml.safe_dump(asked), "utf-8")
    folder = run(load_manifest(tmp_path / "copying.yaml"), device="cpu").folder
    copying.main([str(folder), "--random", "1"])

    header, baseline, _, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["baselines", "b_32", "b_64", "b_128"]
    assert baseline.startswith("gravel_detail ")
    counts = {row[:32].strip(): row.split()[-3:] for row in rows}
    for kind in ("block_shuffled", "shifted copy", "shifted, half contrast", "one block of 64 px, SD 0.02"):
        assert counts[kind] == ["1", "of", "1"], kind
    for kind in ("pool4", "phase_scrambled"):
        assert counts[kind] == ["0", "of", "1"], kind
    assert counts["other crop of the photograph"] == ["0", "of", "2"]
    assert counts["noise, blurred by 4 px"] == ["0", "of", "2"]
