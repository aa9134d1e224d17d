"""The folder of stimgen decode, after somebody else wrote to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from stimgen.decoding.dataset import inspect_images, refuse_link
from stimgen.decoding.features import Cost, FeatureFolder
from stimgen.decoding.results import kept_result
from stimgen.errors import StimgenError


def image(folder: Path) -> Path:
    path = folder / "image.png"
    Image.new("L", (8, 8)).save(path)
    return path


@pytest.mark.parametrize("line", ["[" * 50_000, '{"path": 1}', '{"path": "a", "evil": 1}', "\xff"])
def test_damaged_log_of_images_is_refused(line: str, tmp_path: Path) -> None:
    log = tmp_path / "inspected.jsonl"
    log.write_text(line + "\n", encoding="latin-1")
    with pytest.raises(StimgenError, match="is damaged") as caught:
        inspect_images([image(tmp_path)], 8, log, lambda _: None)
    assert caught.value.cure


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = FeatureFolder(tmp_path / "features", {"pool1": 3})
    folder.path.mkdir()
    for name in ("images.txt", "pool1.f32", "inspected.jsonl"):
        (folder.path / name).symlink_to(precious)
        with pytest.raises(StimgenError, match="is a symbolic link"):
            refuse_link(folder.path / name)
    with pytest.raises(StimgenError):
        folder.repair()
    (folder.path / "images.txt").unlink()
    with pytest.raises(StimgenError, match=r"pool1\.f32 is a symbolic link"):
        folder.repair()
    with pytest.raises(StimgenError, match="is a symbolic link"):
        inspect_images([image(tmp_path)], 8, folder.path / "inspected.jsonl", lambda _: None)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("content", [b"\xff" * 65, b"a" * 32 + b"\n" + b"b" * 32])
def test_damaged_list_of_rows_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, {"pool1": 3})
    folder.index.write_bytes(content)
    with pytest.raises(StimgenError, match="is damaged"):
        folder.images()


@pytest.mark.parametrize("text", ["", "[1]", '{"images": -1}', '{"images": "3"}', '{"seconds": NaN}'])
def test_damaged_cost_is_ignored(text: str, tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, {"pool1": 3})
    (tmp_path / "cost.json").write_text(text)
    assert folder.cost() == Cost()
    (tmp_path / "cost.json").write_text('{"images": 3, "seconds": 1.5}')
    assert folder.cost() == Cost(images=3, seconds=1.5)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "[" * 100_000,
        "[1]",
        '{"key": "k"}',
        '{"key": "k", "validation_top1": 3, "predicted": "x", "rank": [1e999]}',
    ],
    ids=["pipe", "deep", "list", "lacks keys", "wrong types"],
)
def test_damaged_result_of_a_layer_is_computed_again(text: str | None, tmp_path: Path) -> None:
    if text is None:
        os.mkfifo(tmp_path / "pool1.json")
    else:
        (tmp_path / "pool1.json").write_text(text)
    assert kept_result(tmp_path / "pool1.json", "k") is None
