"""`stimgen new`: what it writes loads, and so does every alternative in its comments."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.controls import CONTROLS
from stimgen.manifest.json_schema import json_schema
from stimgen.manifest.load import load_manifest
from stimgen.manifest.schema import ManifestFile


def new(*arguments):
    return CliRunner().invoke(app, ["new", *map(str, arguments)], prog_name="stimgen")


def photograph(path, width=40, height=30, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, 3)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def switched_off(text):
    """Return the numbers of the lines that are alternatives: with # and no space after it."""
    return [number for number, line in enumerate(text.splitlines()) if re.match(r" *#\S", line)]


def key_of(line):
    found = re.match(r"( *)#?([a-z_0-9]+):", line)
    return found and (found[1], found[2])


def switched_on(text, number):
    """Return the text with an alternative on, and off the line that it takes the place of."""
    lines = text.splitlines()
    start, end = number, number + 1
    while lines[start - 1].strip():
        start -= 1
    while end < len(lines) and lines[end].strip():
        end += 1
    lines[number] = re.sub(r"#(\S)", r"\1", lines[number], count=1)
    key = key_of(lines[number])
    kept = [
        line
        for place, line in enumerate(lines)
        if place == number
        or not (start <= place < end and key and key_of(line) == key and "#" + key[1] not in line)
    ]
    return "\n".join(kept) + "\n"


def test_new_writes_a_project_that_check_accepts(workplace):
    result = new("exp1")
    assert result.exit_code == 0
    assert files(workplace) == [
        ".gitignore",
        "manifests/exp1.yaml",
        "manifests/stimgen.schema.json",
        "textures/README.md",
    ]
    assert result.stderr.splitlines() == [
        "manifests/exp1.yaml: 128 × 128 px, sources: brick, gravel",
        "Next:  stimgen check manifests/exp1.yaml   (what it will make)",
        "       stimgen run manifests/exp1.yaml     (makes it)",
    ]
    for line in result.stderr.splitlines()[1:]:
        words = shlex.split(line.partition("stimgen ")[2].partition("(")[0])
        assert Path(words[1]).is_file()
    text = Path("manifests/exp1.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=stimgen.schema.json\n")
    schema = json.loads(Path("manifests/stimgen.schema.json").read_text("utf-8"))
    assert schema == json_schema()
    jsonschema.validate(yaml.safe_load(text), schema)
    checked = CliRunner().invoke(app, ["check", "manifests/exp1.yaml"])
    assert checked.exit_code == 0
    assert "manifests/exp1.yaml: 10 stimuli" in checked.stdout
    assert f"Output:    {workplace / 'results' / 'exp1'}" in checked.stdout


def test_manifest_equals_the_quickstart(workplace):
    new("quickstart", "--ppd", 41)
    mine = load_manifest("manifests/quickstart.yaml")
    theirs = load_manifest(Path(__file__).parents[2] / "manifests" / "quickstart.yaml")
    assert {k: v for k, v in mine.resolved().items() if k != "description"} == {
        k: v for k, v in theirs.resolved().items() if k != "description"
    }


@pytest.mark.parametrize(
    ("name", "size", "ppd", "network"),
    [
        ("no", 128, 1e-5, "vgg19"),
        ("On", 16, 1e300, "vgg16"),
        ("y", 512, 41.5, "vgg16"),
        ("e1", 47, None, "alexnet"),
    ],
)
def test_any_name_and_numbers_give_a_manifest_that_loads(name, size, ppd, network, workplace):
    options = [] if ppd is None else ["--ppd", repr(ppd)]
    result = new(name, "--size", size, "--network", network, *options)
    assert result.exit_code == 0, result.output
    manifest = load_manifest(f"manifests/{name}.yaml")
    assert (manifest.name, manifest.image.size_px, manifest.image.ppd) == (name, size, ppd)
    assert {manifest.network.name, *(entry.network.name for entry in manifest.layer_sets.values())} == {
        network
    }


