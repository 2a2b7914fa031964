"""python -m inpaint_hub.training.mixing: train what mixes a pipeline's fills with copies of the
photo (inpaint_hub.texture.mixing).

First the candidates for a hole in each photo are made, which takes seconds each, and kept in a
folder: a second call goes on where the first one ended. Then a FillMixer learns on crops of them.

Its loss is of the mixture made as fine as its surroundings, as users see it: the squared error in
the hole, in dB; what SqueezeNet's maps show in each ninth of the crop, as one minus the cosine of
their means; and what its fineness lacks of FINENESS of that around the hole.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from inpaint_hub.allocator import tune_allocator
from inpaint_hub.data import ImageDataset
from inpaint_hub.losses.perceptual import load_projection_network
from inpaint_hub.masks import drawn_in_band
from inpaint_hub.pipelines.feed_forward import FeedForwardPipeline
from inpaint_hub.texture.curation import FINE_SIGMA_PX, MIXED_CELL_PX, MOST_GAIN, RING_PX
from inpaint_hub.texture.mixing import FillMixer, surroundings

CROP_PX = 192
LEAST_HOLE = 0.08  # of a crop
BAND = (0.1, 0.3)  # of a photo
ERROR_WEIGHT, LOOKS_WEIGHT, FINENESS_WEIGHT = 1.0, 20.0, 10.0
FINENESS = 0.9
WARMUP_STEPS, CONSTANT = 50, 0.3  # of all steps; then a cosine
QUIET = (0.5 / 255) ** 2  # so that flat places do not divide by nothing


class Recorder(FillMixer):
    """Keeps what it is given to mix, [(candidates, mask)] in `seen`, and shows the first."""

    def forward(self, candidates: Tensor, mask: Tensor) -> Tensor:
        self.seen.append((candidates, mask))
        return candidates[:, 0]


def candidates_for(
    pipe: FeedForwardPipeline, photo: np.ndarray, hole: np.ndarray, seed: int
) -> np.ndarray | None:
    """uint8 [K,H,W,3]: the photo with each fill that a mixer of this pipeline would be given; None
    where the hole is not filled at once.

    photo: uint8 [H,W,3]; hole: bool [H,W]. pipe: its mixer is a Recorder.
    """
    pipe.mixer.seen = []
    generator = torch.Generator().manual_seed(seed)
    pipe(Image.fromarray(photo), hole, blend="gp", texture="patches", generator=generator)
    if len(pipe.mixer.seen) != 1:
        return None
    part = surroundings(hole)
    height, width = hole[part].shape
    ((given, mask),) = pipe.mixer.seen
    if not (mask[0, 0, :height, :width].numpy() == hole[part]).all():
        return None
    fills = np.repeat(photo[None], given.shape[1], axis=0)
    shown = (given[0, :, :, :height, :width] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.copyto(fills[:, *part], shown, where=hole[part][None, ..., None])
    return fills


def make_candidates(args: argparse.Namespace) -> list[Path]:
    """The files of as many photos as are asked for, of which those that are there are kept."""
    photos = ImageDataset(
        args.train_data_dir, "train", args.resolution, holdout_fraction=args.holdout_fraction
    )
    pipe = FeedForwardPipeline.from_pretrained(args.pretrained_model_name_or_path)
    most = int(MIXED_CELL_PX * pipe.resolution)
    if args.resolution > most:
        raise ValueError(
            f"--resolution is {args.resolution}, expected at most {most}: fills of "
            f"{pipe.resolution} px are not mixed in larger photos"
        )
    pipe = FeedForwardPipeline(pipe.inpainter, Recorder())
    pipe.set_progress_bar_config(disable=True)
    folder, files = Path(args.candidates_dir), []
    folder.mkdir(parents=True, exist_ok=True)
    for index in tqdm(range(args.num_candidates), unit="photo"):
        file = folder / f"{index:06}.safetensors"
        if not file.is_file():
            rng = np.random.default_rng([args.seed, index])
            photo = np.asarray(photos[index % len(photos)], np.uint8)
            hole, _ = drawn_in_band(args.resolution, *BAND, rng)
            fills = candidates_for(pipe, photo, hole, index)
            if fills is None:
                continue
            partial = file.with_suffix(".part")
            save_file({"photo": photo, "hole": hole, "fills": fills}, partial)
            partial.replace(file)
        files.append(file)
    if not files:
        raise ValueError(
            f"no photo of {args.train_data_dir!r} was filled at once; raise --num_candidates"
        )
    return files


def crop_of(file: Path, rng: np.random.Generator) -> np.ndarray:
    """uint8 [CROP_PX,CROP_PX,C]: photo, hole (0, 1) and fills of a place with some of the hole."""
    data = load_file(file)
    whole = np.concatenate([data["photo"], data["hole"][..., None], *data["fills"]], axis=2)
    best = None
    for _ in range(8):
        top, left = (rng.integers(0, n - CROP_PX + 1) for n in whole.shape[:2])
        crop = whole[top : top + CROP_PX, left : left + CROP_PX]
        if best is None or crop[..., 3].sum() > best[..., 3].sum():
            best = crop
        if crop[..., 3].mean() > LEAST_HOLE:
            break
    return best[:, ::-1] if rng.random() < 0.5 else best


def batch_of(files: Sequence[Path], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(photo [N,3,h,h] in [0,1], hole [N,1,h,h], candidates [N,K,3,h,h])."""
    crops = torch.from_numpy(np.stack([crop_of(file, rng) for file in files]))
    crops = crops.permute(0, 3, 1, 2).float()
    photo, fills = crops[:, :3] / 255, crops[:, 4:] / 255
    return photo, crops[:, 3:4], fills.unflatten(1, (-1, 3))


