"""Draw a run as a grid: one row per source, one column per condition, the first exemplar of each.

python docs/make_pictures.py results/exp1 docs/images/exp1.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GAP_PX = 8
LABEL_PX = 26
FONT_PX, SMALLEST_FONT_PX = 16, 8
FIRST, LAST = "original", "phase_scrambled"


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="Run folder, with stimuli.csv in it.")
    parser.add_argument("picture", type=Path, help="PNG file to write.")
    arguments = parser.parse_args()
    draw_grid(arguments.run).save(arguments.picture, optimize=True)


def draw_grid(run: Path) -> Image.Image:
    """Return the grid of a finished run, in its pixels: nothing is resized.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    Image
        Sources downwards in the order of the table; across the original, the layer sets in the order of
        the table, and the other controls.
    """
    with (run / "stimuli.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    files: dict[tuple[str, str], Path] = {}
    for row in rows:
        files.setdefault((row["source"], row["condition"]), run / row["filename"])
    sources = list(dict.fromkeys(row["source"] for row in rows))
    conditions = sorted(dict.fromkeys(row["condition"] for row in rows), key=_place)
    side = int(rows[0]["size_px"])
    step = side + GAP_PX
    size = LABEL_PX + len(conditions) * step, LABEL_PX + len(sources) * step
    colour = any(row["color"] == "rgb" for row in rows)
    grid = Image.new("RGB" if colour else "L", size, "white")
    for i, condition in enumerate(conditions):
        grid.paste(_label(condition, side), (LABEL_PX + i * step, 0))
    for j, source in enumerate(sources):
        grid.paste(_label(source, side).transpose(Image.Transpose.ROTATE_90), (0, LABEL_PX + j * step))
        for i, condition in enumerate(conditions):
            if (source, condition) in files:
                with Image.open(files[source, condition]) as stimulus:
                    grid.paste(stimulus, (LABEL_PX + i * step, LABEL_PX + j * step))
    return grid


def _place(condition: str) -> int:
    return {FIRST: -1, LAST: 1}.get(condition, 0)


def _label(text: str, width: int) -> Image.Image:
    label = Image.new("L", (width, LABEL_PX), "white")
    draw = ImageDraw.Draw(label)
    # A long name is written smaller, and cut off only where it could not be read.
    sizes = range(FONT_PX, SMALLEST_FONT_PX - 1, -1)
    fonts = [ImageFont.load_default(size) for size in sizes]
    font = next((font for font in fonts if draw.textlength(text, font) <= width), fonts[-1])
    draw.text((width / 2, LABEL_PX / 2), text, fill="black", font=font, anchor="mm")
    return label


if __name__ == "__main__":
    main()
