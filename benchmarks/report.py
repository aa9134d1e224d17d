"""Reports of many stimuli: how large they are, and how fast a browser opens them; and their picture.

``python -m benchmarks.report results/quickstart --sources 40 --seeds 12``

Forges a run from the records of another: other ids, noise as images. Prints the number of stimuli, the time
to write the report, its size, and the times at which a browser had shown it and had drawn table and plots.

``python -m benchmarks.report results/quickstart --picture docs/images/report.png``

Writes the report of the run itself, and a picture of it.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image as Pillow

from benchmarks.browser import browser, open_page
from stimgen.manifest.schema import AcceptSpec
from stimgen.report.page import write_report
from stimgen.runs.record import Record, sealed
from stimgen.runs.store import RunFolder, sha256
from stimgen.runs.tables import write_tables


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.picture:
        picture(write_report([options.run]), options.picture, options.height)
        return
    with tempfile.TemporaryDirectory() as folder:
        forged = forge(options.run, Path(folder) / "forged", sources=options.sources, seeds=options.seeds)
        start = time.perf_counter()
        page = write_report([forged])
        seconds = time.perf_counter() - start
        number = json.loads((forged / "run.json").read_text("utf-8"))["stimuli"]
        print(f"{number} stimuli: report written in {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        with browser() as driver:
            open_page(driver, page)
            times = driver.execute_script(
                "const [page] = performance.getEntriesByType('navigation');"
                "const [paint] = performance.getEntriesByName('first-contentful-paint');"
                "const [drawn] = performance.getEntriesByName('drawn');"
                "return [paint.startTime, page.loadEventEnd, drawn.startTime];"
            )
        shown, loaded, drawn = (milliseconds / 1000 for milliseconds in times)
        print(f"first contents after {shown:.1f} s, open after {loaded:.1f} s, drawn after {drawn:.1f} s")


def picture(page: Path, out: Path, height: int, *, width: int = 1280) -> None:
    """Write a picture of the upper part of a page."""
    with browser(width, height) as driver:
        open_page(driver, page)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    with Pillow.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        image.convert("RGB").save(out, optimize=True)


def forge(like: Path, folder: Path, *, sources: int, seeds: int, side: int = 128) -> Path:
    """Write a run of many stimuli: one record of each condition of a run under other ids, noise as images.

    Each image is noise with a spectrum that falls, which compresses as badly as textures do.
    """
    shutil.copytree(like, folder, ignore=shutil.ignore_patterns("*.png", "records", "report.html"))
    run = RunFolder(folder)
    run.stimuli.mkdir(exist_ok=True)
    run.records.mkdir()
    templates: dict[str, Record] = {}
    for path in sorted((like / "records").glob("*.json")):
        record = Record.model_validate_json(path.read_bytes())
        templates.setdefault(record.condition, record)
    rng = np.random.default_rng(1)
    records = []
    for place in range(sources):
        for condition, record in templates.items():
            for seed in (None,) if record.seed is None else range(1, seeds + 1):
                source = f"source{place}"
                name = f"{source}-{condition}" + ("" if seed is None else f"-s{seed}")
                content = _noise(rng, side)
                run.png(name).write_bytes(content)
                one = record.model_dump() | {"stimulus_id": name, "filename": f"stimuli/{name}.png"}
                one |= {"png_sha256": sha256(content), "seed": seed}
                one["source"] |= {"id": source, "sha256": sha256(source.encode())}
                one["image"] |= {"size_px": side}
                one["statistics"]["luminance_mean"] = float(rng.uniform(0.3, 0.7))
                one["statistics"]["luminance_sd"] = float(rng.uniform(0.1, 0.2))
                power = np.geomspace(1e-3, 1e-7, side // 2) * rng.uniform(0.5, 2, side // 2)
                one |= {"power": power.tolist(), "power_source": power.tolist()}
                records.append(sealed(Record.model_validate(one)))
                run.record(name).write_text(records[-1].model_dump_json(), "utf-8")
    write_tables(run, records, (), AcceptSpec())
    resolved = yaml.safe_load((folder / "manifest.resolved.yaml").read_text("utf-8"))
    resolved["sources"] = [{"id": f"source{place}"} for place in range(sources)]
    resolved["seeds"] = list(range(1, seeds + 1))
    (folder / "manifest.resolved.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False), "utf-8")
    summary = json.loads((folder / "run.json").read_text("utf-8"))
    summary |= {"stimuli": len(records), "made": len(records)}
    (folder / "run.json").write_text(json.dumps(summary), "utf-8")
    return folder


def _noise(rng: np.random.Generator, side: int) -> bytes:
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) / frequency**0.5, s=(side, side))
    pixels = np.clip(127.5 + 45 * plane / plane.std(), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--sources", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--picture", type=Path, help="PNG file; nothing is forged or timed then")
    parser.add_argument("--height", type=int, default=1500, help="of the picture, px")
    return parser


if __name__ == "__main__":
    main()
