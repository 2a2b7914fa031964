"""Pictures per second of StyleGAN2 training, ours against a plain loop in the same process.

python -m benchmarks.training [--presets faces64_gan faces128_gan] [--mixed_precision no bf16]
python -m benchmarks.training --parts --presets faces128_gan faces128_dualpath [--tuned]

The plain loop is the definition, un-fused, fp32, NCHW (benchmarks/reference_stylegan2.py). Each
phase of a step is timed by itself; a step is then their sum, R1 and path length counted by their
intervals. Data loading is timed on PNG pictures of twice the side, without workers.

--parts: what the parts of our step take, for any preset, from untrained networks; --tuned with
glibc's malloc keeping large blocks, as train_accelerate.py lets it (inpaint_hub/allocator.py).
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from tqdm.auto import tqdm

from benchmarks.measuring import machine, table
from benchmarks.parts import measure_parts
from benchmarks.reference_stylegan2 import ReferenceDiscriminator, ReferenceGenerator
from inpaint_hub.losses.adversarial import discriminator_loss, generator_loss
from inpaint_hub.training import PRESETS, TrainConfig
from inpaint_hub.training.loop import Run, picture_generators, training_batches

NUM_PICTURES = 64


def write_pictures(folder, side):
    """Smooth random pictures as PNG files."""
    for i in range(NUM_PICTURES):
        rng = np.random.default_rng(i)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i}.png")


def seconds_of(function, repeats):
    """Median over `repeats` calls, after one that is not counted."""
    function()
    runs = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        runs.append(time.perf_counter() - start)
    return statistics.median(runs)


def step_seconds(phases, config, repeats):
    """Seconds of one step, of {"discriminator", "generator", "r1", "path_length"} functions."""
    intervals = {"r1": config.r1_interval, "path_length": config.path_length_interval}
    weights = {"r1": config.r1_gamma, "path_length": config.path_length_weight}
    return sum(
        seconds_of(phase, repeats) / intervals.get(name, 1)
        for name, phase in phases.items()
        if weights.get(name, 1)
    )


class PlainLoop:
    """The same phases with the plain networks: what a first script would do."""

    def __init__(self, config, batch):
        shape = {name: getattr(config, name) for name in ("channel_base", "channel_max")}
        latents = {name: getattr(config, name) for name in ("z_dim", "w_dim", "num_mapping_layers")}
        self.config, self.batch = config, batch
        self.gan = ReferenceGenerator(resolution=config.resolution, **shape, **latents)
        self.discriminator = ReferenceDiscriminator(resolution=config.resolution, **shape)
        betas = (config.adam_beta1, config.adam_beta2)
        self.optimizers = [
            torch.optim.Adam(m.parameters(), config.learning_rate, betas)
            for m in (self.gan, self.discriminator)
        ]

    def fake(self):
        return self.gan(torch.randn(len(self.batch), self.config.z_dim), noise_mode="random")

    def minimize(self, loss, optimizer):
        for each in self.optimizers:
            each.zero_grad()
        loss.backward()
        optimizer.step()

    def phases(self):
        return {
            "discriminator": self.train_discriminator,
            "generator": self.train_generator,
            "r1": self.penalize,
            "path_length": self.regularize_paths,
        }

    def train_discriminator(self):
        with torch.no_grad():
            fake = self.fake()
        loss = discriminator_loss(self.discriminator(self.batch), self.discriminator(fake))
        self.minimize(loss, self.optimizers[1])

    def train_generator(self):
        loss = generator_loss(self.discriminator(self.fake()))
        self.minimize(loss, self.optimizers[0])

    def penalize(self):
        real = self.batch.clone().requires_grad_()
        scores = self.discriminator(real).sum()
        (gradient,) = torch.autograd.grad(scores, real, create_graph=True)
        self.minimize(gradient.square().sum() / len(real), self.optimizers[1])

    def regularize_paths(self):
        z = torch.randn(len(self.batch) // 2, self.config.z_dim)
        w = self.gan.mapping(z)
        ws = w[:, None].repeat(1, self.gan.synthesis.num_ws, 1)
        pictures = self.gan.synthesis(ws, noise_mode="random")
        direction = torch.randn_like(pictures) / self.config.resolution
        (gradient,) = torch.autograd.grad((pictures * direction).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        self.minimize((lengths - 1).square().mean(), self.optimizers[0])


def our_phases(run, batch):
    """The phases of StyleGAN2Training as functions without arguments."""
    method = run.method
    rng = picture_generators(run.config, 0, 0, 0, run.accelerator.device)

    def phase(function):
        def call():
            with run.accelerator.accumulate(*method.models):
                function(batch, rng)

        return call

    return {
        "discriminator": phase(method.train_discriminator),
        "generator": phase(method.train_generator),
        "r1": phase(method.penalize_discriminator),
        "path_length": phase(method.regularize_paths),
    }


def measure(name, batch_size, precisions, repeats):
    """Rows of the table for one preset."""
    rows, seconds = [], {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        fields = {**PRESETS[name](), "train_batch_size": batch_size, "report_to": "jsonl"}
        config = TrainConfig(**fields, train_data_dir=str(folder), output_dir=str(folder / "run"))
        write_pictures(folder, 2 * config.resolution)
        for precision in precisions:
            AcceleratorState._reset_state(True)
            run = Run(dataclasses.replace(config, mixed_precision=precision))
            batches = training_batches(run.config, run.pictures, None, 0, 1, 0)
            loading = []
            for _ in range(1 + max(1, NUM_PICTURES // batch_size - 1)):  # the first decode of each
                start = time.perf_counter()
                batch = next(batches)
                loading.append(time.perf_counter() - start)
            batch = {"image": batch["image"].to(run.accelerator.device)}
            seconds[f"ours, {precision}"] = step_seconds(our_phases(run, batch), config, repeats)
        plain = PlainLoop(config, batch["image"].cpu())
        seconds = {"plain, fp32": step_seconds(plain.phases(), config, repeats), **seconds}
    for form, one in seconds.items():
        ratio = seconds["plain, fp32"] / one
        share = statistics.median(loading) / (statistics.median(loading) + one)
        rows.append(
            (name, batch_size, form, f"{batch_size / one:.1f}", f"{ratio:.1f}", f"{share:.1%}")
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    gans = [name for name, preset in PRESETS.items() if preset()["method"] == "stylegan2"]
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=gans)
    parser.add_argument("--batch_size", type=int, help="in place of the preset's")
    parser.add_argument("--mixed_precision", nargs="+", choices=("no", "bf16"), default=["no"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", action="store_true", help="time the parts of our step")
    parser.add_argument("--tuned", action="store_true", help="with the allocator tuned")
    arguments = parser.parse_args()
    rows, header = [], ("preset", "batch", "form", "images/s", "times plain", "share of loading")
    for name in tqdm(arguments.presets):
        preset = PRESETS[name]()
        batch_size = arguments.batch_size or preset["train_batch_size"]
        if arguments.parts:
            header = ("preset", "part", "ms", "of a step")
            with tempfile.TemporaryDirectory() as folder:
                write_pictures(Path(folder), 2 * preset.get("resolution", 64))
                options = (batch_size, arguments.repeats, arguments.tuned)
                rows += measure_parts(name, Path(folder), *options)
        elif name not in gans:
            parser.error(f"--presets {name}: the plain loop is StyleGAN2's; use --parts")
        else:
            rows += measure(name, batch_size, arguments.mixed_precision, arguments.repeats)
    print(machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    print(table(header, rows))


if __name__ == "__main__":
    main()
