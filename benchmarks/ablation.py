"""The arms of InvertFill's Table 5, or of Dual-path's fusion, on equal budgets: one table.

    python -m benchmarks.ablation --table invertfill --train_data_dir DATA
        --pretrained_model_name_or_path PIPELINE --output_dir runs/ablation --seeds 0 1
        --max_train_steps 300 [flags of train_accelerate.py, the same for every arm]

Every arm is trained once for each seed, by train_accelerate.py in a process of its own, and all are
judged by inpaint_hub.evaluation on the validation split. The same command goes on where it was
stopped: finished runs are kept, a killed one is resumed from its last checkpoint.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.measuring import machine
from benchmarks.runs import Run, flag, train_apart, train_missing, write
from benchmarks.seeds import difference_table, over_seeds
from inpaint_hub import load_pipeline
from inpaint_hub.data import ImageDataset, held_out_split
from inpaint_hub.evaluation.arena import Arena
from inpaint_hub.evaluation.config import positive
from inpaint_hub.evaluation.feature_network import FeatureNetwork
from inpaint_hub.evaluation.methods import PipelineMethod
from inpaint_hub.evaluation.pairs import EvaluationPairs, coverage_line, parse_bands
from inpaint_hub.evaluation.report import markdown_table
from inpaint_hub.evaluation.scoring import Scorer
from inpaint_hub.training import PRESETS, parse_config
from inpaint_hub.training.given import component_config
from inpaint_hub.training.release import changed_fields

W = {"fw_mode": "none"}
FW = {"fw_mode": "feature"}
# w/o SML "represents using regular static mean latent code" (InvertFill section 4.4).
PLAIN = {"premodulation": False, "sml_mode": "static"}
SML = {"premodulation": False, "sml_mode": "loss"}
SML_PM = {"premodulation": True, "sml_mode": "loss"}


class Ablation(NamedTuple):
    """title; the preset all arms share; {arm: its fields}; the arm that is the whole method; the
    paper's bands."""

    title: str
    preset: str
    arms: dict
    whole: str
    bands: list


TABLES = {
    "invertfill": Ablation(
        "InvertFill's Table 5",
        "faces64_invertfill",
        {
            "w+": W | PLAIN,
            "w+-sml-pm": W | SML_PM,
            "fw+": FW | PLAIN,
            "fw+-sml": FW | SML,
            "fw+-sml-pm": FW | SML_PM,
        },
        "fw+-sml-pm",
        ["extreme"],
    ),
    "dualpath": Ablation(
        "Dual-path's fusion",
        "faces64_dualpath",
        {name: {"fusion": name} for name in ("none", "concat", "deformable")},
        "deformable",
        ["poster"],
    ),
}


def chosen_arms(arguments):
    """{arm: its fields} of --arms, all if not given.

    Raises: ValueError for unknown ones, or only one.
    """
    ablation = TABLES[arguments.table]
    chosen = set(arguments.arms or ablation.arms)
    if not chosen <= set(ablation.arms) or len(chosen) < 2:
        raise ValueError(
            f"--arms is {arguments.arms}, expected at least two of {list(ablation.arms)}"
        )
    return {arm: fields for arm, fields in ablation.arms.items() if arm in chosen}


def planned_runs(arguments, flags):
    """All runs, seed by seed. flags: of train_accelerate.py, for every arm.

    Raises: ValueError for seeds given twice, or flags that set what the arms differ in.
    """
    ablation, presets = TABLES[arguments.table], {n: preset() for n, preset in PRESETS.items()}
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise ValueError(f"--seeds is {arguments.seeds}, expected different ones; name each once")
    arms = chosen_arms(arguments)
    names = ("train_data_dir", "pretrained_model_name_or_path", "max_train_steps", "output_dir")
    own = [flag("preset", ablation.preset), *(flag(n, getattr(arguments, n)) for n in names)]
    given, alone = parse_config([*own, *flags], presets), parse_config(own, presets)
    held = {"method", "seed", "output_dir", "num_train_epochs"}.union(*ablation.arms.values())
    if taken := sorted(n for n in held if getattr(given, n) != getattr(alone, n)):
        raise ValueError(
            f"flags for all arms set {', '.join(taken)}, which --table, --seeds and --output_dir "
            "decide; leave them out"
        )
    runs = []
    for seed in arguments.seeds:
        for arm, fields in arms.items():
            folder = Path(arguments.output_dir) / "runs" / f"{arm}-seed{seed}"
            fields = {**fields, "seed": seed, "output_dir": folder}
            line = [*own, *flags, *(flag(*field) for field in fields.items())]
            runs.append(Run(f"{arm} seed {seed}", arm, line, parse_config(line, presets)))
    return runs


