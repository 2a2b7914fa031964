"""Train StyleGAN2, InvertFill or pSp: `accelerate launch train_accelerate.py --help`."""

import sys

from inpaint_hub.training import PRESETS, parse_config, train


def main():
    config = parse_config(sys.argv[1:], {name: preset() for name, preset in PRESETS.items()})
    try:
        train(config)
    except (ImportError, FloatingPointError, OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
