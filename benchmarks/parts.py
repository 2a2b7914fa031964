"""Where the time of a training step goes: its parts one by one, in CPU seconds of this process (on
a GPU, of the clock)."""

import dataclasses
import statistics
import time

import torch
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from inpaint_hub import DualPathInpainter, DualPathPipeline, PSPEncoder, PSPPipeline
from inpaint_hub.allocator import tune_allocator
from inpaint_hub.compositing import composite
from inpaint_hub.losses.perceptual import ProjectionFeatures
from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
from inpaint_hub.stylegan2 import StyleGAN2Generator
from inpaint_hub.training import PRESETS, TrainConfig
from inpaint_hub.training.loop import Run, picture_generators, training_batches
from inpaint_hub.training.small_presets import SMALL_GAN


def seconds_of(function, repeats):
    """Median over `repeats` calls, after one that is not counted."""
    gpu, runs = torch.cuda.is_available(), []
    clock = time.perf_counter if gpu else time.process_time
    for _ in range(repeats + 1):
        start = clock()
        function()
        if gpu:
            torch.cuda.synchronize()
        runs.append(clock() - start)
    return statistics.median(runs[1:])


def untrained(folder, config):
    """Writes what a preset of this config starts from, with random weights; returns flags."""
    torch.manual_seed(0)
    network = folder / "squeezenet1_1.safetensors"
    state = ProjectionFeatures().state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, network)
    flags = {"perceptual_network": str(network)}
    if config["method"] in ("stylegan2", "comodgan"):
        return flags
    resolution = config.get("resolution", 64) >> config.get("outer_scales", 0)
    gan = StyleGAN2Generator(**{**SMALL_GAN, "resolution": resolution})
    pipeline = StyleGAN2Pipeline(gan=gan)
    if config["method"] in ("dualpath", "feedforward"):
        encoder = PSPEncoder(
            resolution=resolution,
            w_dim=gan.w_dim,
            backbone="small",
            style_channels=config["style_channels"],
        )
        pipeline = PSPPipeline(encoder=encoder, gan=gan)
    if config["method"] == "feedforward":
        inpainter = DualPathInpainter(
            resolution=resolution,
            channels=config["inpainter_channels"],
            channel_base=gan.channel_base,
            channel_max=gan.channel_max,
        )
        pipeline = DualPathPipeline(encoder=encoder, gan=gan, inpainter=inpainter)
    pipeline.save_pretrained(folder / "pipeline")
    return flags | {"pretrained_model_name_or_path": str(folder / "pipeline")}


def judging_parts(method, real, fake, mask, rng):
    """{part: function} of the discriminators."""
    parts = {}
    for adversary in method.adversaries:
        name = adversary.subfolder

        def fool(adversary=adversary):
            pictures = fake.clone().requires_grad_()
            adversary.fooled(pictures, mask, rng).backward()

        parts[f"{name}: real and fake, forward and backward"] = lambda a=adversary: a.judge(
            real, fake, mask, rng
        )
        parts[f"{name}: gradient to the pictures"] = fool
        if adversary.penalized:
            interval = method.config.r1_interval
            parts[f"{name}: R1, of {interval} steps"] = lambda a=adversary: a.penalize(
                real, mask, rng
            )
    return parts


def parts_of(run, batch):
    """{part: function without arguments} of one step; {part: share of the steps that have it}."""
    method, config = run.method, run.config
    rng = picture_generators(config, 0, 0, 0, run.accelerator.device)
    image, mask = batch["image"], batch.get("mask")
    if config.method == "stylegan2":
        with torch.no_grad():
            fake = method.fake(rng)

        def without_gradient():
            with torch.no_grad():
                method.fake(rng)

        parts = {"generator, forward, no gradient": without_gradient}
        if config.shared_fakes:
            parts = {}
        parts["generator, forward and backward"] = lambda: method.fake(rng).sum().backward()
    else:
        with torch.no_grad():
            generated, code = method.paint(image, mask, rng)
            fake = composite(image, generated, mask)

        def frozen():
            with torch.no_grad():
                method.paint(image, mask, rng)

        def networks():
            method.paint(image, mask, rng)[0].sum().backward()

        def losses():
            picture = generated.clone().requires_grad_()
            method.loss(image, mask, picture, code)[0].backward()

        parts = {
            "networks, forward, no gradient": frozen,
            "networks, forward and backward": networks,
            "losses on pictures, to the pictures": losses,
        }
    parts |= judging_parts(method, image, fake, mask, rng)
    parts["average of the weights, schedules"] = lambda: method.after_step(1)
    return parts


def step_of(run, batch):
    """One whole step without R1 and path length."""
    rng = picture_generators(run.config, 1, 0, 0, run.accelerator.device)

    def step():
        for phase in run.method.phases(1):
            with run.accelerator.accumulate(*run.method.models):
                phase(batch, rng)

    return step


def measure_parts(name, folder, batch_size, repeats, tuned=False, **flags):
    """Rows (preset, part, ms, share of a step) of one preset."""
    fields = {**PRESETS[name](), "train_batch_size": batch_size, "report_to": "jsonl"}
    fields |= untrained(folder, fields) | flags
    config = TrainConfig(**fields, train_data_dir=str(folder), output_dir=str(folder / "run"))
    if tuned:
        tune_allocator()
    AcceleratorState._reset_state(True)
    run = Run(dataclasses.replace(config, mixed_precision="no"))
    masks = "mixture" if run.method.needs_masks else None
    batch = next(training_batches(run.config, run.pictures, masks, 0, 1, 0))
    batch = {k: v.to(run.accelerator.device) for k, v in batch.items() if k != "unreadable"}
    whole = seconds_of(step_of(run, batch), repeats)
    rows = [(name, "a step", f"{1e3 * whole:.0f}", "")]
    for part, function in parts_of(run, batch).items():
        one = seconds_of(function, repeats)
        rows.append((name, part, f"{1e3 * one:.0f}", f"{one / whole:.0%}"))
    return rows
