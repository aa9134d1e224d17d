"""The report of manifests/exp1.yaml, made small, in a real browser and on paper."""

from __future__ import annotations

import base64
import csv
from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
from opened_pages import cells, find, panels
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from benchmarks.browser import open_page, requests
from stimgen.manifest.load import load_manifest
from stimgen.report.page import write_report
from stimgen.runs.runner import run

pytestmark = pytest.mark.slow
EXP1 = Path(__file__).parents[2] / "manifests" / "exp1.yaml"
CONDITIONS = ["original", "conv1_1", "pool1", "pool2", "pool3", "pool4", "phase_scrambled"]
A4_PT = (595, 842)


@pytest.fixture(scope="module")
def exp1(tmp_path_factory):
    """The report of a run with all stimuli of the manifest, of 32 px and after a few evaluations."""
    manifest = load_manifest(EXP1)
    quick = manifest.synthesis.model_copy(update={"smallest_px": 32, "evaluations": (3, 3)})
    small = replace(manifest, image=replace(manifest.image, size_px=32), synthesis=quick)
    folder = tmp_path_factory.mktemp("exp1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIMGEN_CACHE", str(folder / "cache"))
        made = run(small, out=folder / "exp1", device="cpu")
    assert (made.made, made.failures) == (39, ())
    return write_report([made.folder])


@pytest.fixture
def opened(chromium, exp1):
    open_page(chromium, exp1)
    return chromium


def test_it_shows_all_stimuli_and_plots_without_an_error(opened, exp1):
    asked = [address for address in requests(opened) if not address.startswith(("data:", "blob:"))]
    assert asked == [exp1.resolve().as_uri()]
    widths = opened.execute_script(
        "return [...document.querySelectorAll('.grid .stimulus img')].map((i) => i.naturalWidth)"
    )
    assert widths == [32] * 39
    assert [cell.text for cell in opened.find_elements(By.CSS_SELECTOR, ".grid thead th") if cell.text] == (
        CONDITIONS
    )
    for name in ("distances", "spectra", "losses", "histograms", "luminance"):
        legend = opened.find_elements(By.CSS_SELECTOR, f"#plot-{name} .legendtext")
        assert {"pool4", "conv1_1"} <= {entry.text for entry in legend}
    assert "of 39 entries" in find(opened, ".dt-info").text
    assert opened.get_log("browser") == []


def test_the_table_is_filtered_and_saved(opened, exp1):
    find(opened, ".dt-search input").send_keys("grass-pool4")
    assert cells(opened, "condition") == ["pool4"] * 2
    assert cells(opened, "source") == ["grass"] * 2
    folder = exp1.parent / "downloads"
    folder.mkdir()
    where = {"behavior": "allow", "downloadPath": str(folder.resolve())}
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    find(opened, ".buttons-csv").click()
    saved = folder / "stimuli.csv"
    WebDriverWait(opened, 20).until(lambda _: saved.is_file() and saved.stat().st_size)
    table, found = (
        {row["stimulus_id"]: row for row in csv.DictReader(file.read_text("utf-8-sig").splitlines())}
        for file in (exp1.parent / "stimuli.csv", saved)
    )
    assert list(found) == ["grass-pool4-s1", "grass-pool4-s2"]
    assert {name: row["png_sha256"] for name, row in found.items()} == {
        name: table[name]["png_sha256"] for name in found
    }
    assert opened.get_log("browser") == []


def test_stimuli_are_compared_side_by_side_and_enlarged(opened):
    find(opened, ".grid img[alt='gravel, pool4, seed 2']").find_element(By.XPATH, "..").click()
    assert [address.rsplit("/", 1)[1] for address, *_ in panels(opened)] == [
        "gravel-pool4-s2.png",
        "gravel-original.png",
    ]
    Select(find(opened, "#other")).select_by_visible_text("phase_scrambled, seed 1")
    for zoom in ("1", "4"):
        Select(find(opened, "#zoom")).select_by_value(zoom)
        shown = panels(opened)
        assert len(shown) == 3
        assert [size for _, *size in shown] == [[32, 32 * int(zoom), "pixelated"]] * 3
    find(opened, "#viewer").send_keys(Keys.ESCAPE)
    assert not find(opened, "#viewer").is_displayed()
    assert opened.get_log("browser") == []


def test_on_paper_nothing_is_cut_off_and_nothing_is_there_to_be_clicked(opened):
    options = {"preferCSSPageSize": True, "printBackground": True}
    content = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", options)["data"])
    with pypdfium2.PdfDocument(content) as document:
        texts, images = [], 0
        for page in document:
            assert page.get_size() == pytest.approx(A4_PT, abs=1)
            for thing in page.get_objects():
                left, _, right, _ = thing.get_bounds()
                assert left >= 0
                assert right <= page.get_width() + 0.1
                images += thing.type == pypdfium2.raw.FPDF_PAGEOBJ_IMAGE
            texts.append(page.get_textpage().get_text_bounded())
    assert images == 39
    printed = " ".join(texts)
    for shown in ("Made", "Relative Gram distance by layer", "Methods", "References", "Provenance", "vgg16"):
        assert shown in printed
    for clicked in ("Search", "Copy", "all sources", "entries"):
        assert clicked not in printed
    # A heading stays with what it is about.
    assert not any(text.rstrip().endswith(("Plots", "Methods", "Provenance")) for text in texts)
