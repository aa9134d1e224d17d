"""The report as a file: read by an HTML parser, as a browser would."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import lxml.html
import pandas as pd
import pytest
import yaml
from PIL import Image as Pillow
from small_runs import change_json, copied, ids, rewrite
from typer.testing import CliRunner

from stimgen.cli import app
from stimgen.errors import InputError
from stimgen.manifest.schema import AcceptSpec
from stimgen.report.page import write_report
from stimgen.runs.store import RunFolder
from stimgen.runs.tables import Failure

ROOT = Path(__file__).parents[2]


def parsed(path):
    return lxml.html.document_fromstring(path.read_text(encoding="utf-8"))


def data(page, name):
    return json.loads(page.get_element_by_id(name).text)


def text_of(page, name):
    return " ".join(" ".join(page.get_element_by_id(name).itertext()).split())


@pytest.fixture(scope="module")
def page(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(small, folder)
    return parsed(write_report([folder]))


def test_every_stimulus_is_in_the_cell_of_its_source_and_condition(page, small):
    (head,) = page.cssselect(".grid thead tr")
    conditions = [cell.text_content() for cell in head.cssselect("th")]
    assert conditions == ["original", "conv1_1", "pool1", "phase_scrambled"]
    shown = []
    for row in page.cssselect(".grid tbody tr"):
        source = row.cssselect("th")[0].text_content()
        for condition, cell in zip(conditions, row.cssselect("td"), strict=True):
            for image in cell.cssselect("img"):
                n = int(image.getparent().get("data-n"))
                shown.append(data(page, "data")["stimuli"][n]["id"])
                assert shown[-1].startswith(f"{source}-{condition}")
                assert image.get("alt").startswith(f"{source}, {condition}")
    assert sorted(shown) == sorted(ids(small))


def test_a_thumbnail_shows_its_own_stimulus(page, small):
    for image in page.cssselect(".grid img"):
        n = int(image.getparent().get("data-n"))
        stimulus = data(page, "data")["stimuli"][n]
        kind, _, content = image.get("src").partition(",")
        assert kind == "data:image/webp;base64"
        with (
            Pillow.open(io.BytesIO(base64.b64decode(content))) as thumbnail,
            Pillow.open(small / unquote(stimulus["href"])) as whole,
        ):
            difference = [
                abs(a - b)
                for a, b in zip(thumbnail.convert("L").tobytes(), whole.convert("L").tobytes(), strict=True)
            ]
        assert sum(difference) / len(difference) < 12, stimulus["id"]  # WebP loses some; others differ by 30


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_embedded_twice(page):
    for element in page.cssselect("[src], link[href]"):
        assert (element.get("src") or element.get("href")).startswith("data:")
    pictures = [image.get("src") for image in page.cssselect("img")]
    assert len(set(pictures)) == len(pictures) == 14
    (policy,) = page.cssselect("meta[http-equiv]")
    assert "default-src 'none'" in policy.get("content")
    (script,) = page.cssselect("script[type=module]")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' blob:;" in policy.get("content")
    assert [s.get("type") for s in page.cssselect("script")] == ["application/json"] * 5 + ["module"]


def test_headings_labels_and_alternatives_for_images(page):
    levels = [int(element.tag[1]) for element in page.iter("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(image.get("alt") for image in page.cssselect("img"))
    for field in page.cssselect("select"):
        assert field.getparent().tag == "label"
    assert page.get("lang") == "en"
    names = [element.get("id") for element in page.cssselect("[id]")]
    assert len(names) == len(set(names))


def test_the_table_is_that_of_the_run(page, small):
    table = data(page, "table-data")
    headers = [column["name"] for column in table["columns"]]
    read = pd.read_csv(io.StringIO(pd.DataFrame(table["rows"], columns=headers).to_csv(index=False)))
    pd.testing.assert_frame_equal(read, pd.read_csv(small / "stimuli.csv"))
    assert {c["name"] for c in table["columns"] if c["number"]} >= {"seed", "luminance_mean"}
    assert all(column["title"] for column in table["columns"])


def test_provenance_is_in_it(page, small):
    record = json.loads((small / "records" / "brick-pool1-s1.json").read_text("utf-8"))
    text = text_of(page, "provenance")
    assert record["measured_in"]["tensors_sha256"] in text
    assert record["measured_in"]["file_sha256"] in text
    for package, number in record["made"]["versions"].items():
        assert f"{package} {number}" in text
    shown = [block.text_content() for block in page.cssselect("#provenance pre")]
    assert shown == [(small / f"manifest{of}.yaml").read_text("utf-8") for of in ("", ".resolved")]


def test_failed_and_rejected_stimuli_are_listed_with_their_reason(small, tmp_path):
    folder = copied(small, tmp_path / "run", keep=-1, gram_relative_max=1e-9)
    run = RunFolder(folder)
    records = [run.read_record(name) for name in ids(folder)]
    last = ids(small)[-1]
    rewrite(run, records, (Failure(last, "It broke.", "Mend it."),), AcceptSpec(gram_relative_max=1e-9))
    page = parsed(write_report([folder]))
    text = text_of(page, "summary")
    assert "Made 13 of 14 Failed 1 Rejected 8" in text
    failed, *rejected = [item.text_content() for item in page.cssselect("#summary li")]
    assert failed == f"{last}: It broke. Mend it."
    (reason,) = (text for text in rejected if text.startswith("brick-pool1-s1: The relative Gram distance"))
    assert reason.endswith("and gram_relative_max is 1e-09.")
    assert len(page.cssselect(".stimulus.rejected")) == 8
    (cell,) = page.cssselect(".failed")
    assert cell.get("title") == "It broke."
    (folder / "stimuli" / "brick-original.png").write_bytes(b"altered")
    with pytest.raises(InputError, match="not those that their records describe"):
        write_report([folder])


def test_an_interrupted_run_says_what_is_missing(small, tmp_path):
    folder = copied(small, tmp_path / "run", keep=3)
    page = parsed(write_report([folder]))
    assert "11 of 14 stimuli were not made" in text_of(page, "summary")
    assert [cell.text for cell in page.cssselect(".none")] == ["not made"] * 11
    assert "11 of the 14 stimuli of the design were not made" in text_of(page, "methods")
    # A run that made nothing has a report too.
    failures = tuple(Failure(name, "It broke.", "Mend it.") for name in ids(small))
    rewrite(RunFolder(folder), [], failures)
    page = parsed(write_report([folder]))
    assert "Made 0 of 14 Failed 14" in text_of(page, "summary")
    assert not page.cssselect("#methods")


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_markup_in_names_is_shown_as_text(small, tmp_path):
    folder = copied(small, tmp_path / "run", keep=-1)
    run = RunFolder(folder)
    rewrite(run, [run.read_record(name) for name in ids(folder)], (Failure("brick-x", HOSTILE, HOSTILE),))
    for name in ("manifest.yaml", "manifest.resolved.yaml"):
        resolved = yaml.safe_load((folder / name).read_text("utf-8"))
        (folder / name).write_text(yaml.safe_dump(resolved | {"description": HOSTILE}), "utf-8")
    change_json(folder / "run.json", name=HOSTILE, device=HOSTILE, overrides={"network": HOSTILE})
    page = parsed(write_report([folder]))
    assert len(page.cssselect("script")) == 6
    assert all(image.get("src").startswith("data:") for image in page.cssselect("img"))
    assert not page.xpath("//@onerror")
    assert page.cssselect("h1")[0].text_content() == HOSTILE
    assert page.cssselect(".description")[0].text_content() == HOSTILE


def test_runs_of_one_name_are_labelled_by_folder(small, tmp_path):
    first, second = copied(small, tmp_path / "a"), copied(small, tmp_path / "b", keep=7)
    page = parsed(write_report([first, second], tmp_path / "both.html"))
    groups = [cell.text_content() for cell in page.cssselect("th[scope=colgroup]")]
    assert groups == ["small (a)", "small (b)"]
    assert len(page.cssselect(".grid tbody tr")) == 2
    stimuli = data(page, "data")["stimuli"]
    assert [s["href"].split("/")[0] for s in stimuli] == ["a"] * 14 + ["b"] * 7
    assert all((tmp_path / s["href"]).is_file() for s in stimuli)
    names = {trace["name"] for trace in data(page, "plots-data")[0]["views"][""]}
    assert {"small (a): pool1", "small (b): pool1"} <= names
    table = data(page, "table-data")
    assert table["columns"][0]["name"] == "run"
    assert {row[0] for row in table["rows"]} == {"small (a)", "small (b)"}


def test_sources_of_one_id_with_different_images_are_separate(small, made, tmp_path):
    other = made(name="other", sources=[{"id": "brick", "image": "skimage:gravel"}])
    page = parsed(write_report([small, other], tmp_path / "both.html"))
    sources = [cell.text_content() for cell in page.cssselect(".grid tbody th")]
    assert sources == ["brick (small)", "grass", "brick (other)"]
    assert [len(row.cssselect("img")) for row in page.cssselect(".grid tbody tr")] == [7, 7, 7]


def test_a_source_that_no_stimulus_shows_is_read_again(made, tmp_path):
    """Only if its file is the one in the records."""
    picture = tmp_path / "wall.png"
    Pillow.effect_noise((40, 40), 60).convert("L").save(picture)
    folder = made(sources=[{"id": "wall", "image": str(picture)}], controls=["phase_scrambled"])

    def shown():
        (source,) = data(parsed(write_report([folder])), "data")["sources"].values()
        return source

    source = shown()
    with Pillow.open(io.BytesIO(base64.b64decode(source["image"].partition(",")[2]))) as image:
        assert image.size == (32, 32)
    assert source["note"] == ""
    Pillow.effect_noise((40, 40), 60).convert("L").save(picture)
    source = shown()
    assert source["image"] is None
    assert "its file is not the one in the records" in source["note"]
    picture.unlink()
    source = shown()
    assert source["image"] is None
    assert "not there any more" in source["note"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{run}", "{run}"], "2 runs, and no file for their report."),
        (["{run}", "{run}", "--out", "{folder}/x.html"], "is named twice"),
        (["{run}", "--out", "{folder}/x.pdf"], "is not an HTML file"),
        (["{run}", "--out", "{folder}/none/x.html"], "in a folder that exists"),
        (["{folder}"], "holds no stimgen run"),
        (["{folder}/nothing"], "is no folder"),
    ],
)
def test_wrong_arguments_are_refused(small, tmp_path, arguments, text):
    words = [word.format(run=small, folder=tmp_path) for word in arguments]
    done = CliRunner().invoke(app, ["report", *words])
    assert done.exit_code == 2
    assert text in done.stderr


def test_a_run_writes_its_report_but_not_with_no_report(small, tmp_path, monkeypatch):
    monkeypatch.setenv("STIMGEN_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    shutil.copy(folder / "manifest.resolved.yaml", tmp_path / "again.yaml")
    words = ["run", str(tmp_path / "again.yaml"), "--out", str(folder), "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--no-report"])
    assert done.exit_code == 0, done.stderr
    assert not (folder / "report.html").exists()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert done.stderr.endswith(f"Table: {folder / 'stimuli.csv'}, report: {folder / 'report.html'}\n")
    assert len(parsed(folder / "report.html").cssselect(".grid img")) == 14
    # A report that cannot be written is no failure of the run.
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    lines = [line for line in done.stderr.splitlines() if "report was not written" in line]
    assert len(lines) == 1
    assert f"stimgen report {folder} tries again" in lines[0]


@pytest.mark.slow
def test_a_wheel_carries_the_templates(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for file in ("report.html", "report.css", "report.js", "methods.txt", "preview.html"):
        assert f"stimgen/report/templates/{file}" in names