def softened(x: Tensor) -> Tensor:
    """[N,C,H,W], blurred by FINE_SIGMA_PX."""
    reach = int(4 * FINE_SIGMA_PX + 0.5)
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * FINE_SIGMA_PX**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, [reach] * 4, mode="reflect"), kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.mT, groups=x.shape[1])


def as_fine_as_around(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """curation.as_fine_as_around of pictures [N,3,H,W] and holes [N,1,H,W], with gradients; and
    the energy of what is finer than FINE_SIGMA_PX then, over that around the hole, [N]."""
    fine = picture - softened(picture)
    side = 2 * RING_PX + 1
    near = F.max_pool2d(hole, (side, 1), 1, (RING_PX, 0))  # in two steps, which are fast
    ring = F.max_pool2d(near, (1, side), 1, (0, RING_PX)) * (1 - hole)
    inner = 1 - F.max_pool2d(1 - hole, 5, 1, 2)

    def energy(where: Tensor) -> Tensor:
        squares = (fine.square().mean(dim=1, keepdim=True) * where).sum(dim=(1, 2, 3))
        return squares / where.sum(dim=(1, 2, 3)).clamp(min=1) + QUIET

    ratio = energy(ring).detach() / energy(inner)
    measured = (ring.sum(dim=(1, 2, 3)) > 0) & (inner.sum(dim=(1, 2, 3)) > 0)
    gain = torch.where(measured, ratio.sqrt().clamp(1, MOST_GAIN), 1)
    raised = (picture + (gain[:, None, None, None] - 1) * fine).clamp(0, 1)
    return torch.where(hole > 0, raised, picture), torch.where(measured, gain**2 / ratio, 1)


def losses_of(network, mixture: Tensor, photo: Tensor, hole: Tensor) -> dict[str, Tensor]:
    """The three terms, unweighted."""
    shown, fineness = as_fine_as_around(mixture, hole)
    squares = ((shown - photo).square() * hole).sum(dim=(1, 2, 3))
    error = squares / (3 * hole.sum(dim=(1, 2, 3))).clamp(min=1)

    def ninths(x: Tensor) -> list[Tensor]:
        with torch.autocast(x.device.type, torch.bfloat16):
            return [F.adaptive_avg_pool2d(m.float(), 3).flatten(2) for m in network(x)]

    with torch.no_grad():
        wanted = ninths(photo)
    apart = [1 - F.cosine_similarity(a, b).mean() for a, b in zip(ninths(shown), wanted)]
    return {
        "error": 10 * (error + 1e-4).log10().mean(),
        "looks": sum(apart),
        "fineness": F.relu(FINENESS - fineness).mean(),
    }


def trained(files: list[Path], args: argparse.Namespace) -> FillMixer:
    """A mixer that has learned on crops of these files."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    mixer = FillMixer(candidates=len(load_file(files[0])["fills"]))
    network = load_projection_network(args.perceptual_network)
    mixer, network = (m.to(memory_format=torch.channels_last) for m in (mixer, network))
    optimizer = torch.optim.Adam(mixer.parameters(), args.learning_rate)
    weights = {"error": ERROR_WEIGHT, "looks": LOOKS_WEIGHT, "fineness": FINENESS_WEIGHT}
    bar = tqdm(range(args.max_train_steps), unit="step")
    for step in bar:
        chosen = rng.integers(len(files), size=args.train_batch_size)
        photo, hole, candidates = batch_of([files[i] for i in chosen], rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.mixed_precision == "bf16"):
            mixture = mixer(candidates, hole)
        terms = losses_of(network, mixture, photo, hole)
        loss = sum(weights[name] * term for name, term in terms.items())
        optimizer.param_groups[0]["lr"] = args.learning_rate * share_of_rate(
            step, args.max_train_steps
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mixer.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            bar.set_postfix({name: f"{term.item():.3f}" for name, term in terms.items()})
    return mixer.eval()


def share_of_rate(step: int, steps: int) -> float:
    """Of the learning rate, in `step`: a warm-up, then 1, then a cosine to 0."""
    tail = (step / steps - CONSTANT) / (1 - CONSTANT)
    return min(1, (step + 1) / WARMUP_STEPS) * (1 + np.cos(np.pi * max(tail, 0))) / 2


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub.training.mixing",
        description="Train what mixes a feed-forward pipeline's fills with copies of the photo.",
    )
    add = parser.add_argument
    add("--pretrained_model_name_or_path", required=True, help="the pipeline")
    add("--train_data_dir", required=True, help="photos, as train_accelerate.py's")
    add("--perceptual_network", required=True, help="SqueezeNet 1.1, a .safetensors file")
    add("--candidates_dir", required=True, help="where candidates are kept; those there are used")
    add("--output_dir", required=True, help="the pipeline with its mixer")
    add("--resolution", type=int, default=320, help="side of the photos in px")
    add("--num_candidates", type=int, default=800, help="photos with candidates")
    add("--holdout_fraction", type=float, default=0.1, help="of the photos that are left out")
    add("--max_train_steps", type=int, default=2000)
    add("--train_batch_size", type=int, default=8)
    add("--learning_rate", type=float, default=2e-3)
    add("--mixed_precision", choices=("no", "bf16"), default="no")
    add("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.resolution < CROP_PX:
        parser.error(f"--resolution is {args.resolution}, expected at least {CROP_PX}, the crops'")
    for name in ("num_candidates", "max_train_steps", "train_batch_size"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, expected at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Ends the process with a message for what a user can mend."""
    args = parse(argv)
    tune_allocator()
    try:
        files = make_candidates(args)
        pipe = FeedForwardPipeline.from_pretrained(args.pretrained_model_name_or_path)
        pipe = FeedForwardPipeline(pipe.inpainter, trained(files, args))
        pipe.save_pretrained(args.output_dir)
    except (ImportError, OSError, ValueError, TypeError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
