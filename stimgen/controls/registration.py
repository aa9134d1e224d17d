"""The registry of controls, and how a control's keyword-only arguments become its manifest options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from stimgen.errors import StimgenError
from stimgen.images.pixels import Image
from stimgen.references import Reference
from stimgen.registry import Registry

if TYPE_CHECKING:
    from stimgen.images.masks import Inside
    from stimgen.images.sources import Photograph, Source
    from stimgen.matching.apply import Reference as MatchedTo
    from stimgen.texture.presets import Gatys2015, Multiscale
    from stimgen.texture.problem import Synthesis
    from stimgen.texture.surfaces import Surface


@dataclass(frozen=True)
class TextureSpec:
    """The layer set that a control refers to, and its synthesis; `components` None matches all channels.

    Textures are confined to images of the `surface`.
    """

    network: str
    pooling: Literal["average", "max"]
    padding: Literal["zeros", "mirrored"]
    layer_weights: Mapping[str, float]
    components: int | None
    preset: Multiscale | Gatys2015
    surface: Surface | None = None


@dataclass(frozen=True, eq=False)
class Materials:
    """What a control may use beside its source's pixels and a random generator.

    PyTorch computes on `device`, such as "cpu" or "cuda:0". `photograph` reads the image that the source was
    cut from. `the_set` is the mean of all sources of the manifest, for controls registered with ``uses_set``,
    and `texture` the layer set that the control's option `layer_set` names. `inside` is the source's mask,
    (H, W), outside of which its pixels have the mean of those inside; None without one. `after_evaluation`
    is to be called after each evaluation of a synthesis with a `stimgen.texture.problem.Evaluation`.
    """

    device: str
    photograph: Callable[[], Photograph]
    the_set: MatchedTo | None = None
    texture: TextureSpec | None = None
    inside: Inside | None = None
    after_evaluation: Callable[[Any], None] = lambda evaluation: None


@dataclass(frozen=True, eq=False)
class ImageWithResiduals:
    """The image of a control, float32 and the shape of the source, and what it does not keep exactly.

    `residuals` say how far the image is from each statistic that it should share with the source, measured: 0
    is exact. Those named "spectrum", "histogram" and "gram" are columns of stimuli.csv. A control that is
    synthesised returns how in `synthesis`, and in `weights_sha256` the identity of the network's weights,
    where that is not the network that measures the image.
    """

    image: Image
    residuals: Mapping[str, float] = field(default_factory=dict)
    synthesis: Synthesis | None = None
    weights_sha256: str | None = None


ControlFunction = Callable[..., Image | ImageWithResiduals]
Function = TypeVar("Function", bound=ControlFunction)


@dataclass(frozen=True)
class Control:
    """A control as the manifest and the runner see it; attributes as in `register_control`."""

    name: str
    function: ControlFunction
    seeded: bool
    options: type[BaseModel]  # ``options().model_dump()`` are the defaults
    uses_set: bool = False
    is_source: bool = False
    of_mask: Literal["inside", "square"] | None = None
    common: bool = False
    seconds: float = 0.0
    package: str | None = None
    check: Callable[[Mapping[str, Any], int], str | None] | None = None
    check_source: Callable[[Source], None] | None = None
    prepare: Callable[[], object] | None = None
    references: tuple[Reference, ...] = ()
    option_references: Mapping[str, tuple[Reference, ...]] = field(default_factory=dict)

    def cited(self, options: Mapping[str, Any]) -> tuple[Reference, ...]:
        """Return the publications to cite for an image that was made with some options."""
        on = [name for name, value in options.items() if value is True]
        more = [reference for name in on for reference in self.option_references.get(name, ())]
        return (*self.references, *more)

    @property
    def summary(self) -> str:
        """What an image of the control is: the first sentence of its docstring, without "Return"."""
        first = (inspect.getdoc(self.function) or "").partition("\n\n")[0]
        return " ".join(first.split()).removeprefix("Return ").removesuffix(".")

    def make(
        self, source: Image, rng: np.random.Generator, materials: Materials, options: Mapping[str, Any]
    ) -> ImageWithResiduals:
        """Return the control's image of a source, with its residuals, if it has any."""
        # All stimuli of the source are made of these pixels.
        pixels = source.view()
        pixels.flags.writeable = False
        extra = (materials,) if "materials" in inspect.signature(self.function).parameters else ()
        made = self.function(pixels, rng, *extra, **options)
        returned = made if isinstance(made, ImageWithResiduals) else ImageWithResiduals(made)
        image = returned.image
        kind, shape = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
        if shape != source.shape or getattr(kind, "kind", "") != "f":
            raise StimgenError(
                f'The control "{self.name}" returned an object of the type {kind} and the shape {shape}, not '
                f"a float32 image of the shape {source.shape}.",
                "The fault is in the function that is registered under this name.",
            )
        return returned


