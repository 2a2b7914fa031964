"""Clocks, memory, arithmetic: what the benchmarks measure with."""

import os
import platform
import resource
import statistics
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def clock(function, device, repeats, seconds=5.0):
    """Seconds of `function()`, median of up to `repeats` runs within about `seconds`, after one
    warm-up; on a GPU by its own events."""
    function()
    runs, start = [], time.perf_counter()
    while len(runs) < repeats and (len(runs) < 3 or time.perf_counter() - start < seconds):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(device)
            begin.record()
            function()
            end.record()
            end.synchronize()
            runs.append(begin.elapsed_time(end) / 1e3)
        else:
            before = time.perf_counter()
            function()
            runs.append(time.perf_counter() - before)
    return statistics.median(runs)


def kernel_seconds(function, device):
    """Sum of the times of all kernels that one run starts on the GPU."""
    from torch.profiler import ProfilerActivity, profile

    function()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        function()
        torch.cuda.synchronize(device)
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6


def peak_bytes(function, device):
    """Most memory held while `function` runs: of the GPU by its allocator, else of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    try:
        RESET.write_text("5")  # forget the highest mark so far (Linux)
        function()
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        function()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def flops(function):
    """Multiplications and additions of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@torch.no_grad()
def convolution_peak(device, dtype):
    """FLOP/s of a 3x3 convolution of 128 channels, 64 x 64 px, batch 8, channels-last: the
    measured ceiling that shares of peak are counted from."""
    x = torch.randn(8, 128, 64, 64, device=device, dtype=dtype)
    weight = torch.randn(128, 128, 3, 3, device=device, dtype=dtype)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))

    def run():
        for _ in range(10):
            torch.nn.functional.conv2d(x, weight, padding=1)

    return 10 * 2 * 9 * 128 * 128 * 64 * 64 * 8 / clock(run, device, 20, 2.0)


@torch.no_grad()
def matrix_peak(device, dtype, size=2048):
    """FLOP/s of a product of two square matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / clock(lambda: a @ b, device, 20, 2.0)


def machine(device):
    """One line on what is measured: processor, threads, flags, versions, allocator."""
    capabilities = torch.cpu.get_capabilities()
    flags = [f for f in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(f)]
    name = capabilities.get("cpu_name", platform.processor())
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    settings = {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "OMP_", "GOMP_"))}
    return (
        f"{name}; {torch.get_num_threads()} threads; {' '.join(flags)}; torch "
        f"{torch.__version__}; {settings or 'default allocator and thread settings'}"
    )


def table(header, rows):
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def logarithmic(axis, values):
    """Both of a plot's axes in powers: `values` marked below, 1, 2 and 5 times tens at the side."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set(xscale="log", yscale="log")
    axis.set_xticks(values, values)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()
    axis.grid(alpha=0.3)
