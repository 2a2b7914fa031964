"""python -m inpaint_hub.evaluation: judge methods on the same pairs, band by band."""

import sys
from collections.abc import Sequence
from pathlib import Path

from inpaint_hub.evaluation.config import parse_config
from inpaint_hub.evaluation.evaluate import evaluate


def main(argv: Sequence[str] | None = None) -> None:
    config = parse_config(argv)
    try:
        results = evaluate(config)
    except (OSError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if results is not None:
        print((Path(config.output) / "table.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
