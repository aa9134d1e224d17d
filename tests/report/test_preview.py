"""The preview of a run: what is on the page, how it ends, and that it ends no run."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import lxml.html
import pytest
from small_runs import ids, manifest

from stimgen.report import preview
from stimgen.report.preview import MOST_POINTS, MOST_SHOWN, Preview, curve
from stimgen.runs.progress import Progress
from stimgen.runs.run_state import BatchState, RunState
from stimgen.runs.runner import run
from stimgen.runs.store import PREVIEW_MARK, RunFolder
from stimgen.runs.tables import Failure
from stimgen.verify.run import verify_run

BATCH = BatchState("grass-pool1-s2", 0.37, 3, 5, 64, 45, 100, 211.7, 0.0342)


def standing(**changes):
    values = {
        "share": 0.43,
        "finished": 12,
        "failed": 0,
        "stimuli": 30,
        "elapsed_s": 723,
        "left_s": 958,
        "per_minute": 0.913,
        "batch": BATCH,
    }
    return RunState(**values | changes)


@pytest.fixture
def opened(monkeypatch):
    """Addresses that would be opened in a browser."""
    pages = []
    monkeypatch.setattr(preview, "open_in_browser", lambda page, say: pages.append(page))
    return pages


@pytest.fixture
def messages():
    return []


@pytest.fixture
def shown(small, opened, messages):
    """A preview beside the finished small run, and its clock as attribute `now`."""
    page = Preview(RunFolder(small), "small", messages.append, clock=lambda: page.now)
    page.now = 0.0
    yield page
    page._folder.preview.unlink(missing_ok=True)


def read(page):
    content = page._folder.preview.read_bytes()
    assert content.startswith(PREVIEW_MARK)
    return lxml.html.fromstring(content.decode())


def texts(root, *names):
    return [" ".join(root.get_element_by_id(name).text_content().split()) for name in names]


def test_page_shows_progress_every_few_seconds_and_is_opened_once(shown, opened):
    shown.show(standing(share=0.42))
    shown.now = preview.EVERY_S - 0.1
    shown.show(standing())
    assert texts(read(shown), "percent") == ["42 %"]
    shown.now = preview.EVERY_S
    shown.show(standing(share=0.44))
    root = read(shown)
    assert texts(root, "percent", "stimuli", "failed", "left") == ["44 %", "12 of 30", "0", "16 min"]
    assert texts(root, "descent") == [
        "stage 3/5 at 64 px, evaluation 45/100, loss 212, relative distance 0.0342"
    ]
    assert root.xpath("//meta[@http-equiv='refresh']/@content") == [str(preview.EVERY_S)]
    assert opened == [shown._folder.preview]


def test_stimuli_are_shown_newest_first_by_condition(shown, small):
    for name in ids(small):
        shown.stimulus(RunFolder(small).read_record(name))
    shown.show(standing(finished=14))
    root = read(shown)
    figures = root.find_class("thumbnail")
    assert len(figures) == 14
    assert all(image.startswith("data:image/webp;") for image in root.xpath("//img/@src"))
    conditions = [heading.text for heading in root.xpath("//h3")]
    newest = [RunFolder(small).read_record(name) for name in reversed(ids(small))]
    assert conditions == list(dict.fromkeys(record.condition for record in newest))
    by_condition = [
        record.stimulus_id for name in conditions for record in newest if record.condition == name
    ]
    assert [figure.get("data-id") for figure in figures] == by_condition
    assert figures[-1].text_content().split()[:2] == ["brick", "s1"]


def test_a_large_run_has_a_small_page(shown, small):
    record = RunFolder(small).read_record("brick-pool1-s1")
    for number in range(2000):
        shown.stimulus(record)
        shown.failure(Failure(f"stimulus-{number}", "Broken.", "Mend it."))
    for number in range(20_000):
        shown._distances.append((BATCH.name, number // 5000, 1 / (1 + number)))
    shown.show(standing(finished=4000, failed=2000, stimuli=4000))
    root = read(shown)
    assert len(root.find_class("thumbnail")) == MOST_SHOWN
    assert "the last 60 of 2000" in root.get_element_by_id("finished").text_content()
    items = root.xpath("//section[@id='failures']//li")
    assert (len(items), items[0].text_content()) == (MOST_SHOWN, "stimulus-1999: Broken. Mend it.")
    points = root.xpath("//polyline/@points")
    assert len(points) == 4
    assert sum(len(line.split()) for line in points) <= MOST_POINTS + 1
    assert shown._folder.preview.stat().st_size < 500_000


def test_texts_are_text(shown, small):
    bad = "</title><script>alert(1)</script><img src=x onerror=alert(1)>"
    shown._title = bad
    shown.failure(Failure("a\"><b id='in'>", bad, "&amp;"))
    shown.show(standing(failed=1, batch=BatchState(bad)))
    root = read(shown)
    assert not root.xpath("//script | //b[@id='in'] | //*[@onerror]")
    assert root.xpath("//h1")[0].text == bad
    (policy,) = root.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy
    assert "http" not in policy


def test_a_stimulus_that_somebody_removed_has_no_picture(shown, small, tmp_path):
    shown._folder = RunFolder(tmp_path)
    shown.stimulus(RunFolder(small).read_record("brick-pool1-s1"))
    shown.show(standing())
    assert "no picture" in read(shown).text_content()


def test_in_the_end_the_page_leads_to_the_report(shown, small):
    shown.end("There was nothing to do.")
    assert not shown._folder.preview.exists()
    shown.show(standing())
    shown.end("The run is done.", small / "report.html")
    root = read(shown)
    assert root.xpath("//meta[@http-equiv='refresh']/@content") == ["0; url=report.html"]
    assert root.xpath("//a/@href") == ["report.html"]
    # Without a report, the last page says why.
    shown.end("The run was interrupted.")
    root = read(shown)
    assert not root.xpath("//meta[@http-equiv='refresh']")
    assert texts(root, "outcome", "percent") == ["The run was interrupted.", "43 %"]


def test_the_curve_is_logarithmic_and_breaks_between_stages():
    found = curve([(1, 1.0), (1, 0.1), (2, 0.1), (2, 0.01)])
    assert (found["highest"], found["lowest"]) == (1.0, 0.01)
    assert found["lines"] == ["0.0,0.0 200.0,60.0", "400.0,60.0 600.0,120.0"]
    assert curve([(1, 0.3), (1, 0.3)])["lines"] == ["0.0,0.0 600.0,0.0"]
    assert curve([(1, 0.0), (1, 0.5), (1, float("inf"))]) is None


def watched(folder, messages):
    progress = Progress(quiet=True)
    progress.watcher = Preview(RunFolder(folder), "small", messages.append)
    return progress


TWO = {"layer_sets": {"conv1_1": ["conv1_1"]}, "seeds": [1], "controls": None}


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_file_or_folder_that_is_no_preview_is_kept(tmp_path, opened, messages, monkeypatch, kind):
    monkeypatch.setattr(preview, "EVERY_S", 0)
    asked = manifest(tmp_path, **TWO)
    blocking = asked.output / "preview.html"
    (asked.output / "records").mkdir(parents=True)
    if kind == "folder":
        blocking.mkdir()
    else:
        blocking.write_text("my notes")
    result = run(asked, progress=watched(asked.output, messages))
    assert (result.made, result.failures) == (2, ())
    assert len(messages) == 1
    assert re.match(r"The preview cannot be written \(.* is no preview .*\); the run goes on\.", messages[0])
    assert opened == []
    assert blocking.is_dir() or blocking.read_text() == "my notes"
    assert not list(asked.output.glob(".tmp-*"))


def test_the_next_run_removes_a_preview(tmp_path, opened, messages):
    asked = manifest(tmp_path, **TWO)
    run(asked, progress=watched(asked.output, messages))
    page = asked.output / "preview.html"
    assert page.is_file()
    assert opened == [page]
    assert verify_run(asked.output).findings == ()
    run(asked)
    assert not page.exists()


OPEN = """
import sys
from pathlib import Path
from stimgen.report.preview import open_in_browser
import threading
open_in_browser(Path(sys.argv[1]), lambda text: print(text, flush=True))
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(20)
"""


def opening(page, **environment):
    """Return what is messages when a page is opened, in a process with no other display or browser."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "PATH")}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(page)],
        env=kept | {"PATH": "/nowhere"} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_browser_gets_the_address_or_one_line_says_why_not(tmp_path):
    page, script = tmp_path / "a b.html", tmp_path / "browser.sh"
    address = f"Preview: {page.as_uri()}"
    assert opening(page) == [f"{address} (not opened: there is no display here)"]
    script.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/asked"\n', encoding="utf-8")
    script.chmod(0o755)
    assert opening(page, BROWSER=f"{script} %s") == [address]
    assert (tmp_path / "asked").read_text(encoding="utf-8").strip() == page.as_uri()
    failed = "No browser could be started; open the preview by its address."
    assert opening(page, BROWSER="/nowhere/browser %s", DISPLAY=":99") == [address, failed]
