"""All statistics of an image from its PNG file alone, in plain float64 NumPy, for the tests.

Nothing here comes from stimgen: each column follows its entry in the data dictionary, in the plainest way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from oracle_gram import gram

REC709 = np.array([0.2126, 0.7152, 0.0722])
ORIENTATIONS = (0, 45, 90, 135)
PARTS_PX = (32, 64, 128)
OCTAVES_CPI = (4, 8, 16, 32, 64, 128, 256, 512)
CHANNELS = ("red", "green", "blue")


@dataclass
class Picture:
    """An image file, read without stimgen."""

    pixels: np.ndarray
    luminance: np.ndarray
    white: int

    @classmethod
    def read(cls, path: Path) -> Picture:
        """Return the file's values divided by 255, or 65535 if they have 16 bits."""
        samples = imagecodecs.png_decode(path.read_bytes())
        white = np.iinfo(samples.dtype).max
        pixels = samples.astype(np.float64) / white
        return cls(pixels, pixels @ REC709 if pixels.ndim == 3 else pixels, white)


def oracle(file, source, side_deg, network, scrambled):
    """Return column to value of a PNG file.

    Parameters
    ----------
    file, source
        Paths of PNG files.
    side_deg
        Shorter side of the image in degrees, or None.
    network
        Name of a layer to its kernel (out, in, 3, 3) and bias, or to None for a pool, in their order; "input"
        to the factor and the offset of the input.
    scrambled
        Phase-scrambled versions of the source, arrays.
    """
    image, goal = Picture.read(file), Picture.read(source)
    return {
        **pixel_statistics(image.luminance),
        **weibull(image.luminance),
        **contrast_energy(image.luminance, side_deg),
        **colour(image.pixels),
        **of_the_spectrum(image.luminance, side_deg, image.white),
        "chance_correlation_sd": chance_correlation(image.luminance),
        "border_contrast": border_contrast(image.luminance),
        **distances(image, goal),
        **copying(image.luminance, goal.luminance),
        **gram(image.pixels, goal.pixels, network, scrambled),
    }


def pixel_statistics(x):
    """Return luminance_*, rms_contrast, michelson_contrast and entropy."""
    mean, low, high = x.sum() / x.size, x.min(), x.max()
    m2, m3, m4 = (((x - mean) ** k).sum() / x.size for k in (2, 3, 4))
    flat = low == high
    shares = np.bincount(np.rint(255 * x).astype(int).ravel()) / x.size
    return {
        "luminance_mean": mean,
        "luminance_sd": 0 if flat else math.sqrt(m2),
        "rms_contrast": None if high == 0 else 0 if flat else math.sqrt(m2) / mean,
        "luminance_skewness": None if flat else m3 / m2**1.5,
        "luminance_kurtosis": None if flat else m4 / m2**2,
        "luminance_min": low,
        "luminance_max": high,
        "michelson_contrast": (high - low) / (high + low) if high else None,
        "entropy": -sum(p * math.log2(p) for p in shares if p),
    }


def shifted(x, down, right):
    """Return x(row + down, column + right), borders prolonged."""
    rows = np.clip(np.arange(x.shape[0]) + down, 0, x.shape[0] - 1)
    columns = np.clip(np.arange(x.shape[1]) + right, 0, x.shape[1] - 1)
    return x[np.ix_(rows, columns)]


def along(x, weights, axis):
    """Return the sum of weights[k] times x shifted by k pixels along an axis."""
    return sum(w * (shifted(x, k, 0) if axis == 0 else shifted(x, 0, k)) for k, w in weights.items())


def weibull(x):
    """Return the scale and shape of the most likely Weibull distribution of the gradient, by bisection."""
    gauss = {k: math.exp(-(k**2) / 2) for k in range(-4, 5)}
    total = sum(gauss.values())
    smooth = {k: w / total for k, w in gauss.items()}
    slope = {k: k * w / total for k, w in gauss.items()}
    gradient = np.hypot(along(along(x, smooth, 0), slope, 1), along(along(x, smooth, 1), slope, 0))
    values = gradient[gradient > 1e-10]
    if values.size < 2 or values.min() == values.max():
        return {"weibull_beta": None, "weibull_gamma": None}
    logs = np.log(values / values.max())
    low, high = 1e-3, 1e4
    while high - low > 1e-12 * high:
        gamma = (low + high) / 2
        powers = np.exp(gamma * logs)
        excess = (powers * logs).sum() / powers.sum() - logs.mean() - 1 / gamma
        low, high = (low, gamma) if excess > 0 else (gamma, high)
    return {
        "weibull_beta": values.max() * np.exp(gamma * logs).mean() ** (1 / gamma),
        "weibull_gamma": gamma,
    }


