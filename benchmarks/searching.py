"""Processor seconds and quality by step of the latent searches, from coarse to fine and not.

    python -m benchmarks.searching --gan weights/stylegan2-faces-128 --steps 40
    python -m benchmarks.searching --resolutions 256 512 1024 --steps 4

With --gan: pictures that its generator itself made (n = --num_pictures), of which a box is hidden,
so that what lies in the hole is known; the error of the known part and of the hole after a quarter,
a half and all of the steps. With --resolutions: generators with random weights of the papers'
widths, for seconds alone: of all threads together, whatever else the machine does.
"""

import argparse
import time

import torch

from inpaint_hub import PSPEncoder, StyleGAN2Discriminator, StyleGAN2Generator
from inpaint_hub.search import Limits, multi_code_search, w_plus_search, yeh_search

METHODS = ("w_plus", "yeh", "mganprior")
SCHEDULES = {
    "plain": {},
    "coarse to fine": {"coarse_to_fine": True},
    "3 starts": {"num_starts": 3},
}


def found(method, gan, discriminator, masked, mask, limits, **schedule):
    """Pictures [K,3,s,s] that a search ends with."""
    if method == "w_plus":
        latent = w_plus_search(gan, masked, mask, limits, **schedule)
    elif method == "yeh":
        latent = yeh_search(gan, discriminator, masked, mask, limits, **schedule)
    else:
        latent = multi_code_search(gan, masked, mask, limits, **schedule)
    return gan.synthesis(*latent)


def l1_percent(picture, truth, part):
    """Mean |difference| over `part` [K,1,s,s] in percent of the range."""
    difference = (picture.clamp(-1, 1) - truth).abs().mean(dim=1, keepdim=True)
    return (difference * part).sum().item() / part.sum().item() * 50


def timed(run):
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


def quality(gan, discriminator, num_pictures, steps, methods, encoder=None):
    """Rows of the table for one generator's own pictures."""
    random = torch.Generator().manual_seed(12345)  # none of what the searches begin at
    truth = gan(torch.randn(num_pictures, gan.z_dim, generator=random)).clamp(-1, 1)
    mask = torch.zeros(num_pictures, 1, gan.resolution, gan.resolution)
    s = gan.resolution
    mask[..., s // 3 : 2 * s // 3, s // 4 : 3 * s // 4] = 1
    for method in methods:
        schedules = dict(SCHEDULES)
        if encoder is not None and method == "w_plus":
            schedules["encoder's codes"] = {"start": encoder(truth * (1 - mask), mask)}
        for name, schedule in schedules.items():
            for count in (steps // 4, steps // 2, steps):
                picture, seconds = timed(
                    lambda m=method, c=count, o=schedule: found(
                        m, gan, discriminator, truth * (1 - mask), mask, Limits(c), **o
                    )
                )
                errors = [l1_percent(picture, truth, part) for part in (1 - mask, mask)]
                yield method, name, s, count, seconds / num_pictures, *errors


def seconds_alone(resolution, steps, methods, schedules):
    """Rows of the table for random weights at one resolution, one picture at a time."""
    torch.manual_seed(0)
    gan = StyleGAN2Generator(resolution=resolution).eval().requires_grad_(False)
    discriminator = StyleGAN2Discriminator(resolution=resolution).eval().requires_grad_(False)
    mask = torch.zeros(1, 1, resolution, resolution)
    mask[..., resolution // 4 : resolution // 2, resolution // 4 : resolution // 2] = 1
    masked = (torch.rand(1, 3, resolution, resolution) * 2 - 1) * (1 - mask)
    for method in methods:
        for name in schedules:
            _, seconds = timed(
                lambda m=method, o=SCHEDULES[name]: found(
                    m, gan, discriminator, masked, mask, Limits(steps), **o
                )
            )
            yield method, name, resolution, steps, seconds, None, None


def build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.searching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gan", help="pipeline with a generator and its discriminator")
    parser.add_argument("--init_encoder", help="of this pSp pipeline W+ also begins at its codes")
    parser.add_argument("--resolutions", type=int, nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--num_pictures", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--schedules", nargs="+", choices=SCHEDULES, default=("plain", "coarse to fine")
    )
    return parser


@torch.no_grad()
def main(argv=None):
    arguments = build_parser().parse_args(argv)
    print("| search | schedule | px | steps | processor s a picture | known l1 % | hole l1 % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    if arguments.gan:
        gan = StyleGAN2Generator.from_pretrained(arguments.gan, subfolder="gan")
        judge = StyleGAN2Discriminator.from_pretrained(arguments.gan, subfolder="discriminator")
        for network in (gan, judge):
            network.requires_grad_(False)
        begun = None
        if arguments.init_encoder:
            begun = PSPEncoder.from_pretrained(arguments.init_encoder, subfolder="encoder").eval()
        given = (arguments.num_pictures, arguments.steps, arguments.methods, begun)
        rows += [quality(gan, judge, *given)]
    for resolution in arguments.resolutions:
        rows.append(
            seconds_alone(resolution, arguments.steps, arguments.methods, arguments.schedules)
        )
    for part in rows:
        for *words, seconds, known, hole in part:
            errors = ["-" if e is None else f"{e:.2f}" for e in (known, hole)]
            print("|", " | ".join([*map(str, words), f"{seconds:.1f}", *errors]), "|", flush=True)


if __name__ == "__main__":
    main()
