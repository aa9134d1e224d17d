"""The preview in a real browser while a real run works."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from small_runs import manifest

pytestmark = pytest.mark.slow
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


def started(path, folder):
    command = [sys.executable, "-m", "stimgen", "run", str(path), "--out", str(folder), "--watch"]
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    return subprocess.Popen(
        [*command, "--device", "cpu"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def wait_for(page, process):
    end = time.monotonic() + 120
    while not page.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_page_follows_the_run_and_ends_at_the_report(chromium, tmp_path):
    path = manifest(tmp_path, **LONG_ENOUGH).path
    folder = tmp_path / "results"
    page = folder / "preview.html"
    process = started(path, folder)
    try:
        wait_for(page, process)
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