def contrast_energy(x, side_deg):
    """Return contrast energy and spatial coherence."""
    if side_deg is None:
        return {"contrast_energy": None, "spatial_coherence": None}
    thresholds = [2.98873239e-2, 6.13561269e-3, 1.59229199e-3, 4.63650433e-4, 1.31772218e-4, 3.64672775e-5]

    def local(sigmas):
        contrast = np.zeros(x.shape)
        for sigma in sigmas:
            places = np.arange(-3 * sigma, 3 * sigma + 1)
            second = (places**2 / sigma**4 - 1 / sigma**2) * np.exp(-(places**2) / (2 * sigma**2))
            second = second - second.mean()
            second = second / np.sum(places**2 * second / 2)
            kernel = dict(zip(places, second, strict=True))
            e = np.sqrt(along(x, kernel, 0) ** 2 + along(x, kernel, 1) ** 2)
            e[e <= 1e-10] = 0
            count = 3 * sigma
            gauss = np.exp(-((np.arange(count) - (count - 1) / 2) ** 2) / (2 * sigma**2))
            gauss = dict(zip(np.arange(count) - (count - 1) // 2, gauss / gauss.sum(), strict=True))
            mean, square = (along(along(plane, gauss, 0), gauss, 1) for plane in (e, e**2))
            with np.errstate(invalid="ignore", divide="ignore"):
                variation = np.sqrt(np.maximum(square - mean**2, 0)) / mean
                response = e * e.max() / (e + e.max() * variation)
            response = response - np.interp(sigma, [1, 2, 4, 8, 16, 32], thresholds)
            contrast[response > 1e-7] = response[response > 1e-7]
        return contrast

    height, width = x.shape
    rows, columns = np.mgrid[:height, :width]
    degrees = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2) * side_deg / min(height, width)
    near, wide = local([24, 12, 6, 3])[degrees < 1.5], local([32, 16, 8, 4])[degrees < 5]
    varies = wide.size > 1 and wide.min() < wide.max()
    return {
        "contrast_energy": near.mean() if near.size else None,
        "spatial_coherence": wide.mean() / wide.std(ddof=1) if varies else None,
    }


def colour(pixels):
    """Return statistics of the channels, and the contrast in CIELAB."""
    names = [f"{channel}_{what}" for what in ("mean", "sd") for channel in CHANNELS]
    pairs = {"red_green": (0, 1), "red_blue": (0, 2), "green_blue": (1, 2)}
    names += [f"{pair}_correlation" for pair in pairs] + [f"cielab_{axis}_sd" for axis in "lab"]
    if pixels.ndim == 2:
        return dict.fromkeys(names)
    planes = [pixels[..., channel] for channel in range(3)]
    varies = [plane.min() < plane.max() for plane in planes]
    found = [plane.mean() for plane in planes] + [plane.std() for plane in planes]
    for first, second in pairs.values():
        a, b = (planes[k] - planes[k].mean() for k in (first, second))
        defined = varies[first] and varies[second]
        found.append((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()) if defined else None)
    # x and y of the primaries and of white in ITU-R BT.709; Y of white is 1.
    x = np.array([0.64, 0.30, 0.15, 0.3127])
    y = np.array([0.33, 0.60, 0.06, 0.3290])
    chromaticities = np.array([x / y, np.ones(4), (1 - x - y) / y])
    white = chromaticities[:, 3]
    matrix = chromaticities[:, :3] * np.linalg.solve(chromaticities[:, :3], white)
    t = pixels @ matrix.T / white
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * 841 / 108 + 4 / 29)
    lab = (116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2]))
    return dict(zip(names, [*found, *(plane.std() for plane in lab)], strict=True))


def frequencies(shape):
    """Return cycles per pixel downwards and rightwards, of each frequency of a transform."""
    down, right = (
        np.array([(k if 2 * k < side else k - side) / side for k in range(side)]) for side in shape
    )
    return np.meshgrid(down, right, indexing="ij")


