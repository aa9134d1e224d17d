"""The device on which PyTorch computes."""

from __future__ import annotations

import re

import torch

from stimgen.errors import InputError


def find_device(device: str) -> torch.device:
    """Return the PyTorch device of a name, and make CUDA compute exactly and repeatably.

    `device` is "auto" (the first GPU if there is one), "cpu", "cuda" or "cuda:N".
    """
    if device == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return torch.device("cpu")
    # Not by torch.device, which takes cuda:256 for cuda:0.
    form = re.fullmatch(r"cuda(?::([0-9]{1,9}))?", device)
    if form is None:
        raise InputError(f'Unknown device "{device}".', "Known: auto, cpu, cuda, cuda:0, cuda:1, ….")
    count = torch.cuda.device_count()
    index = int(form[1] or 0)
    if index >= count:
        raise InputError(
            f"There is no device {device}: PyTorch sees {count} CUDA devices.",
            "Use --device cpu, or install a PyTorch that fits the GPU's driver.",
        )
    # No TF32, and only algorithms whose results repeat.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda", index)