def held_out(config, resolution):
    """The validation split, or all of --validation_data_dir where it has no splits.

    Raises: ValueError where pictures of it are trained on; FileNotFoundError where there is none.
    """
    given = config.validation_data_dir
    folder = given or config.train_data_dir
    split = held_out_split(given) if given else "validation"
    pictures = ImageDataset(folder, split, resolution, keep_decoded=True)
    if isinstance(pictures.entries[0], Path):  # stored as parquet, the splits are apart
        trained_on = ImageDataset(config.train_data_dir, "train", resolution).entries
        if shared := set(trained_on).intersection(pictures.entries):
            raise ValueError(
                f"{len(shared)} of {len(pictures)} pictures to judge on are trained on; expected "
                f"sub-folders train and validation in {config.train_data_dir!r}, or "
                "--validation_data_dir"
            )
    return pictures


def ablate(arguments, flags, train=train_apart):
    """Train, judge, and write ablation.md and ablation.json; returns what the latter holds.

    flags: of train_accelerate.py, for every arm. train(flags): trains one run.

    Raises: ValueError, OSError for what cannot be trained or judged, where possible before any
        training.
    """
    ablation, output = TABLES[arguments.table], Path(arguments.output_dir)
    runs = planned_runs(arguments, flags)
    config = runs[0].config
    resolution = component_config(config, "gan")["resolution"]
    pictures = held_out(config, resolution)
    bands = parse_bands(arguments.bands or ablation.bands)
    pairs = [EvaluationPairs(pictures, band, num_images=arguments.max_images) for band in bands]
    network = FeatureNetwork(arguments.feature_network) if arguments.feature_network else None
    train_missing(runs, train)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = []
    for run in runs:
        pipe = load_pipeline(run.folder).to(device)
        pipe.set_progress_bar_config(disable=True)
        methods.append(PipelineMethod(run.name, pipe))
    scorer = Scorer(network)
    arena = Arena(methods, scorer, output / "evaluation")
    judged = [arena.judge(each) for each in pairs]
    arms = chosen_arms(arguments)
    # What the others are compared with: the whole method, or what is nearest to it.
    whole = ablation.whole if ablation.whole in arms else list(arms)[-1]
    names = {arm: [run.name for run in runs if run.arm == arm] for arm in arms}
    tables = {j.band: over_seeds(j, names, whole) for j in judged}
    varied = {"seed"}.union(*ablation.arms.values())
    batch = config.train_batch_size * config.gradient_accumulation_steps
    report = {
        "title": f"{ablation.title}, small-scale",
        "arms": arms,
        "whole": whole,
        "budget": f"{config.max_train_steps} steps of {batch} pictures at {resolution} px",
        "data": Path(config.train_data_dir).resolve().name,
        "pipeline": Path(config.pretrained_model_name_or_path).name,
        "seeds": arguments.seeds,
        "machine": machine(device),
        "fields": {name: v for name, v in changed_fields(config) if name not in varied},
        "coverage": [coverage_line(j.band, j.coverage, j.pairs.remark) for j in judged],
        "results": {band: results for band, (results, _) in tables.items()},
        "differences": {band: differences for band, (_, differences) in tables.items()},
        "runs": {j.band: j.results for j in judged},
        "unavailable": scorer.unavailable,
    }
    write(output / "ablation.json", json.dumps(report, indent=1) + "\n")
    write(output / "ablation.md", markdown(report))
    return report


def markdown(report):
    """ablation.md of what ablation.json holds."""
    seeds = report["seeds"]
    noise = "and seeds" if len(seeds) > 1 else "alone: one seed does not show training's noise"
    lines = [f"- every run: {report['budget']} of {report['data']}, on {report['pipeline']}"]
    lines += [f"- seeds: {', '.join(map(str, seeds))}"]
    lines += [f"- {arm}: {fields}" for arm, fields in report["arms"].items()]
    lines += [f"- all arms: {report['fields']}", f"- {report['machine']}"]
    lines += [f"- {line}" for line in report["coverage"]]
    lines += [f"- {metric}: not available, {why}" for metric, why in report["unavailable"].items()]
    parts = [f"# {report['title']}", "\n".join(lines)]
    parts += [f"## Means over seeds, 95 % intervals over pictures {noise}"]
    parts += [markdown_table(report["results"])]
    parts += [f"## Arm minus {report['whole']}; in brackets: no difference at 95 %"]
    parts += [difference_table(report["differences"])]
    parts += ["## Every run, 95 % intervals over pictures", markdown_table(report["runs"])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is not known here goes to train_accelerate.py as it is
    )
    parser.add_argument("--table", required=True, choices=TABLES)
    parser.add_argument("--train_data_dir", required=True, help="with a validation split")
    parser.add_argument(
        "--pretrained_model_name_or_path",
        required=True,
        help="pipeline with the generator (invertfill) or the inversion (dualpath)",
    )
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--max_train_steps", type=positive, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", help="of the table; all if not given")
    parser.add_argument("--bands", nargs="+", help="as the evaluation's; the paper's if not given")
    parser.add_argument("--max_images", type=positive, help="judge the first so many pictures")
    parser.add_argument("--feature_network", help="JSON file, as --perceptual_network of the judge")
    return parser


def main(argv=None):
    arguments, flags = build_parser().parse_known_args(argv)
    try:
        ablate(arguments, flags)
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print((Path(arguments.output_dir) / "ablation.md").read_text())


if __name__ == "__main__":
    main()
