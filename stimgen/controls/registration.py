"""The registry of controls, and how a control's keyword-only arguments become its manifest options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from stimgen.controls.materials import Materials
from stimgen.errors import StimgenError
from stimgen.images.pixels import Image
from stimgen.references import Reference
from stimgen.registry import Registry

if TYPE_CHECKING:
    from stimgen.images.sources import Source
    from stimgen.texture.problem import Synthesis


@dataclass(frozen=True, eq=False)
class ImageWithResiduals:
    """The image of a control that cannot keep all its statistics exactly.

    Attributes
    ----------
    image
        float32, the shape of the source.
    residuals
        How far the image is from each statistic that it should share with the source, measured: 0 is
        exact. Those named "spectrum", "histogram" and "gram" are columns of stimuli.csv.
    synthesis
        How it was synthesised, for a control that is; it goes into the record as that of a texture.
    weights_sha256
        Identity of the weights of the network that made it, where that is not the one that measures it.
    """

    image: Image
    residuals: Mapping[str, float] = field(default_factory=dict)
    synthesis: Synthesis | None = None
    weights_sha256: str | None = None


ControlFunction = Callable[..., Image | ImageWithResiduals]
OptionsCheck = Callable[[Mapping[str, Any], int], str | None]
SourceCheck = Callable[["Source"], None]
Function = TypeVar("Function", bound=ControlFunction)


def register_control(
    name: str,
    *,
    seeded: bool = True,
    is_source: bool = False,
    uses_set: bool = False,
    check: OptionsCheck | None = None,
    check_source: SourceCheck | None = None,
    prepare: Callable[[], object] | None = None,
    references: tuple[Reference, ...] = (),
    option_references: Mapping[str, tuple[Reference, ...]] | None = None,
) -> Callable[[Function], Function]:
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
        Whether the image depends on the generator. Without it there is one exemplar per source.
    is_source
        Whether the image is the source itself.
    uses_set
        Whether the image depends on the other sources of the manifest, ``materials.the_set``.
    check
        Takes the options and the side of the stimuli in px, and returns what is wrong with them, in a
        sentence with its cure, or None. It is asked when a manifest is loaded.
    check_source
        Raises InputError for a source that no image can be made of. It is asked before any work starts.
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
        options = options_model(name, function)
        entry = Control(
            name,
            function,
            seeded,
            options,
            uses_set,
            check,
            check_source,
            prepare,
            references,
            option_references or {},
            is_source,
        )
        CONTROLS.add(name, entry)
        return function

    return decorate


def options_model(name: str, function: ControlFunction) -> type[BaseModel]:
    """Return a frozen pydantic model of the keyword-only arguments of `function`; other keys are errors.

    Raises
    ------
    TypeError
        If `function` is not ``(source, rng, *, option: type = default, ...)`` or the same with `materials`
        after `rng`.
    """
    form = (
        f"control {name!r} must have the signature (source, rng, *, option: type = default, ...) "
        "or (source, rng, materials, *, option: type = default, ...)"
    )
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    options = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    forms = (["source", "rng"], ["source", "rng", "materials"])
    if positional not in forms or len(parameters) != len(positional) + len(options):
        raise TypeError(f"{form}; it has {inspect.signature(function)}")
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for option in options:
        if option.default is inspect.Parameter.empty or option.name not in hints:
            raise TypeError(f"{form}; {option.name!r} lacks its type or its default")
        fields[option.name] = (hints[option.name], option.default)
    config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return create_model(f"{name}_options", __config__=config, __doc__=summary, **fields)


@dataclass(frozen=True)
class Control:
    """A control as the manifest and the runner see it.

    Attributes
    ----------
    name
        Name in the manifest.
    function
        ``function(source, rng, **options)`` or ``function(source, rng, materials, **options)`` makes the
        image. Values may leave 0..1 where the control's
        docstring says so; `stimgen.matching.range` deals with that.
    seeded
        Whether the image depends on the generator.
    options
        Model of the options, for validation; ``options().model_dump()`` are the defaults.
    uses_set
        Whether the image depends on the other sources.
    check, check_source, prepare
        What is asked before work starts; None for nothing.
    references, option_references
        Whom to cite, always and if an option is on.
    is_source
        Whether the image is the source itself.
    """

    name: str
    function: ControlFunction
    seeded: bool
    options: type[BaseModel]
    uses_set: bool = False
    check: OptionsCheck | None = None
    check_source: SourceCheck | None = None
    prepare: Callable[[], object] | None = None
    references: tuple[Reference, ...] = ()
    option_references: Mapping[str, tuple[Reference, ...]] = field(default_factory=dict)
    is_source: bool = False

    @property
    def summary(self) -> str:
        """What an image of the control is: the first sentence of its docstring, without "Return".

        Examples
        --------
        >>> CONTROLS["original"].summary
        'a copy of the source: the same pixels, which shares every statistic with it'
        """
        first = (inspect.getdoc(self.function) or "").partition("\n\n")[0]
        return " ".join(first.split()).removeprefix("Return ").removesuffix(".")

    def cited(self, options: Mapping[str, Any]) -> tuple[Reference, ...]:
        """Return whom to cite for an image that was made with some options."""
        on = [name for name, value in options.items() if value is True]
        more = [reference for name in on for reference in self.option_references.get(name, ())]
        return (*self.references, *more)

    def make(
        self, source: Image, rng: np.random.Generator, materials: Materials, options: Mapping[str, Any]
    ) -> ImageWithResiduals:
        """Return the control's image of a source, with its residuals, if it has any.

        Raises
        ------
        StimgenError
            If what the function returned is no image like the source.
        """
        # All stimuli of the source are made of these pixels.
        pixels = source.view()
        pixels.flags.writeable = False
        if "materials" in inspect.signature(self.function).parameters:
            made = self.function(pixels, rng, materials, **options)
        else:
            made = self.function(pixels, rng, **options)
        returned = made if isinstance(made, ImageWithResiduals) else ImageWithResiduals(made)
        _refuse_other_image(self.name, returned.image, source)
        return returned


def _refuse_other_image(control: str, image: object, source: Image) -> None:
    if not isinstance(image, np.ndarray):
        found = f"an object of the type {type(image).__name__}"
    elif image.shape != source.shape:
        found = f"an array of the shape {image.shape}"
    elif not np.issubdtype(image.dtype, np.floating):
        found = f"an array of the type {image.dtype}"
    else:
        return
    raise StimgenError(
        f'The control "{control}" returned {found}, not a float32 image of the shape {source.shape}.',
        "The fault is in the function that is registered under this name.",
    )


CONTROLS: Registry[Control] = Registry("control", "stimgen.controls")
