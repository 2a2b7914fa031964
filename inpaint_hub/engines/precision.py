"""What dtype networks compute in, fastest, where their weights are fp32."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 convolutions are quicker than fp32 ones there: AMX or AVX512-BF16 on a CPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def has_avx512() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_f", False))


def best_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in where the weights have `dtype`; never wider than theirs.

    On a GPU without bf16 (before Ampere) it is fp16.
    """
    if dtype != torch.float32:
        return dtype
    if has_fast_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32
