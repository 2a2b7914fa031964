"""python -m inpaint_hub.convert: bring your own weights."""

import argparse
import sys
from pathlib import Path

from inpaint_hub.convert.conversion import convert_to_folder
from inpaint_hub.convert.export_rosinality import export_rosinality


def build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub.convert",
        description="Convert a checkpoint (rosinality's .pt, NVIDIA's StyleGAN2 .pkl, pSp's or "
        "e4e's .pt, ArcFace's .pth) into a folder of safetensors. Nothing in the file is executed.",
    )
    parser.add_argument("source", type=Path, help="the file; with --to rosinality: a folder")
    parser.add_argument("dest", type=Path, help="folder to write; with --to rosinality: a .pt file")
    parser.add_argument(
        "--to",
        choices=("inpaint_hub", "rosinality"),
        default="inpaint_hub",
        help="rosinality: write a pipeline's generator and discriminator as its .pt",
    )
    parser.add_argument(
        "--encoder_type",
        choices=("psp", "e4e"),
        help="of a file that does not say whose encoder it holds (their keys are the same)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at DEST")
    return parser


def main(argv=None):
    """Exit status 0 when converted, 2 with a message otherwise."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.to == "rosinality":
            keys = export_rosinality(arguments.source, arguments.dest, arguments.overwrite)
            print(f"{arguments.dest}: {', '.join(keys)}")
            return 0
        conversion = convert_to_folder(
            arguments.source, arguments.dest, arguments.encoder_type, arguments.overwrite
        )
    except (FileNotFoundError, FileExistsError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    made = conversion.pipeline.__name__ if conversion.pipeline else "no pipeline"
    print(f"{arguments.dest}: {made} from {conversion.layout}")
    for name, network in conversion.networks.items():
        config = ", ".join(f"{k}={v}" for k, v in network.config.items())
        print(f"  {name}: {type(network).__name__}({config})")
    for note in conversion.notes:
        print(f"  note: {note}")
    if conversion.set_aside:
        print(f"  set aside: {', '.join(map(str, conversion.set_aside[:12]))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
