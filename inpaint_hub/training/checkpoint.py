"""Names and housekeeping of checkpoint-<step> folders."""

import re
import shutil
from pathlib import Path

NAME = re.compile(r"checkpoint-(\d+)")


def checkpoints(output_dir):
    """Complete checkpoint folders, oldest first (partial ones have another name)."""
    found = [p for p in Path(output_dir).glob("checkpoint-*") if NAME.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(NAME.fullmatch(p.name).group(1)))


def latest_checkpoint(output_dir, wanted):
    """`latest` -> the newest checkpoint or None; a path -> that path.

    Raises: FileNotFoundError for a path that does not exist.
    """
    if wanted == "latest":
        return next(reversed(checkpoints(output_dir)), None)
    if not Path(wanted).is_dir():
        raise FileNotFoundError(
            f"checkpoint {wanted!r} does not exist; expected a checkpoint-<step> folder or "
            f"`latest`; "
            f"present in {str(output_dir)!r}: {[p.name for p in checkpoints(output_dir)]}"
        )
    return Path(wanted)


def prune_checkpoints(output_dir, keep):
    """Remove all but the newest `keep` checkpoints."""
    for old in checkpoints(output_dir)[:-keep]:
        shutil.rmtree(old)
