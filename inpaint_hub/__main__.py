"""python -m inpaint_hub: fill holes in pictures, one or a folder of them, from the command line.

A folder is continued where it stopped. On several GPUs: accelerate launch -m inpaint_hub ...
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from inpaint_hub import (
    InpaintPipeline,
    MGANPriorPipeline,
    PSPPipeline,
    WPlusSearchPipeline,
    YehPipeline,
    default_pipeline,
    folders,
    load_pipeline,
    provenance,
)
from inpaint_hub.allocator import tune_allocator
from inpaint_hub.blending import BLENDS
from inpaint_hub.pipelines.routes import FACES
from inpaint_hub.texture import TEXTURES

SEARCHES = {"w_plus": WPlusSearchPipeline, "yeh": YehPipeline, "mganprior": MGANPriorPipeline}
SEARCH_FLAGS = ("num_inference_steps", "coarse_to_fine", "num_starts", "tolerance", "max_seconds")


class ShowProvenance(argparse.Action):
    """Prints what a filled picture says of itself, and ends."""

    def __call__(self, parser, namespace, path, option=None):
        try:
            with Image.open(path) as image:
                notes = provenance.read(image)
        except Exception as error:  # Pillow's plugins raise a dozen classes
            parser.error(f"{option} {path}: no picture that can be read ({error})")
        if notes is None:
            print(f"{path}: says nothing of where it came from", file=sys.stderr)
            parser.exit(1)
        print(json.dumps(notes, indent=2, ensure_ascii=False))
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub",
        description="Fill the white part of a mask in a picture; the rest is kept bit for bit.",
    )
    parser.add_argument(
        "--show-provenance",
        "--show_provenance",
        action=ShowProvenance,
        metavar="FILE",
        help="print by which pipeline, seed and settings a picture was filled, and end",
    )
    _add_files(parser)
    _add_fill(parser)
    _add_search(parser)
    _add_run(parser)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image", required=True, type=Path, help="picture, or a folder of pictures"
    )
    parser.add_argument(
        "--mask",
        required=True,
        type=Path,
        help="mask (white = repaint) for all, or a folder with a mask of each picture's name",
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="file to write (.png, .tif, .bmp), or a folder"
    )


def _add_fill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--padding_mask_crop", type=natural, help="cut each hole out with so many px around it"
    )
    parser.add_argument(
        "--context",
        type=float,
        help="cut each hole out with so many times its own size around it (default: 1 with the "
        "bundled model, else the whole picture)",
    )
    parser.add_argument(
        "--faces",
        choices=FACES,
        help="of models for any photo: which holes the model of faces fills (default: auto, those "
        "that touch a face)",
    )
    parser.add_argument(
        "--mask_dilate", type=natural, default=0, help="grow the hole by so many px"
    )
    parser.add_argument(
        "--mask_blur", type=natural, default=0, help="soften the fill's rim over so many px"
    )
    parser.add_argument(
        "--blend", choices=BLENDS, default="gp", help="how the fill meets the picture (default: gp)"
    )
    parser.add_argument(
        "--texture",
        choices=TEXTURES,
        default="auto",
        help="how the fill becomes as sharp as the picture: detail keeps the network's content, "
        "patches copies the picture's own, auto chooses (default), none leaves the network's fill",
    )
    parser.add_argument(
        "--variation",
        type=share,
        default=0.0,
        help="with --seed: how far from the likeliest fill, 0 to 1; 0.3 is visibly another",
    )
    parser.add_argument("--invert_mask", action="store_true", help="black is repainted, not white")
    parser.add_argument("--seed", type=seed, help="draw the generator's noise from this seed")


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "search",
        "look for the latent code by gradient descent instead of encoding: any generator fills "
        "holes so, untrained for it, in seconds to minutes a picture",
    )
    group.add_argument(
        "--search",
        choices=SEARCHES,
        help="with the generator (for yeh, and its discriminator) of --model",
    )
    group.add_argument(
        "--num_inference_steps", type=positive, help="steps of the search (default: 1000)"
    )
    group.add_argument(
        "--coarse_to_fine",
        action="store_const",
        const=True,
        help="half of the steps at a quarter of the resolution, a quarter of them at half of it: "
        "quicker from 256 px on",
    )
    group.add_argument(
        "--num_starts", type=positive, help="starts searched together, of which the best goes on"
    )
    group.add_argument(
        "--tolerance",
        type=share,
        help="end when the loss fell by less than this share in 25 steps, as 0.01",
    )
    group.add_argument(
        "--max_seconds", type=seconds, help="time for each pass of --batch_size pictures"
    )
    group.add_argument(
        "--init_encoder",
        metavar="MODEL",
        help="w_plus: begin at the codes of this pSp pipeline for the same generator",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        help="folder or Hub id of a pipeline (default: the bundled one for any photo)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, mps"
    )
    parser.add_argument("--local_files_only", action="store_true", help="never ask the Hub")
    parser.add_argument(
        "--overwrite", action="store_true", help="of a folder: fill again what is there already"
    )
    parser.add_argument(
        "--concat",
        action="store_true",
        help="write picture, mask and result beside each other instead of the result alone",
    )
    parser.add_argument("--batch_size", type=positive, default=8, help="pictures in one pass")
    parser.add_argument(
        "--engine",
        choices=("none", "eager", "compile", "openvino"),
        help="how networks run (default: eager for folders, none for one picture)",
    )
    parser.add_argument(
        "--tune_allocator",
        "--tune-allocator",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let glibc keep large blocks of memory in the process: faster on CPUs",
    )


def pipeline_of(arguments: argparse.Namespace) -> InpaintPipeline:
    """The pipeline that the flags name.

    Raises: ValueError for flags that do not fit together; those of from_pretrained.
    """
    local = {"local_files_only": arguments.local_files_only}
    flags = (*SEARCH_FLAGS, "init_encoder")
    given = [f"--{name}" for name in flags if getattr(arguments, name) is not None]
    if arguments.search is None:
        if given:
            raise ValueError(
                f"{', '.join(given)} given without --search; expected --search and one of "
                f"{', '.join(SEARCHES)}"
            )
        return load_pipeline(arguments.model, **local) if arguments.model else default_pipeline()
    if not arguments.model:
        raise ValueError(
            f"--search is {arguments.search}, but no --model is given whose generator is to be "
            "searched; give a folder or Hub id, as weights/stylegan2-faces-128"
        )
    kind = SEARCHES[arguments.search]
    if arguments.init_encoder and not kind.takes_init_encoder:
        raise ValueError(
            f"--init_encoder {arguments.init_encoder!r} gives codes to begin at, but --search "
            f"{arguments.search} does not search W+; expected --search w_plus, or no --init_encoder"
        )
    return kind.from_pretrained(arguments.model, **local)


def options_of(arguments: argparse.Namespace) -> dict:
    """What the pipeline is called with for every picture."""
    names = ("padding_mask_crop", "context", "mask_dilate", "mask_blur", "blend", "texture")
    options = {name: getattr(arguments, name) for name in (*names, "variation")}
    if arguments.faces:
        options["faces"] = arguments.faces
    found = {name: getattr(arguments, name) for name in SEARCH_FLAGS}
    options |= {name: value for name, value in found.items() if value is not None}
    if arguments.init_encoder:
        source = PSPPipeline.from_pretrained(
            arguments.init_encoder, local_files_only=arguments.local_files_only
        )
        options["init_encoder"] = source.encoder
    return options


def ready(
    arguments: argparse.Namespace, device: str | torch.device, engine: str
) -> tuple[InpaintPipeline, dict]:
    """(the pipeline that the flags name, on `device`; what it is called with for every picture).

    engine: how its networks run where --engine does not say.

    Raises: OSError, TypeError, ValueError, RuntimeError for a model or a device that is not there.
    """
    pipe, options = pipeline_of(arguments), options_of(arguments)
    if arguments.faces and not hasattr(pipe, "route"):
        raise ValueError(
            f"--faces is {arguments.faces!r}, but --model {arguments.model!r} has no choice of "
            "models; leave one of them out"
        )
    device = best_device() if device == "auto" else checked_device(device)
    pipe = pipe.to(device)
    if "init_encoder" in options:
        options["init_encoder"].to(device)
    engine = arguments.engine or engine
    pipe.optimize(None if engine == "none" else engine)
    return pipe, options


def natural(text: str) -> int:
    """Whole number of at least 0; argparse names the flag and this function."""
    if (value := int(text)) < 0:
        raise ValueError
    return value


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 1")
    return value


def seconds(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def seed(text: str) -> int:
    if not 0 <= (value := int(text)) < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0 to 2**63 - 1")
    return value


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def checked_device(device: str | torch.device) -> str | torch.device:
    """Raises: ValueError for a device that this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device {device} cannot be used here ({reason}); expected auto, or one that this "
            f"machine has, as {best_device()}"
        ) from error
    return device


