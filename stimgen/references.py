"""Publications that a report cites: in the text, in its list of references, and in BibTeX.

Publications of a network are in its module in `stimgen.networks.definitions`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A publication, with authors as in BibTeX: "Family, I. and Family, I."; a group's name is in braces.

    `kind` is the BibTeX entry type, and `note` what else helps to find it, such as an arXiv number.
    """

    key: str
    authors: str
    year: int
    title: str
    venue: str
    volume: str = ""
    pages: str = ""
    kind: str = "article"
    note: str = ""

    @property
    def cited(self) -> str:
        """The citation in the text, without brackets: "Gatys, Ecker & Bethge, 2015"."""
        names = [author.partition(",")[0] for author in self.authors.split(" and ")]
        named = _joined(names) if len(names) <= 3 else f"{names[0]} et al."
        return f"{named}, {self.year}"

    @property
    def text(self) -> str:
        """The entry in a list of references."""
        place = " ".join(part for part in (self.venue, self.volume) if part)
        where = ", ".join(part for part in (place, self.pages) if part)
        note = f" {self.note}." if self.note else ""
        authors = _joined(self.authors.replace("{", "").replace("}", "").split(" and "))
        return f"{authors} ({self.year}). {self.title}. {where}.{note}"

    @property
    def bibtex(self) -> str:
        """The entry for a BibTeX file."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            {"article": "journal", "book": "publisher"}.get(self.kind, "booktitle"): self.venue,
            "volume": self.volume,
            "pages": self.pages.replace("–", "--"),
            "year": str(self.year),
            "note": self.note,
        }
        lines = [f"  {name} = {{{_latex(value)}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def _joined(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} & {last}" if first else last


def _latex(text: str) -> str:
    return text.translate({ord("É"): r"{\'E}", ord("ö"): r"{\"o}", ord("&"): r"\&"})


GATYS_2015 = Reference(
    "gatys2015",
    "Gatys, L. A. and Ecker, A. S. and Bethge, M.",
    2015,
    "Texture synthesis using convolutional neural networks",
    "Advances in Neural Information Processing Systems",
    "28",
    kind="inproceedings",
    note="arXiv:1505.07376",
)
LIU_1989 = Reference(
    "liu1989",
    "Liu, D. C. and Nocedal, J.",
    1989,
    "On the limited memory BFGS method for large scale optimization",
    "Mathematical Programming",
    "45",
    "503–528",
)
ABSIL_2008 = Reference(
    "absil2008",
    "Absil, P.-A. and Mahony, R. and Sepulchre, R.",
    2008,
    "Optimization Algorithms on Matrix Manifolds",
    "Princeton University Press",
    kind="book",
)
BYRD_1995 = Reference(
    "byrd1995",
    "Byrd, R. H. and Lu, P. and Nocedal, J. and Zhu, C.",
    1995,
    "A limited memory algorithm for bound constrained optimization",
    "SIAM J. Sci. Comput.",
    "16",
    "1190–1208",
)
PORTILLA_2000 = Reference(
    "portilla2000",
    "Portilla, J. and Simoncelli, E. P.",
    2000,
    "A parametric texture model based on joint statistics of complex wavelet coefficients",
    "International Journal of Computer Vision",
    "40",
    "49–71",
)
DUONG_2023 = Reference(
    "duong2023",
    "Duong, L. R. and Bonnen, K. and Broderick, W. F. and Fiquet, P.-É. and Parthasarathy, N. and "
    "Yerxa, T. and Zhao, X. and Simoncelli, E. P.",
    2023,
    "Plenoptic: A platform for synthesizing model-optimized visual stimuli",
    "Journal of Vision",
    "23(9)",
    "5822",
)
OPPENHEIM_1981 = Reference(
    "oppenheim1981",
    "Oppenheim, A. V. and Lim, J. S.",
    1981,
    "The importance of phase in signals",
    "Proc. IEEE",
    "69",
    "529–541",
)
GALERNE_2011 = Reference(
    "galerne2011",
    "Galerne, B. and Gousseau, Y. and Morel, J.-M.",
    2011,
    "Random phase textures: theory and synthesis",
    "IEEE Trans. Image Processing",
    "20",
    "257–267",
)
MOISAN_2011 = Reference(
    "moisan2011",
    "Moisan, L.",
    2011,
    "Periodic plus smooth image decomposition",
    "J. Math. Imaging Vis.",
    "39",
    "161–179",
)
SCHREIBER_1996 = Reference(
    "schreiber1996",
    "Schreiber, T. and Schmitz, A.",
    1996,
    "Improved surrogate data for nonlinearity tests",
    "Phys. Rev. Lett.",
    "77",
    "635–638",
)
FIELD_1987 = Reference(
    "field1987",
    "Field, D. J.",
    1987,
    "Relations between the statistics of natural images and the response properties of cortical cells",
    "J. Opt. Soc. Am. A",
    "4",
    "2379–2394",
)
WILLENBOCKEL_2010 = Reference(
    "willenbockel2010",
    "Willenbockel, V. and Sadr, J. and Fiset, D. and Horne, G. O. and Gosselin, F. and Tanaka, J. W.",
    2010,
    "Controlling low-level image properties: the SHINE toolbox",
    "Behavior Research Methods",
    "42",
    "671–684",
)
VAN_DER_WALT_2014 = Reference(
    "vanderwalt2014",
    "van der Walt, S. and Schönberger, J. L. and Nunez-Iglesias, J. and Boulogne, F. and Warner, J. D. and "
    "Yager, N. and Gouillart, E. and Yu, T. and {the scikit-image contributors}",
    2014,
    "scikit-image: image processing in Python",
    "PeerJ",
    "2",
    "e453",
)
