"""The display: a window of known levels, images pixel by pixel, phases in whole frames, and keys."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psychopy
import pyglet
from numpy.typing import NDArray
from PIL import Image
from psychopy import logging, visual
from psychopy.hardware import keyboard
from psychopy.visual.backends import gamma as gamma_tables

from experiments.shared.errors import EscapePressed, ExperimentError
from experiments.shared.layout import corner_px
from experiments.shared.monitor import Monitor
from experiments.shared.session import Frame

DROPPED = 1.5
"""A frame that stayed longer than this many refresh periods counts as dropped."""


class Display:
    """An open window on a calibrated monitor, with its keyboard and the frames of the present trial.

    Parameters
    ----------
    monitor
        Its calibration; the gamma ramp is set from it.
    background
        8-bit level of the background.
    windowed
        A window of the monitor's size instead of the full screen, for trying out.
    screen
        Number of the screen, from 0.
    log
        File for PsychoPy's messages.

    Raises
    ------
    ExperimentError
        If there is no such screen, it has another resolution or fewer bits than the calibration, the gamma
        ramp cannot be set, or PsychoPy's keyboard does not work.
    """

    def __init__(
        self,
        monitor: Monitor,
        background: int,
        *,
        windowed: bool = False,
        screen: int = 0,
        log: Path | None = None,
    ) -> None:
        self.monitor = monitor
        self.background = background
        logging.console.setLevel(logging.ERROR)
        if log is not None:
            logging.LogFile(str(log), level=logging.EXP, filemode="a")
        _check_screen(screen)
        try:
            self.window = visual.Window(
                size=monitor.size_px,
                bpc=monitor.bits,
                fullscr=not windowed,
                screen=screen,
                units="pix",
                color=[background] * 3,
                colorSpace="rgb255",
                allowGUI=False,
                waitBlanking=True,
                checkTiming=False,
            )
        except RuntimeError as error:
            raise ExperimentError(
                f"The display gives no window with {monitor.bits} bits per colour: {error}",
                "Set the graphics driver and the display to it, or write bits: 8 in the calibration.",
            ) from error
        self.window.mouseVisible = False
        try:
            self._check_size()
            self._set_gamma()
            # The other backends of this class lose keys: "event" does not find them by name.
            self.keys = keyboard.Keyboard(backend="ptb")
            if self.keys.getBackend() != "ptb":
                raise ExperimentError("PsychoPy's keyboard does not work.", "Install psychtoolbox with pip.")
        except BaseException:
            self.window.close()
            raise
        self.fixation = visual.Circle(
            self.window,
            radius=0.08 * monitor.ppd,
            units="pix",
            fillColor=[0] * 3,
            lineColor=None,
            colorSpace="rgb255",
        )
        self.dropped_after_s = DROPPED / monitor.refresh_hz
        self._flips: list[tuple[str, float]] = []
        self._answer: tuple[str, float] | None = None
        self._listening_since: float | None = None
        self.screenshots: dict[str, NDArray[np.uint8]] | None = None

    def _check_size(self) -> None:
        width, height = (int(side) for side in self.window.size)
        framebuffer = tuple(self.window.winHandle.get_framebuffer_size())
        if (width, height) != self.monitor.size_px or framebuffer != self.monitor.size_px:
            raise ExperimentError(
                f"The screen has {framebuffer[0]} × {framebuffer[1]} px, and the calibration of "
                f"{self.monitor.name} says {self.monitor.size_px[0]} × {self.monitor.size_px[1]} px.",
                "Set the display to the calibrated resolution, without scaling, or measure it anew.",
            )

    def _set_gamma(self) -> None:
        """Load the calibration's ramp into the graphics card and read it back."""
        if self.monitor.linear:
            return
        backend = self.window.backend
        where = {"screenID": backend.screenID, "xDisplay": backend.xDisplay}
        try:
            ramp = self.monitor.ramp(gamma_tables.getGammaRampSize(**where))
            backend.gammaRamp = ramp
            # PsychoPy skips the ramp on what it takes for a virtual machine, with no more than a warning.
            found = np.asarray(gamma_tables.getGammaRamp(**where))
        except OSError as error:
            raise ExperimentError(
                "The gamma ramp of the calibration cannot be set: the display does not let programs do it.",
                "Use a display that does, or linearise it in hardware, measure it, and write linear: true.",
            ) from error
        step = 1 / (2**self.monitor.bits - 1)
        if ramp is None or found.shape != ramp.shape or np.abs(found - ramp).max() > step:
            raise ExperimentError(
                "The gamma ramp was set, and the graphics card has another one.",
                "Turn off what else changes colours, such as night light or a colour profile, and try again.",
            )

    def measured_refresh_hz(self) -> float | None:
        """Return the refresh rate found by flipping, or None if frames are not steady."""
        rate = self.window.getActualFrameRate(nIdentical=20, nMaxFrames=240, nWarmUpFrames=20, threshold=1)
        return None if rate is None else float(rate)

    def facts(self) -> dict[str, Any]:
        """Return what a session's metadata say about this machine."""
        return {
            "versions": {
                "python": platform.python_version(),
                "psychopy": psychopy.__version__,
                "pyglet": pyglet.version,
                "numpy": np.__version__,
            },
            "platform": platform.platform(),
            "graphics": pyglet.gl.gl_info.get_renderer(),
            "window": type(self.window.backend).__name__,
            "keyboard": self.keys.getBackend(),
        }

    def image(self, pixels: NDArray[Any], centre_px: tuple[float, float] = (0, 0)) -> visual.ImageStim:
        """Return an image that is drawn pixel by pixel, with its centre as near to `centre_px` as can be.

        Parameters
        ----------
        pixels
            Shape (height, width) or (height, width, 3), row 0 at the top: 8-bit levels, or floats from 0
            (black) to 1 (white), which the window rounds to its own levels.
        centre_px
            Right and up from the centre of the window.

        Raises
        ------
        ExperimentError
            If the image reaches out of the window.
        """
        height, width = pixels.shape[:2]
        corner = corner_px(centre_px, (width, height), self.monitor.size_px)
        centre = [
            start + side / 2 - window / 2
            for start, side, window in zip(corner, (width, height), self.monitor.size_px, strict=True)
        ]
        image: Any
        if pixels.dtype == np.uint8:
            image = Image.fromarray(pixels)
        else:
            # Row 0 of floats is at the bottom. PsychoPy takes three channels as 0 to 1, but one as -1 to 1,
            # with half the precision on some graphics cards.
            image = np.flipud(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))
        return visual.ImageStim(
            self.window,
            image=image,
            units="pix",
            size=(width, height),
            pos=centre,
            interpolate=False,
        )

    def begin_trial(self) -> None:
        """Forget frames and answer of the trial before."""
        self._flips = []
        self._answer = None
        self._listening_since = None

    def show(
        self,
        phase: str,
        stimuli: Sequence[Any],
        frames: int,
        *,
        keys: Sequence[str] = (),
        until_answer: bool = False,
        press: tuple[str, int] | None = None,
    ) -> float:
        """Show stimuli for a number of frames; return the time of the first.

        Parameters
        ----------
        phase
            Its name in the record of frames.
        keys
            The keys that answer, from the first frame of the first phase with keys on; the first key counts.
        until_answer
            Whether the phase ends early, after at least one frame, when there is an answer.
        press
            A key and the number of the frame after which a simulated observer presses it.

        Raises
        ------
        EscapePressed
            If the escape key is pressed.
        """
        onset = None
        for frame in range(1, frames + 1):
            for stimulus in stimuli:
                stimulus.draw()
            if frame == 1 and self.screenshots is not None:
                shot = self.window.getMovieFrame(buffer="back").convert("RGB")
                self.screenshots[phase] = np.asarray(shot)
            flipped = float(self.window.flip())
            self._flips.append((phase, flipped))
            onset = flipped if onset is None else onset
            if keys and self._listening_since is None:
                self._listening_since = flipped
            if press is not None and press[1] == frame:
                self.keys.device.muteOutsidePsychopy = False  # the window may be behind another one
                self.keys.device.makeResponse(code=press[0], tDown=logging.defaultClock.getTime())
            self._poll(keys)
            if until_answer and self._answer is not None:
                break
        assert onset is not None, "a phase has at least one frame"
        return onset

    def _poll(self, keys: Sequence[str]) -> None:
        # Two calls: a key that went down and up since the last frame is found by the second alone.
        pressed = [*self.keys.getKeys(waitRelease=False), *self.keys.getKeys(waitRelease=True)]
        for press in sorted(pressed, key=lambda key: key.tDown):
            if press.name == "escape":
                raise EscapePressed
            early = self._listening_since is None or press.tDown < self._listening_since
            if self._answer is None and press.name in keys and not early:
                self._answer = (str(press.name), float(press.tDown))

    def answer(self) -> tuple[str, float] | None:
        """Return the key of the answer and its time, on the clock of `show`."""
        return self._answer

    def wait_for(self, text: str, key: str, *, press: bool = False) -> None:
        """Show a text until a key is pressed; a simulated observer presses it at once."""
        self.begin_trial()
        message = visual.TextStim(
            self.window,
            text=text,
            height=0.5 * self.monitor.ppd,
            wrapWidth=0.8 * self.monitor.size_px[0],
            color=[0] * 3,
            colorSpace="rgb255",
        )
        while self._answer is None:
            self.show("text", [message], 1, keys=[key], press=(key, 1) if press else None)

    def frames(self) -> list[Frame]:
        """Return the frames of the trial but the last, which stays until the next trial begins."""
        times = [time for _, time in self._flips]
        return [
            Frame(phase, after - before, after - before > self.dropped_after_s)
            for (phase, before), after in zip(self._flips, times[1:], strict=False)
        ]

    def close(self) -> None:
        """Close the window; PsychoPy puts back the gamma ramp that was there before."""
        logging.flush()
        self.window.close()


def _check_screen(screen: int) -> None:
    """Raise if there is no such screen: PsychoPy would take the first without a word."""
    count = len(pyglet.canvas.get_display().get_screens())
    if sys.platform.startswith("linux"):  # screens may also be those of the X server, one display each
        with contextlib.suppress(pyglet.canvas.xlib.NoSuchDisplayException):
            pyglet.canvas.Display(x_screen=screen)
            return
    if not 0 <= screen < count:
        raise ExperimentError(
            f"There is no screen {screen}: the number of screens is {count}, and the first is 0.",
            "Connect the screen, or name another one with --screen.",
        )
