"""inpaint-hub: every part of the package by one command."""

import importlib
import sys

from inpaint_hub import __version__

COMMANDS = {  # name: (module with a main(argv), what it does)
    "fill": ("inpaint_hub.__main__", "fill holes in pictures, one or a folder of them"),
    "demo": ("inpaint_hub.demo.launch", "the page in the browser, and its API"),
    "train": ("inpaint_hub.training.__main__", "train a method, resume a training"),
    "evaluate": ("inpaint_hub.evaluation.__main__", "judge pipelines and baselines"),
    "convert": ("inpaint_hub.convert.__main__", "make a pipeline of other programs' weights"),
    "faces": ("inpaint_hub.faces.__main__", "cut aligned faces out of photos"),
}


def usage() -> str:
    rows = [f"  {name:<9} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: inpaint-hub COMMAND [--help] ...", "", *rows])


def main(argv: list[str] | None = None) -> int:
    """Exit status of the command; 2 for one that there is not."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] in (["--help"], ["-h"]) or not argv:
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"inpaint_hub {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"inpaint-hub: there is no command {argv[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[argv[0]][0])
    sys.argv = [f"inpaint-hub {argv[0]}", *argv[1:]]  # for programs that read it themselves
    return module.main(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
