"""Time to fill holes, stage by stage, on this machine: medians after a warm-up.

    python -m benchmarks.inference [--model weights/invertfill-faces-64] [--sizes 256 512 2048]
    python -m benchmarks.inference --grid [--resolutions 64 256] [--batches 1 8] [--gpu]

The first measures a saved pipeline on photos of several sizes, the second InvertFill with random
weights at every resolution and batch size, against the plain fp32 form in the same process. Run it
with nothing else running, once as it is and once with a tuned allocator:

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864
"""

import argparse
import functools
import gc
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import measuring
from benchmarks.reference_stylegan2 import ReferenceGenerator
from inpaint_hub import InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator, load_pipeline
from inpaint_hub.blending import BLENDS
from inpaint_hub.compositing import mask_out
from inpaint_hub.engines.precision import has_fast_bf16

ROOT = Path(__file__).parent.parent
STAGES = ("preprocess", "encode", "generate", "composite")
HEADER = [
    *("px", "batch", "form", *(f"{stage}, ms" for stage in STAGES), "whole, ms", "images/s"),
    *("generate vs plain", "whole vs plain", "generate GFLOP", "of convolution peak", "memory, GB"),
]


def photo_with_hole(size, seed=0):
    rng = np.random.default_rng(seed)
    photo = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
    hole = np.zeros((size, size), bool)
    hole[size // 4 : size // 2, size // 4 : 3 * size // 4] = True
    return photo, hole


def stage_seconds(pipe, photo, mask, blend):
    """{stage: seconds} of one fill."""
    marks = [time.perf_counter()]

    def mark(value):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return value

    prepared = mark(pipe.preprocess(photo, mask))
    seen = prepared.masked(slice(None))
    latent = mark(pipe.encode(*seen))
    rendered = mark(pipe.render(latent, *seen))
    mark(pipe.composite(prepared, rendered["generated"], blend=blend))
    return dict(zip(STAGES, np.diff(marks).tolist()))


def measure_photos(arguments, device):
    start = time.perf_counter()
    pipe = load_pipeline(arguments.model).to(device)
    print(
        f"loading: {(time.perf_counter() - start) * 1e3:.0f} ms; {torch.get_num_threads()} threads"
    )
    rows = []
    for engine in arguments.engines:
        pipe.optimize(None if engine == "none" else engine)
        for size in arguments.sizes:
            photo, hole = photo_with_hole(size)
            stage_seconds(pipe, photo, hole, arguments.blend)  # warm-up
            runs = [
                stage_seconds(pipe, photo, hole, arguments.blend) for _ in range(arguments.repeats)
            ]
            medians = [statistics.median(run[stage] for run in runs) * 1e3 for stage in STAGES]
            whole = statistics.median(sum(run.values()) for run in runs) * 1e3
            rows.append(
                [f"{size} x {size}", engine, *(f"{m:.1f}" for m in medians), f"{whole:.1f}"]
            )
    print(measuring.table(["photo", "engine", *STAGES, "whole, ms"], rows))


def random_pipeline(resolution, arguments):
    """InvertFill with random weights, noise included, so that no step is without effect."""
    torch.manual_seed(0)
    sizes = {"resolution": resolution, "channel_base": arguments.channel_base}
    gan = StyleGAN2Generator(**sizes)
    encoder = InvertFillEncoder(
        **sizes, backbone=arguments.backbone, backbone_width=arguments.backbone_width
    )
    for name, parameter in gan.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    for name, parameter in encoder.named_parameters():
        if "to_features" in name and name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.02)
    return InvertFillPipeline(encoder.eval(), gan.eval())


class PlainPipeline(InvertFillPipeline):
    """The same with the generator in its plain form."""

    def generate(self, latent, noise_mode="const", generator=None):
        return self.plain_synthesis(latent.ws, latent.features, latent.rgb_features, noise_mode)


def halves_of(arguments, device):
    return [torch.bfloat16] if arguments.bf16 or has_fast_bf16(device) else []


def forms_of(pipe, arguments, device):
    """[(name, pipeline, dtype that peaks are counted in)], each made ready when it is reached."""
    plain = PlainPipeline(pipe.encoder, pipe.gan)
    reference = ReferenceGenerator(**pipe.gan.config).to(device).eval()
    reference.load_state_dict(pipe.gan.state_dict())
    plain.plain_synthesis = reference.synthesis
    yield "plain fp32", plain.optimize(None), torch.float32
    yield "definition fp32", pipe.optimize(None), torch.float32
    for engine in arguments.engines:
        if engine == "none":
            continue
        for dtype in (torch.float32, *halves_of(arguments, device)):
            name = f"{engine} {'fp32' if dtype == torch.float32 else 'bf16'}"
            yield name, pipe.optimize(engine, dtype), dtype