@pytest.mark.parametrize(
    "options",
    [
        ("--ppd", 33.3, "--size", 256),
        ("--network", "alexnet", "--size", 250),
        ("--images", "textures/leaf.tif", "--size", 64, "--network", "vgg19"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_every_alternative_in_the_comments_loads(options, workplace):
    photograph(workplace / "textures" / "bark.png", 512, 512)
    photograph(workplace / "textures" / "leaf.tif", 512, 512)
    assert new("exp1", *options).exit_code == 0
    path = workplace / "manifests" / "exp1.yaml"
    text = path.read_text("utf-8")
    before = load_manifest(path).resolved()
    numbers = switched_off(text)
    assert len(numbers) > 25
    for number in numbers:
        changed = switched_on(text, number)
        path.write_text(changed, encoding="utf-8")
        line = text.splitlines()[number]
        after = load_manifest(path).resolved()
        assert after != before, line


def test_every_section_and_control_is_mentioned(workplace):
    new("exp1")
    text = Path("manifests/exp1.yaml").read_text("utf-8")
    sections = set(re.findall(r"^#?([a-z_]+):", text, re.MULTILINE))
    assert sections == set(ManifestFile.model_fields)
    assert {name for name in CONTROLS if not re.search(rf"- (\{{name: )?{name}\b", text)} == set()
    assert "\t" not in text


def test_own_images_are_read_and_get_ids_from_their_names(workplace):
    photograph(workplace / "textures" / "oak bark-2.png", 64, 48)
    photograph(workplace / "textures" / "007.tif", mode="RGB")
    photograph(workplace / "elsewhere" / "Sand.png")
    photograph(workplace / "elsewhere" / "sand.jpg")
    result = new("own", "--images", "textures/*", "--images", "elsewhere/*", "--size", 30)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[:4] == [
        "source_007: textures/007.tif, 40 × 30 px",
        "oak_bark_2: textures/oak bark-2.png, 64 × 48 px",
        "Sand: elsewhere/Sand.png, 40 × 30 px",
        "sand_2: elsewhere/sand.jpg, 40 × 30 px",
    ]
    manifest = load_manifest("manifests/own.yaml")
    assert {one.id: one.path for one in manifest.sources} == {
        "source_007": workplace / "textures" / "007.tif",
        "oak_bark_2": workplace / "textures" / "oak bark-2.png",
        "Sand": workplace / "elsewhere" / "Sand.png",
        "sand_2": workplace / "elsewhere" / "sand.jpg",
    }
    assert not (workplace / "textures" / "README.md").exists()


def test_unquoted_pattern_takes_all_images(workplace):
    for name in ("a", "b", "c"):
        photograph(workplace / "textures" / f"{name}.png")
    command = f"{sys.executable} -m stimgen new own --images textures/*.png --size 30"
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert [one.id for one in load_manifest("manifests/own.yaml").sources] == ["a", "b", "c"]
    stray = new("other", "textures/a.png")
    assert stray.exit_code == 2
    assert "Name images with --images." in stray.stderr
    assert new("other", "--imges", "a.png").exit_code == 2
    assert not Path("manifests/other.yaml").exists()


def test_project_with_its_images_can_be_moved(workplace, tmp_path):
    outside = photograph(workplace / "photographs" / "bark.png")
    inside = photograph(tmp_path / "project" / "textures" / "sand.png")
    result = new(
        "exp1", "--folder", tmp_path / "project", "--images", outside, "--images", inside, "--size", 30
    )
    assert result.exit_code == 0, result.output
    first, second = yaml.safe_load((tmp_path / "project" / "manifests" / "exp1.yaml").read_text("utf-8"))[
        "sources"
    ]
    assert first == {"id": "bark", "image": str(outside)}
    assert second == {"id": "sand", "image": "../textures/sand.png"}
    (tmp_path / "project").rename(tmp_path / "moved")
    manifest = load_manifest(tmp_path / "moved" / "manifests" / "exp1.yaml")
    assert [one.path for one in manifest.sources] == [outside, tmp_path / "moved" / "textures" / "sand.png"]


@pytest.mark.parametrize("stem", ["skimage:brick", "~a # b: [c]*?'\"\\", "line\u2028separator 🙂", "no"])
def test_images_of_any_name_are_found(stem, workplace):
    path = photograph(workplace / "textures" / f"{stem}.png")
    result = new("exp1", "--images", path, "--size", 20)
    assert result.exit_code == 0, result.output
    (source,) = load_manifest("manifests/exp1.yaml").sources
    assert source.path == path


def test_all_bad_images_are_named(workplace):
    photograph(workplace / "textures" / "good.png", 200, 200)
    photograph(workplace / "textures" / "small.png")
    (workplace / "textures" / "text.png").write_text("no image")
    before = files(workplace)
    result = new("own", "--images", "textures/*.png")
    assert result.exit_code == 2
    assert "the crop of textures/small.png is 30 × 30 pixels, smaller than the stimuli" in result.stderr
    assert "textures/text.png is not an image file" in result.stderr
    assert "good: textures/good.png, 200 × 200 px" in result.stderr
    assert files(workplace) == before
    missing = new("own", "--images", "nope/*.png", "--images", "nope.png")
    assert missing.exit_code == 2
    assert 'No file matches "nope/*.png"' in missing.stderr
    assert 'There is no file "nope.png"' in missing.stderr
    assert files(workplace) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["no go"],
            'expected an id of letters, digits and _, at most 64, that starts with a letter, got "no go"',
        ),
        ([""], "expected an id"),
        (["con"], "the name of a device on Windows"),
        (["a", "--size", 15], "--size 15: expected a number greater than or equal to 16, got 15."),
        (["a", "--size", 600], "the crop of skimage:brick is 512 × 512 pixels"),
        (["a", "--ppd", 0], "--ppd 0.0: expected a number greater than 0, got 0.0."),
        (["a", "--ppd", 1e-320], "no display is like that"),
        (["a", "--network", "vgg17"], 'Unknown network "vgg17"'),
        (
            ["a", "--network", "alexnet", "--size", 30],
            "--size 30: stimuli of 30 px are too small for conv4, which needs at least 47 px",
        ),
    ],
)
def test_bad_options_are_refused(arguments, words, workplace):
    result = new(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert files(workplace) == []


def test_nothing_is_overwritten(workplace):
    new("exp1")
    for name in files(workplace):
        (workplace / name).write_text("mine")
    again = new("exp1")
    assert again.exit_code == 2
    assert "There is a manifest manifests/exp1.yaml already" in again.stderr
    assert "Choose another name" in again.stderr
    other = new("exp2")
    assert other.exit_code == 0
    assert "manifests/stimgen.schema.json is of another version" in other.stderr
    for name in set(files(workplace)) - {"manifests/exp2.yaml"}:
        assert (workplace / name).read_text() == "mine"


def test_links_and_files_in_place_of_folders(workplace):
    (workplace / "file").write_text("")
    result = new("exp1", "--folder", "file")
    assert result.exit_code == 2
    assert "--folder file is not a folder." in result.stderr
    (workplace / "manifests").mkdir()
    (workplace / "manifests" / "exp1.yaml").symlink_to(workplace / "target.yaml")
    assert new("exp1").exit_code == 2
    (workplace / ".gitignore").symlink_to(workplace / "target")
    assert new("exp2").exit_code == 0
    assert not (workplace / "target").exists()
    assert not (workplace / "target.yaml").exists()


@pytest.mark.slow
def test_what_is_written_runs_as_it_is(workplace):
    assert new("exp1", "--size", 32).exit_code == 0
    done = CliRunner().invoke(app, ["run", "manifests/exp1.yaml", "--device", "cpu", "--no-report"])
    assert done.exit_code == 0, done.output
    assert len(list((workplace / "results" / "exp1" / "stimuli").glob("*.png"))) == 10


def test_images_of_a_folder_are_found(tmp_path):
    photograph(tmp_path / "textures" / "bark.JPG")
    photograph(tmp_path / "textures" / "moss.png")
    (tmp_path / "textures" / "notes.txt").write_text("none")
    result = new("exp1", "--folder", tmp_path, "--images", tmp_path / "textures", "--size", 30)
    assert result.exit_code == 0, result.stderr
    manifest = load_manifest(tmp_path / "manifests" / "exp1.yaml")
    assert sorted(source.id for source in manifest.sources) == ["bark", "moss"]