def rings(shape):
    """Return the whole number of cycles per shorter side of each frequency; a half goes to the even one."""
    down, right = frequencies(shape)
    radius = np.hypot(down, right) * min(shape)
    return np.rint(np.where(np.abs(2 * radius - np.rint(2 * radius)) < 1e-9, np.rint(2 * radius) / 2, radius))


def of_the_spectrum(x, side_deg, white):
    """Return slope, octaves, orientations and the like, from the windowed spectrum."""
    height, width = x.shape
    shorter = min(x.shape)
    laplacian = sum(shifted(x, *step) for step in ((0, 1), (0, -1), (1, 0), (-1, 0))) - 4 * x
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / (side - 1)) for side in x.shape]
    window = np.outer(*hann)
    window[[0, -1]] = window[:, [0, -1]] = 0
    down, right = frequencies(x.shape)
    power = np.abs(np.fft.fft2(laplacian * window)) ** 2 / x.size**2
    power[power <= 1e-24 * (x**2).mean()] = 0
    response = 4 * np.sin(np.pi * down) ** 2 + 4 * np.sin(np.pi * right) ** 2
    response[0, 0], power[0, 0] = 1, 0
    power = power / response**2 / (window**2).mean()
    radius, ring = np.hypot(down, right), rings(x.shape)
    radius[0, 0] = 1

    points = {}
    for k in range(1, shorter // 2 + 1):
        inside = (ring == k) & (power > 0)
        if inside.any():
            points[k] = [np.log10(values[inside]).mean() for values in (radius * shorter, np.sqrt(power))]
    rounding = math.sqrt(10 / 12) / white / math.sqrt(x.size)
    hidden = [k for k, (_, amplitude) in points.items() if amplitude < math.log10(rounding)]
    end = min([shorter / 4, *(k - 1 for k in hidden)])
    fitted = [k for k in range(3, shorter // 2) if k <= end]
    slope = r_squared = None
    if len(fitted) >= 3 and all(k in points for k in fitted):
        a, b = np.array([points[k] for k in fitted]).T
        slope, offset = np.polyfit(a, b, 1)
        r_squared = 1 - ((b - slope * a - offset) ** 2).sum() / ((b - b.mean()) ** 2).sum()
        slope = -slope

    total = power.sum()
    octaves = {}
    for centre in OCTAVES_CPI:
        distance = np.log2(radius * shorter / centre)
        gain = np.where(np.abs(distance) < 1, 0.5 + 0.5 * np.cos(np.pi * distance), 0)
        defined = 4 * centre <= shorter and x.max() > 0
        octaves[f"octave_contrast_{centre}"] = (
            math.sqrt((power * gain**2).sum()) / x.mean() if defined else None
        )

    counted = (radius * shorter > 2 - 1e-9) & (radius <= 0.5 + 1e-12)
    energy, vertical, horizontal = (power * radius**2)[counted], down[counted], right[counted]
    if power[counted].sum() <= 1e-4 * x.var():
        vertical = np.array([(x[-1].mean() - x[0].mean()) / height])
        horizontal = np.array([(x[:, -1].mean() - x[:, 0].mean()) / width])
        energy = vertical**2 + horizontal**2
    bars = np.degrees(np.arctan2(-vertical, horizontal)) + 90
    oriented = energy.sum() > 0 and x.min() < x.max()
    shares = {
        f"orientation_{centre}": energy[np.abs((bars - centre + 90) % 180 - 90) < 22.5].sum() / energy.sum()
        if oriented
        else None
        for centre in ORIENTATIONS
    }
    resultant = (energy * np.exp(2j * np.radians(bars))).sum() / energy.sum() if oriented else None
    centroid = (power * radius).sum() / total * shorter if total else None

    def per_degree(cycles):
        return None if cycles is None or side_deg is None else cycles / side_deg

    return {
        **octaves,
        "spectral_slope": slope,
        "spectral_slope_r2": r_squared,
        "spectral_slope_low_cpi": 3,
        "spectral_slope_high_cpi": end,
        "spectral_slope_low_cpd": per_degree(3),
        "spectral_slope_high_cpd": per_degree(end),
        "frequency_centroid_cpi": centroid,
        "frequency_centroid_cpd": per_degree(centroid),
        **shares,
        "high_frequency_share": power[radius > 0.25 + 1e-12].sum() / total if total else None,
        "preferred_orientation": np.degrees(np.angle(resultant)) / 2 % 180 if oriented else None,
        "orientation_variance": 1 - abs(resultant) if oriented else None,
    }


def amplitudes(x):
    """Return the amplitudes of a plane's transform without frequency zero; its rounding is 0."""
    found = np.abs(np.fft.fft2(x)) / x.size
    found[found**2 <= 1e-24 * (x**2).mean()] = 0
    found[0, 0] = 0
    return found


def border_contrast(x):
    """Return the SD of the outermost pixels over that of the middle, a sixth of the shorter side inside."""
    width = max(min(x.shape) // 6, 1)
    rows, columns = np.indices(x.shape)
    inside = np.minimum(rows, x.shape[0] - 1 - rows), np.minimum(columns, x.shape[1] - 1 - columns)
    depth = np.minimum(*inside)
    middle = x[depth >= width]
    return np.std(x[depth == 0]) / np.std(middle) if middle.size and np.ptp(middle) else None


def chance_correlation(x):
    """Return the SD of the correlation of images with random phases and the powers of x."""
    power = amplitudes(x) ** 2
    return math.sqrt((power**2).sum()) / power.sum() if power.any() else None


def distances(image, source):
    """Return the distances of histograms and spectra; None between images of two shapes."""
    names = ("histogram_w1", "amplitude_error", "radial_error_db", "amplitude_error_rgb")
    if image.luminance.shape != source.luminance.shape:
        return dict.fromkeys(names)
    x, s = amplitudes(image.luminance), amplitudes(source.luminance)
    ring = rings(x.shape)
    pairs = [[(values[ring == k] ** 2).mean() for values in (x, s)] for k in range(1, min(x.shape) // 2 + 1)]
    decibels = [10 * math.log10(a / b) for a, b in pairs] if np.all(pairs) else None
    pooled = None
    if image.pixels.ndim == source.pixels.ndim == 3:
        planes = [[amplitudes(pixels[..., c]) for c in range(3)] for pixels in (image.pixels, source.pixels)]
        own, goal = np.array(planes)
        pooled = math.sqrt(((own - goal) ** 2).sum() / (goal**2).sum()) if goal.any() else None
    values = [np.sort(picture.luminance.ravel()) for picture in (image, source)]
    return {
        "histogram_w1": np.abs(values[0] - values[1]).mean(),
        "amplitude_error": math.sqrt(((x - s) ** 2).sum() / (s**2).sum()) if s.any() else None,
        "radial_error_db": math.sqrt(np.mean(np.square(decibels))) if decibels else None,
        "amplitude_error_rgb": pooled,
    }


def copying(x, source):
    """Return the highest correlations of tiles with windows of the source, and whether a part is copied."""
    found, telling = {}, []
    for side in PARTS_PX:
        own, baseline = highest(x, source, side, apart=False), highest(source, source, side, apart=True)
        if min(source.shape) < side:
            own = baseline = None
        found |= {f"copying_{side}": own, f"copying_baseline_{side}": baseline}
        if own is not None and baseline is not None and baseline <= 0.99:
            telling.append((own - baseline) / (1 - baseline) > 0.9)
    return found | {"copied": any(telling) if telling else None}


def highest(x, source, side, apart):
    """Return the highest absolute correlation of the tiles of x with windows; None if there is none."""
    if side > min(source.shape) or side > min(x.shape):
        return None
    windows = np.lib.stride_tricks.sliding_window_view(source, (side, side))
    places = np.stack(np.mgrid[: windows.shape[0], : windows.shape[1]], axis=-1).reshape(-1, 2)
    windows = windows.reshape(len(places), -1)
    windows = windows - windows.mean(axis=1, keepdims=True)
    squares = (windows**2).sum(axis=1)
    usable = squares > 1e-10 * (source**2).sum()
    best = []
    for top in range(x.shape[0] % side // 2, x.shape[0] - side + 1, side):
        for left in range(x.shape[1] % side // 2, x.shape[1] - side + 1, side):
            tile = x[top : top + side, left : left + side].ravel()
            tile = tile - tile.mean()
            compared = usable.copy()
            if apart:
                compared &= (np.abs(places - [top, left]) >= side).any(axis=1)
            if (tile**2).sum() > 1e-10 * (x**2).sum() and compared.any():
                norms = np.sqrt(squares[compared] * (tile**2).sum())
                best.append(np.abs(windows[compared] @ tile / norms).max())
    return max(best) if best else None