CONTROLS: Registry[Control] = Registry("control", "stimgen.controls")


def shows_source(name: str) -> bool:
    """Tell whether a control shows the source itself. A control that is not registered does not."""
    return name in CONTROLS and CONTROLS[name].is_source


def register_control(name: str, *, seeded: bool = True, **settings: Any) -> Callable[[Function], Function]:
    """Return a decorator that makes a function the control `name`.

    The function takes the source image (values 0..1, not to be written to) and a random generator, both
    positional, after them `materials` if it needs more than these, and its options as keyword-only arguments
    with type hints and defaults. It returns a float32 image of the same shape, or `ImageWithResiduals` if it
    cannot keep its statistics exactly. The option names, types, defaults and, with ``Annotated[float,
    Field(ge=0, description="...")]``, limits and descriptions are what the manifest accepts, so their types
    must be importable at run time. An option `layer_set` names one of the manifest's layer sets, which the
    function finds in ``materials.texture``.

    Parameters
    ----------
    name
        What the manifest calls the control.
    seeded
        Whether the image depends on the generator. Say ``seeded=False`` of a control without randomness:
        there is one exemplar per source then, and otherwise one per seed, all with the same bytes.
    uses_set
        Whether the image depends on the other sources of the manifest, ``materials.the_set``.
    is_source
        Whether the image is the source itself.
    of_mask
        Where the image of a source with a mask is: "inside" the mask as the source is, with its mean around;
        or in the whole "square", made of what is inside (`Materials.inside`). By default the control needs
        whole sources, and check refuses masks.
    common
        Whether `stimgen new` puts it into the manifests that it writes.
    seconds
        How long a grey image of 256 px takes on one core, if that is long: for estimates.
    package
        An optional package that it needs.
    check
        Takes the options and the side of the stimuli in px, and returns what is wrong with them and what to
        do, in full sentences, or None. It is called when a manifest is loaded.
    check_source
        Raises InputError for a source that no image can be made of. It is called before any work starts.
    prepare
        Raises StimgenError if something that the control needs is not installed; likewise.
    references
        Publications that a paper cites for the control.
    option_references
        Publications that it cites as well if an option is on, by the name of the option.

    Raises
    ------
    TypeError
        If the function's signature is not of this form.

    Examples
    --------
    >>> import numpy as np
    >>> def upside_down(source: Image, rng: np.random.Generator, *, mirror: bool = False) -> Image:
    ...     turned = source[::-1]
    ...     return turned[:, ::-1] if mirror else turned
    >>> options_model("upside_down", upside_down)(mirror=True)
    upside_down_options(mirror=True)
    """

    def decorate(function: Function) -> Function:
        CONTROLS.add(name, Control(name, function, seeded, options_model(name, function), **settings))
        return function

    return decorate


def options_model(name: str, function: ControlFunction) -> type[BaseModel]:
    """Return a frozen pydantic model of the keyword-only arguments of `function`; other keys are errors."""
    parameters = inspect.signature(function).parameters.values()
    hints = get_type_hints(function, include_extras=True)
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if positional not in (["source", "rng"], ["source", "rng", "materials"]) or any(
        option.default is option.empty or option.name not in hints for option in options
    ):
        raise TypeError(
            f"control {name!r} must have the signature (source, rng, *, option: type = default, ...) "
            f"or (source, rng, materials, *, ...); it has {inspect.signature(function)}"
        )
    fields: dict[str, Any] = {option.name: (hints[option.name], option.default) for option in options}
    config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return create_model(f"{name}_options", __config__=config, __doc__=summary, **fields)
