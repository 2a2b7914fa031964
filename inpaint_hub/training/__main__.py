"""python -m inpaint_hub.training, or train_accelerate.py: train a method, or resume a training."""

import sys

from inpaint_hub.training import PRESETS, parse_config, train


def main(argv: list[str] | None = None) -> None:
    """Ends the process with a message for what a user can mend."""
    argv = sys.argv[1:] if argv is None else argv
    config = parse_config(argv, {name: preset() for name, preset in PRESETS.items()})
    try:
        train(config)
    except (ImportError, FloatingPointError, OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
