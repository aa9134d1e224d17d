"""The report and the preview in a real browser, opened as the files that they are."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import time

import pandas as pd
import pypdfium2
import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from small_runs import copied, manifest

from benchmarks.browser import open_page, requests
from benchmarks.report import forge
from stimgen.report.page import write_report

pytestmark = pytest.mark.slow
LARGEST_REPORT_BYTES = 30_000_000
A4_PT = (595, 842)


def find(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def cells(driver, column):
    heads = [cell.text for cell in driver.find_elements(By.CSS_SELECTOR, ".dt-scroll-head th")]
    rows = driver.find_elements(By.CSS_SELECTOR, "#stimuli-table tbody tr")
    return [row.find_elements(By.TAG_NAME, "td")[heads.index(column)].text for row in rows]


def panels(driver):
    """Return address, width in the file and width on the screen of what is shown side by side."""
    WebDriverWait(driver, 20).until(
        lambda driver: driver.execute_script(
            "return [...document.querySelectorAll('#panels img')].every((i) => i.complete)"
        )
    )
    script = (
        "return [...document.querySelectorAll('#panels img')]"
        ".map((i) => [i.src, i.naturalWidth, i.clientWidth, getComputedStyle(i).imageRendering])"
    )
    return driver.execute_script(script)


@pytest.fixture
def page(chromium, small, tmp_path):
    path = write_report([copied(small, tmp_path / "run", gram_relative_max=1e-9)])
    open_page(chromium, path)
    return path


def test_it_opens_without_an_error_or_a_request(chromium, page):
    assert chromium.get_log("browser") == []
    asked = [address for address in requests(chromium) if not address.startswith(("data:", "blob:"))]
    assert asked == [page.resolve().as_uri()]
    for plot in chromium.find_elements(By.CSS_SELECTOR, ".plot"):
        assert plot.find_elements(By.CSS_SELECTOR, "svg.main-svg .trace, svg.main-svg .point"), (
            plot.get_attribute("id")
        )
    # Of all of these, thumbnails that are shown have been decoded.
    broken = "return [...document.querySelectorAll('.grid img')].filter((i) => !i.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    assert chromium.get_screenshot_as_png().startswith(b"\x89PNG")


def test_table_sorts_and_filters_and_plots_show_one_source(chromium, page):
    before = cells(chromium, "luminance_mean")
    assert len(before) == 14
    (head,) = [
        h for h in chromium.find_elements(By.CSS_SELECTOR, ".dt-scroll-head th") if h.text == "luminance_mean"
    ]
    head.click()
    up = [float(cell) for cell in cells(chromium, "luminance_mean")]
    assert up == sorted(up)
    head.click()
    down = [float(cell) for cell in cells(chromium, "luminance_mean")]
    assert down == sorted(down, reverse=True)
    find(chromium, ".dt-search input").send_keys("grass-pool1")
    assert set(cells(chromium, "source")) == {"grass"}
    assert set(cells(chromium, "condition")) == {"pool1"}
    count = "return document.querySelectorAll('#plot-luminance .point').length"
    assert chromium.execute_script(count) == 14
    Select(find(chromium, "#view")).select_by_visible_text("grass")
    WebDriverWait(chromium, 20).until(lambda driver: driver.execute_script(count) == 7)
    assert chromium.get_log("browser") == []


def test_the_csv_file_has_all_columns_of_the_rows_that_are_left(chromium, page):
    folder = page.parent / "downloads"
    folder.mkdir()
    chromium.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder.resolve())}
    )
    find(chromium, ".buttons-csv").click()
    saved = folder / "stimuli.csv"
    WebDriverWait(chromium, 20).until(lambda _: saved.is_file() and saved.stat().st_size)
    pd.testing.assert_frame_equal(pd.read_csv(saved), pd.read_csv(page.parent / "stimuli.csv"))


def test_a_stimulus_is_shown_in_its_own_pixels_beside_its_source_and_a_control(chromium, page):
    chosen = find(chromium, ".grid img[alt='grass, pool1, seed 2']").find_element(By.XPATH, "..")
    chosen.send_keys(Keys.ENTER)
    assert find(chromium, "#viewer-title").text == "grass-pool1-s2"
    shown = panels(chromium)
    assert [address.rsplit("/", 1)[1] for address, *_ in shown] == [
        "grass-pool1-s2.png",
        "grass-original.png",
    ]
    assert [size for _, *size in shown] == [[32, 32, "pixelated"]] * 2
    Select(find(chromium, "#zoom")).select_by_value("4")
    Select(find(chromium, "#other")).select_by_visible_text("phase_scrambled, seed 1")
    shown = panels(chromium)
    assert shown[2][0].endswith("/grass-phase_scrambled-s1.png")
    assert [width for _, _, width, _ in shown] == [128] * 3
    find(chromium, "#next").send_keys(Keys.ENTER)
    assert find(chromium, "#viewer-title").text != "grass-pool1-s2"
    find(chromium, "#viewer").send_keys(Keys.ESCAPE)
    assert not find(chromium, "#viewer").is_displayed()
    assert chromium.get_log("browser") == []


def test_a_page_without_its_run_shows_thumbnails_and_says_so(chromium, page, tmp_path):
    alone = tmp_path / "alone.html"
    page.rename(alone)
    open_page(chromium, alone)
    find(chromium, ".stimulus").click()
    WebDriverWait(chromium, 20).until(lambda driver: "this is the thumbnail" in find(driver, "#panels").text)
    assert all(address.startswith("data:") for address, *_ in panels(chromium))
    chromium.get_log("browser")  # that a file is not there


@pytest.mark.parametrize("width", [1400, 400])
def test_no_part_is_wider_than_the_window(chromium, page, width):
    chromium.set_window_size(width, 1000)
    open_page(chromium, page)
    try:
        wide, seen = chromium.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= seen
    finally:
        chromium.set_window_size(1400, 1000)


def test_two_thousand_stimuli_open(chromium, small, tmp_path):
    page = write_report([forge(small, tmp_path / "many", sources=56, seeds=12)])
    assert page.stat().st_size < LARGEST_REPORT_BYTES
    open_page(chromium, page)
    assert chromium.get_log("browser") == []
    assert len(chromium.find_elements(By.CSS_SELECTOR, ".grid img")) == 56 * 37
    assert "of 2,072 entries" in find(chromium, ".dt-info").text
    asked = [address for address in requests(chromium) if not address.startswith(("data:", "blob:"))]
    assert asked == [page.resolve().as_uri()]


def test_nothing_is_cut_off_on_paper(chromium, page):
    options = {"preferCSSPageSize": True, "printBackground": True}
    content = base64.b64decode(chromium.execute_cdp_cmd("Page.printToPDF", options)["data"])
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
    assert images == 14
    printed = " ".join(texts)
    for shown in ("Made", "Relative Gram distance by layer", "Methods", "References", "Provenance", "vgg16"):
        assert shown in printed
    for clicked in ("Search", "Copy", "all sources", "entries"):
        assert clicked not in printed
    # A heading stays with what it is about.
    assert not any(text.rstrip().endswith(("Plots", "Methods", "Provenance")) for text in texts)


LONG_ENOUGH = {
    "image": {"size_px": 64, "ppd": 41},
    "layer_sets": {"conv1_1": ["conv1_1"], "pool2": ["conv1_1", "pool1", "pool2"]},
    "synthesis": {"preset": "multiscale", "evaluations": [400], "stop_distance": 0},
}


def text(driver, name):
    """Return the text of an element; empty while the page is being loaded again."""
    with contextlib.suppress(WebDriverException):
        return driver.find_element(By.ID, name).text
    return ""


def test_preview_follows_the_run_and_ends_at_the_report(chromium, tmp_path):
    page = tmp_path / "results" / "preview.html"
    command = [sys.executable, "-m", "stimgen", "run", str(manifest(tmp_path, **LONG_ENOUGH).path)]
    command += ["--out", str(page.parent), "--watch", "--device", "cpu"]
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        end = time.monotonic() + 120
        while not page.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        chromium.get(page.as_uri())
        patient = WebDriverWait(chromium, 300, poll_frequency=0.2)
        first = patient.until(lambda driver: text(driver, "percent"))
        patient.until(lambda driver: text(driver, "percent") not in ("", first))
        patient.until(lambda driver: "relative distance" in text(driver, "descent"))
        patient.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, ".thumbnail img"))
        widths = "return [...document.querySelectorAll('.thumbnail img')].map((i) => i.naturalWidth)"
        assert set(patient.until(lambda driver: driver.execute_script(widths))) == {64}
        patient.until(lambda driver: driver.find_elements(By.TAG_NAME, "polyline"))
        if picture := os.environ.get("PREVIEW_PICTURE"):
            chromium.save_screenshot(picture)
        assert chromium.get_log("browser") == []
        patient.until(lambda driver: driver.current_url.endswith("/report.html"))
        assert "stimgen report" in chromium.title
        errors = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == 0
    message = f"Preview: {page.as_uri()} (not opened: there is no display here)"
    assert errors.splitlines()[0] == message
    assert "\x1b" not in errors
    chromium.get(page.as_uri())
    patient.until(lambda driver: driver.current_url.endswith("/report.html"))
