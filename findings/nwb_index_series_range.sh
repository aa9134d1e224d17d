#!/bin/sh
# NWB: a series of stimulus numbers may name pictures that don't exist; writing changes it, and no validator minds.
#
# Packages: pynwb 4.2.0, nwbinspector 0.7.2, hdmf 6.2.0, numpy 2.4.6.
#
# Expected: an IndexSeries says which picture was on the screen; the NWB schema describes its data as zero-based
# indices of the images in `indexed_images`, of type uint32. Numbers outside 0 … number of pictures - 1 (the
# usual result of counting from 1, as MATLAB does) or below 0 (-1 for a blank, or "not shown") should be
# refused when the series is made or written, or be found by `pynwb.validate` or by nwbinspector, which checks
# time stamps and intervals of the same file.
#
# What happens: all pass. A -1 in an int32 array is written as 4294967295, and 1.7 as 1 (a list of plain Python
# integers with -1 is refused, so that it depends on the container). Numbers counted from 1 make every picture
# the next one's, and the last one's number names none; neither validator reports it.
#
# Seen (two pictures, numbers 1, 2, -1 in an int32 array):
#   read back: 1 2 4294967295
#   pynwb.validate: 0 errors
#   nwbinspector on the series: check_timestamps_ascending (time stamps spoiled on purpose), nothing else
#   0, 1.7 in a float64 array, read back: 0 1
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-compile \
    pynwb==4.2.0 nwbinspector==0.7.2 hdmf==6.2.0 h5py==3.16.0 numpy==2.4.6 pandas==3.1.1
cd "$folder"
export HOME="$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import datetime
import sys

import numpy as np
from nwbinspector import inspect_nwbfile
from pynwb import NWBHDF5IO, NWBFile, validate
from pynwb.base import ImageReferences, Images
from pynwb.image import GrayscaleImage, IndexSeries


def written(numbers):
    """Write a file with two pictures and a series of numbers; return the numbers that are read back."""
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    file = NWBFile("texture discrimination", "id", start)
    pictures = [GrayscaleImage(name=name, data=np.zeros((4, 4), np.uint8)) for name in ("brick", "gravel")]
    order = ImageReferences(name="order_of_images", data=pictures)
    template = Images(name="textures", images=pictures, description="the textures", order_of_images=order)
    times = [0.0, 2.0, 1.0][: len(numbers)]
    series = IndexSeries(name="shown", data=numbers, indexed_images=template, timestamps=times, unit="N/A")
    file.add_stimulus_template(template)
    file.add_stimulus(series)
    with NWBHDF5IO("textures.nwb", "w") as io:
        io.write(file)
    with NWBHDF5IO("textures.nwb", "r") as io:
        return [int(number) for number in io.read().stimulus["shown"].data[:]]


changed = []
seen = written(np.array([1, 2, -1], np.int32))
print("read back:", *seen)
errors = validate(path="textures.nwb")
print("pynwb.validate:", len(errors), "errors")
messages = sorted({message.check_function_name for message in inspect_nwbfile(nwbfile_path="textures.nwb")
                   if message.object_name == "shown" and message.importance.name != "BEST_PRACTICE_SUGGESTION"})
print("nwbinspector on the series:", *messages)
if seen != [1, 2, 2**32 - 1]:
    changed.append(f"numbers {seen}")
if errors:
    changed.append(f"errors {errors}")
if messages != ["check_timestamps_ascending"]:
    changed.append(f"messages {messages}")
fractions = written(np.array([0, 1.7]))
print("0, 1.7 in a float64 array, read back:", *fractions)
if fractions != [0, 1]:
    changed.append(f"fractions {fractions}")
if changed:
    sys.exit("CHANGED: " + "; ".join(changed))
print("As described.")
PY
