"""In which precision convolutions run while a texture is synthesised."""

from __future__ import annotations

from typing import Literal

import torch

from stimgen.networks.extractor import FeatureExtractor

Precision = Literal["auto", "float32", "bfloat16"]


def descent_dtype(precision: Precision, extractor: FeatureExtractor) -> torch.dtype:
    """Return the dtype of the convolutions during the descent.

    Parameters
    ----------
    precision
        "auto" is bfloat16 where the device computes with it, and else the extractor's dtype.
    extractor
        The network; one in float64 stays in float64.
    """
    if precision == "float32" or extractor.dtype != torch.float32:
        return extractor.dtype
    if precision == "bfloat16" or computes_bfloat16(extractor.device):
        return torch.bfloat16
    return torch.float32


def computes_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 numbers itself, and does not emulate it slowly.

    On a CPU these are the instruction sets AVX512-BF16 and AMX-BF16, which PyTorch 2.10 and later report;
    earlier versions give False.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
