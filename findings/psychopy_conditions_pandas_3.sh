#!/bin/sh
# PsychoPy's conditions files with pandas 3: one stimulus id that looks like a number stops the whole file.
#
# Packages: psychopy-lib 2026.2.5, pandas 3.1.1, numpy 2.4.6.
#
# Expected: `data.importConditions` reads a CSV file of conditions with any text in its cells; ids such as
# "brick" and "007" in one column are an ordinary list of stimuli. Cells with a decimal comma ("1,5") are meant
# to become numbers.
#
# What happens: each text cell is tried as a number and, if that works, written back into its column. pandas 3
# has a text type of its own, which refuses numbers, so that a column with texts *and* something that float()
# takes ends in a TypeError about a dtype: ids such as "007" or "2e3" beside "brick", and a column of decimal
# commas. With pandas 2.3.3 the same file is read, and "007" becomes the number 7.0. A column of digits only is
# read, as integers without their leading zeros. From .xlsx the cell becomes 7.0.
#
# Seen:
#   brick, gravel  ['brick', 'gravel']
#   brick, 007     TypeError: Invalid value '7.0' for dtype 'str'. ...
#   brick, 2e3     TypeError: Invalid value '2000.0' for dtype 'str'. ...
#   "1,5", "2,5"   TypeError: Invalid value '1.5' for dtype 'str'. ...
#   007, 012       [7, 12]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile --no-deps psychopy-lib==2026.2.5
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 pillow==13.0.0 pyglet==1.5.27 openpyxl==3.1.5 packaging==26.4 \
    requests==2.34.2 json-tricks==3.17.3 pyyaml==6.0.4 freetype-py==2.5.1 python-bidi==0.6.12 \
    arabic-reshaper==3.1.0 i18next==0.0.3 pyserial==3.5 six==1.17.0 2>"$folder/messages" || { cat "$folder/messages"; exit 1; }
cd "$folder"
# PsychoPy keeps its settings in the home folder, and pyglet's hidden window would need a display.
export HOME="$folder" PYGLET_SHADOW_WINDOW=0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from pathlib import Path

from psychopy.data import importConditions

expected = {
    "brick, gravel": ["brick", "gravel"],
    "brick, 007": "Invalid value '7.0'",
    "brick, 2e3": "Invalid value '2000.0'",
    '"1,5", "2,5"': "Invalid value '1.5'",
    "007, 012": [7, 12],
}
changed = []
for cells, wanted in expected.items():
    Path("conditions.csv").write_text("stimulus,trial\n" + "".join(f"{cell},1\n" for cell in cells.split(", ")))
    try:
        seen = [row["stimulus"] for row in importConditions("conditions.csv")]
        seen = [cell if isinstance(cell, str) else int(cell) for cell in seen]
        print(cells.ljust(14), seen)
        same = seen == wanted
    except TypeError as error:
        print(cells.ljust(14), f"TypeError: {error}"[:60])
        same = isinstance(wanted, str) and str(error).startswith(wanted)
    if not same:
        changed.append(cells)
if changed:
    sys.exit(f"CHANGED: {changed}")
print("As described.")
PY