def processes(device):
    """accelerate's state when started as one of several processes (accelerate launch), else
    None."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return None
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    # None waits for the others but at the end, however long they still have to work.
    return PartialState(
        cpu=on_cpu or parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=30)
    )


def share_of(jobs, state):
    """The jobs of this process; all of them where it is the only one."""
    if state is None:
        return jobs
    state.wait_for_everyone()  # none must write before all have seen what is done already
    with state.split_between_processes(jobs) as share:
        return share


def gathered(report, state):
    """The report of all processes together."""
    if state is None:
        return report
    from accelerate.utils import gather_object

    reports = gather_object([tuple(report)])
    state.destroy_process_group()
    filled, failures, seconds, empty, notes = zip(*reports)
    return folders.Report(
        sum(filled), sum(failures, []), max(seconds), sum(empty, []), sum(notes, [])
    )


def tell(report: folders.Report, left_out: list[str], num_wanted: int, num_there: int) -> None:
    """Say on stderr what became of `num_wanted` files; num_there: filled by an earlier run."""
    if left_out:
        print(f"left out, as no pictures: {', '.join(left_out)}", file=sys.stderr)
    for note in report.notes:
        print(f"note {note}", file=sys.stderr)
    for failure in [*report.failures, *report.empty]:
        print(f"skipped {failure}", file=sys.stderr)
    print(
        f"{report.filled} of {num_wanted} filled"
        + (f", {len(report.empty)} with an empty mask" if report.empty else "")
        + (f", {num_there} were there already" if num_there else "")
        + f"; {report.filled / report.seconds:.2f} images/s",
        file=sys.stderr,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when every file was filled, 1 when some failed or had an empty mask (each is
    named), 2 for bad arguments."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    state = processes(arguments.device)
    if arguments.tune_allocator:
        tune_allocator()
    try:
        jobs, left_out = folders.jobs_of(arguments.image, arguments.mask, arguments.output)
        device = arguments.device if state is None else state.device
        one = arguments.image.is_file()
        pipe, options = ready(arguments, device, "none" if one else "eager")
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    wanted = jobs
    if not one and not arguments.overwrite:
        wanted = [job for job in jobs if not folders.is_done(job)]
    share = share_of(wanted, state)
    main_process = state is None or state.is_main_process
    with tqdm(total=len(share), unit="image", disable=one or not main_process) as bar:
        report = folders.fill_files(
            pipe,
            share,
            batch_size=arguments.batch_size,
            invert_mask=arguments.invert_mask,
            seed=arguments.seed,
            options=options,
            concat=arguments.concat,
            done=bar.update,
        )
    report = gathered(report, state)
    if main_process:
        tell(report, left_out, len(wanted), len(jobs) - len(wanted))
    return 1 if report.failures or report.empty else 0


if __name__ == "__main__":
    sys.exit(main())
