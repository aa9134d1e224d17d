"""A sheet as SVG: text as text, stimuli as the PNG files that they are."""

from __future__ import annotations

import base64
import re
from xml.etree.ElementTree import Element, SubElement, tostring

from stimgen.report.sheet import Sheet
from stimgen.report.shown import FRAME_GREY

_FRAME_PT = 0.5
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file can hold, and names in YAML can."""
_NAMESPACES = {
    "xmlns": "http://www.w3.org/2000/svg",
    "xmlns:xlink": "http://www.w3.org/1999/xlink",
    "xmlns:rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmlns:dc": "http://purl.org/dc/elements/1.1/",
}


def encode_svg(sheet: Sheet) -> bytes:
    """Return an SVG file, the same bytes for the same sheet.

    Its user unit is the point. Stimuli are embedded as PNG, byte for byte the files of the run unless they
    were resized. The font is named, not embedded.
    """
    size = {"width": f"{sheet.width_mm:.10g}mm", "height": f"{sheet.height_mm:.10g}mm"}
    box = f"0 0 {_number(sheet.width_pt)} {_number(sheet.height_pt)}"
    svg = Element("svg", _NAMESPACES | size | {"viewBox": box, "version": "1.1"})
    SubElement(svg, "title").text = sheet.title
    _describe(svg, sheet)
    side = _number(sheet.side_pt)
    for place, (at, _) in sheet.pictures.items():
        # No image-rendering: "pixelated" would leave out pixels on a screen, and so change textures.
        image = SubElement(
            svg,
            "image",
            {
                "x": _number(at.left_pt),
                "y": _number(at.top_pt),
                "width": side,
                "height": side,
                "xlink:href": f"data:image/png;base64,{base64.b64encode(sheet.shown.files[place]).decode()}",
            },
        )
        SubElement(image, "title").text = sheet.shown.grid.cells[place].stimulus_id
    grey, inner = f"#{FRAME_GREY:02x}{FRAME_GREY:02x}{FRAME_GREY:02x}", _number(sheet.side_pt - _FRAME_PT)
    for at in sheet.frames:
        x, y = _number(at.left_pt + _FRAME_PT / 2), _number(at.top_pt + _FRAME_PT / 2)
        stroke = {"fill": "none", "stroke": grey, "stroke-width": _number(_FRAME_PT)}
        SubElement(svg, "rect", {"x": x, "y": y, "width": inner, "height": inner} | stroke)
    family = f"'{sheet.shown.typeface.family}', Arial, Helvetica, sans-serif"
    texts = SubElement(svg, "g", {"font-family": family, "font-size": _number(sheet.font_pt)})
    for line in sheet.lines:
        at_line = {"x": _number(line.x_pt), "y": _number(line.baseline_pt), "text-anchor": line.anchor}
        SubElement(texts, "text", at_line).text = line.text
    for element in svg.iter():
        element.text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", element.text) if element.text else None
    content: bytes = tostring(svg, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _describe(svg: Element, sheet: Sheet) -> None:
    rdf = SubElement(SubElement(svg, "metadata"), "rdf:RDF")
    description = SubElement(rdf, "rdf:Description", {"rdf:about": ""})
    for name, text in (
        ("title", sheet.title),
        ("creator", sheet.text["Software"]),
        ("format", "image/svg+xml"),
        ("description", sheet.description),
    ):
        SubElement(description, f"dc:{name}").text = text


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
