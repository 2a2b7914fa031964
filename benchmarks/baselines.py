"""Latent searches judged with every term of their papers: Yeh et al., W+ and mGANprior.

    python -m benchmarks.baselines --gan weights/stylegan2-faces-128 --data_dir DATA \
        --perceptual_network squeezenet1_1.safetensors --feature_network mobilenet_v2.json \
        --bands extreme --max_images 64 --output report

A search takes minutes for a picture with its paper's steps (Yeh's program 3,000, Image2StyleGAN
5,000, mGANprior 3,000): --num_steps says fewer, and the rows' names say how many. Methods that are
trained (pSp by either objective, Lahiri, CoModGAN) have presets in train_accelerate.py and are
judged by python -m inpaint_hub.evaluation.
"""

import argparse
import sys
from pathlib import Path

from inpaint_hub import MGANPriorPipeline, WPlusSearchPipeline, YehPipeline
from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.arena import Arena
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.methods import PipelineMethod
from inpaint_hub.evaluation.pairs import EvaluationPairs, coverage_line, parse_bands
from inpaint_hub.evaluation.report import markdown_table
from inpaint_hub.evaluation.scoring import Scorer
from inpaint_hub.losses.perceptual import load_perceptual_network
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

# What their papers and programs say, as far as it fits our generator and Adam (SPEC D).
SETTINGS = {
    "yeh": {"num_steps": 3000},
    "w_plus": {"num_steps": 5000, "learning_rate": 0.01, "perceptual_weight": 1.0},
    "mganprior": {"num_steps": 3000, "num_codes": 30, "perceptual_weight": 0.1},
}


class SearchMethod(PipelineMethod):
    """A search with its perceptual term; name: the search and its steps."""

    def __init__(self, name, pipe, network=None, num_steps=None):
        self.steps = num_steps or pipe.config.num_steps
        self.network = network if "perceptual_weight" in pipe.config else None
        super().__init__(f"{name}-{self.steps}-steps", pipe)

    def identity(self, band, index):
        settings = sorted(self.pipe.config.items(), key=lambda item: item[0])
        told = [f"{k} {v}" for k, v in settings if isinstance(v, int | float)]
        features = type(self.network).__name__
        return f"{super().identity(band, index)} steps {self.steps} {features} {' '.join(told)}"

    def _call(self, originals, masks, **options):
        options |= {"num_inference_steps": self.steps}
        if self.network is not None:
            options["perceptual_network"] = self.network
        return super()._call(originals, masks, **options)


def searches(gan, discriminator, network, num_steps=None):
    """[SearchMethod] of all that can be run: Yeh's needs a discriminator."""
    found = [
        ("w_plus", WPlusSearchPipeline(gan, **SETTINGS["w_plus"])),
        ("mganprior", MGANPriorPipeline(gan, **SETTINGS["mganprior"])),
    ]
    if discriminator is not None:
        found.append(("yeh", YehPipeline(gan, discriminator, **SETTINGS["yeh"])))
    for _, pipe in found:
        pipe.set_progress_bar_config(disable=True)
    return [SearchMethod(name, pipe, network, num_steps) for name, pipe in found]


def build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gan", required=True, help="pipeline with `gan` (and `discriminator`)")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--perceptual_network", required=True, help="of the searches' losses")
    parser.add_argument("--feature_network", required=True, help="of the judge")
    parser.add_argument("--bands", nargs="+", default=["extreme"])
    parser.add_argument("--max_images", type=int, default=64)
    parser.add_argument("--num_steps", type=int, help="of every search, in place of its paper's")
    parser.add_argument("--only", nargs="+", choices=sorted(SETTINGS), help="searches to run")
    parser.add_argument("--output", required=True)
    return parser


def main(argv=None):
    arguments = build_parser().parse_args(argv)
    try:
        gan = StyleGAN2Generator.from_pretrained(arguments.gan, subfolder="gan").float().eval()
        discriminator = None
        if (Path(arguments.gan) / "discriminator").is_dir():
            discriminator = StyleGAN2Discriminator.from_pretrained(
                arguments.gan, subfolder="discriminator"
            )
            discriminator = discriminator.float().eval()
        network = load_perceptual_network(arguments.perceptual_network)
        methods = searches(gan, discriminator, network, arguments.num_steps)
        if arguments.only:
            methods = [m for m in methods if m.name.split("-")[0] in arguments.only]
        pictures = ImageDataset(arguments.data_dir, arguments.split, gan.resolution)
        scorer = Scorer(FeatureNetwork(arguments.feature_network))
        arena = Arena(methods, scorer, Path(arguments.output), batch_size=16)
        bands = parse_bands(arguments.bands)
        sets = [EvaluationPairs(pictures, b, num_images=arguments.max_images) for b in bands]
        judged = [arena.judge(pairs) for pairs in sets]
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    table = markdown_table({j.band: j.results for j in judged})
    lines = [coverage_line(j.band, j.coverage, j.pairs.remark) for j in judged]
    text = table + "".join(f"\n- {line}" for line in lines) + "\n"
    (Path(arguments.output) / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