def measure_form(pipe, photos, holes, device, repeats):
    """({stage: seconds}, picture, peak bytes) of one form at one batch size."""
    prepared = pipe.preprocess(photos, holes)
    masked = mask_out(prepared.image, prepared.mask)
    latent = pipe.encode(masked, prepared.mask)
    generated = pipe.generate(latent)
    calls = {
        "preprocess": lambda: pipe.preprocess(photos, holes),
        "encode": lambda: pipe.encode(masked, prepared.mask),
        "generate": lambda: pipe.generate(latent),
        "composite": lambda: pipe.composite(prepared, generated),
    }
    seconds = {stage: measuring.clock(call, device, repeats) for stage, call in calls.items()}

    def networks():
        pipe.generate(pipe.encode(masked, prepared.mask))

    memory = measuring.peak_bytes(networks, device)
    if device.type == "cuda":
        seconds["kernels"] = measuring.kernel_seconds(networks, device)
    return seconds, generated.float(), memory


def psnr(result, expected):
    """Of pictures clipped to [-1,1], in dB."""
    error = (result.clamp(-1, 1) - expected.clamp(-1, 1)).square().mean().item()
    return 10 * np.log10(4 / error) if error else float("inf")


def measure_grid(arguments, device):
    print(measuring.machine(device))
    peaks = {}
    for dtype in (torch.float32, *halves_of(arguments, device)):
        peaks[dtype] = measuring.convolution_peak(device, dtype)
        print(
            f"measured peaks, {dtype}: convolution {peaks[dtype] / 1e9:.0f} GFLOP/s, matrix "
            f"product {measuring.matrix_peak(device, dtype) / 1e9:.0f} GFLOP/s"
        )
    header = HEADER + ["PSNR to plain, dB"] + ["latency / kernels"] * (device.type == "cuda")
    print(measuring.table(header, []))
    results = []
    for resolution in arguments.resolutions:
        pipe = random_pipeline(resolution, arguments).to(device)
        ws = torch.zeros(1, pipe.gan.num_ws, pipe.gan.w_dim, device=device)
        work = measuring.flops(functools.partial(pipe.gan.synthesis, ws))
        plain = {}
        for name, form, dtype in forms_of(pipe, arguments, device):
            for batch in arguments.batches:
                photos, holes = zip(*(photo_with_hole(resolution, i) for i in range(batch)))
                seconds, picture, memory = measure_form(
                    form, list(photos), list(holes), device, arguments.repeats
                )
                kernels = seconds.pop("kernels", None)
                whole = sum(seconds.values())
                if batch not in plain:
                    plain[batch] = seconds["generate"], whole, picture
                row = [resolution, batch, name, *(f"{s * 1e3:.1f}" for s in seconds.values())]
                row += [f"{whole * 1e3:.1f}", f"{batch / whole:.2f}"]
                row.append(f"{plain[batch][0] / seconds['generate']:.2f}")
                row.append(f"{plain[batch][1] / whole:.2f}")
                row.append(f"{work * batch / 1e9:.1f}")
                row.append(f"{work * batch / seconds['generate'] / peaks[dtype]:.0%}")
                row += [f"{memory / 1e9:.2f}", f"{psnr(picture, plain[batch][2]):.1f}"]
                if kernels is not None:
                    row.append(f"{(seconds['encode'] + seconds['generate']) / kernels:.2f}")
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
                results.append((resolution, batch, name, whole / batch * 1e3))
        gc.collect()  # a resolution's networks go before the next are made
    if arguments.output:
        plot(results, arguments.output)


def plot(results, file):
    """Milliseconds per image against resolution, one panel for each batch size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    batches = sorted({batch for _, batch, _, _ in results})
    figure, axes = pyplot.subplots(
        1, len(batches), figsize=(4 * len(batches) + 1, 4), sharey=True, squeeze=False
    )
    for axis, batch in zip(axes[0], batches):
        for name in dict.fromkeys(name for _, _, name, _ in results):
            points = [(r, ms) for r, b, n, ms in results if (b, n) == (batch, name)]
            axis.plot(*zip(*points), marker="o", label=name)
        axis.set(xlabel="resolution, px", title=f"batch {batch}")
        measuring.logarithmic(axis, sorted({r for r, *_ in results}))
    axes[0][0].set_ylabel("whole fill, ms per image")
    axes[0][-1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "weights" / "invertfill-faces-64"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 2048])
    parser.add_argument("--blend", choices=BLENDS, default="none", help="of photos: the seam")
    parser.add_argument("--repeats", type=int, default=20)
    engines = ("none", "eager", "compile", "openvino")
    parser.add_argument("--engines", nargs="+", choices=engines, default=["none", "eager"])
    parser.add_argument("--gpu", action="store_true", help="on a GPU, by its own clock")
    parser.add_argument("--grid", action="store_true", help="random weights, all resolutions")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--backbone", default="irse50")
    parser.add_argument("--backbone_width", type=int, default=64)
    parser.add_argument("--channel_base", type=int, default=32768)
    parser.add_argument("--bf16", action="store_true", help="measure bf16 even where it is slow")
    parser.add_argument("--output", type=Path, help="PNG to plot the grid into")
    arguments = parser.parse_args()
    device = torch.device("cuda" if arguments.gpu else "cpu")
    (measure_grid if arguments.grid else measure_photos)(arguments, device)


if __name__ == "__main__":
    main()
