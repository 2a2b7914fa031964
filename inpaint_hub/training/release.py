"""The end of a run: pipeline, model card, upload."""

import dataclasses
import shutil
from pathlib import Path

from inpaint_hub import hub
from inpaint_hub.data import folders_of
from inpaint_hub.training.config import TrainConfig

MARK = "<!-- Written by train_accelerate.py at the end of the run. -->"
SAMPLES = "samples.png"
TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}  # a folder's name may be no text
UNSAID = "Training data, terms of use and measured quality: not stated by who saved this.\n"
# What is no hyper-parameter: places, names and secrets of who trained.
PRIVATE = {
    *("output_dir", "train_data_dir", "validation_data_dir", "cache_dir", "logging_dir"),
    "mask_dir",
    "dataset_name",
    *("pretrained_model_name_or_path", "grow_from", "resume_from_checkpoint"),
    *("hub_token", "hub_model_id", "hub_private_repo", "push_to_hub"),
    *("report_to", "tracker_project_name", "perceptual_network", "projected_network"),
}


def prepare_upload(config, output_dir):
    """Create the repository that `release` will upload to; returns its whole name.

    Raises: PermissionError where the Hub does not let this user write there.
    """
    return hub.create_repository(
        config.hub_model_id or output_dir.name,
        private=config.hub_private_repo or None,
        token=config.hub_token or None,
    )


def release(method, config, output_dir, step, values, best=None, quality=None):
    """Write the finished pipeline with its card, and upload it where that is asked for.

    values: {name: float}, the last logged terms; best: judging.Best, whose weights take the place
    of the last ones; quality: the judge's identity and {name: float} of the last weights. A
    README.md that was not written here stays.
    """
    card = output_dir / hub.CARD
    own = card.is_file() and MARK not in card.read_text(**TEXT)
    repo_id = config.hub_model_id or output_dir.name
    with method.released() as pipeline:
        pipeline.save_pretrained(output_dir)
        method.save_beside(output_dir)
        chosen = best.record if best is not None else None
        if chosen is not None:
            best.release(output_dir)
            quality = chosen["identity"], chosen["values"]
        grids = sorted((output_dir / "samples").glob("step-*.png"))
        if grids:
            shutil.copyfile(grids[-1], output_dir / SAMPLES)
        if not own:
            text = training_card(
                pipeline, method, config, step, values, bool(grids), repo_id, chosen, quality
            )
            card.write_text(text, **TEXT)
        names = list(pipeline.components)
    if config.push_to_hub:
        files = ["model_index.json", "config.json", hub.CARD, SAMPLES]
        files += [f"{name}/*" for name in [*names, "discriminator"]]
        hub.push_folder(
            output_dir,
            repo_id,
            private=config.hub_private_repo or None,
            token=config.hub_token or None,
            allow_patterns=files,
        )


def training_card(
    pipeline, method, config, step, values, with_samples, repo_id, chosen=None, quality=None
):
    """README.md: how to use the pipeline, what it was trained on, how, and what came of it.

    chosen: the record of the best weights, where those are released; quality: the judge's identity
    and {name: float} of those that are released.
    """
    card = pipeline.model_card(repo_id if config.push_to_hub else None)
    if config.dataset_name and hub.HUB_ID.fullmatch(config.dataset_name):
        card = card.replace("---\n\n", f"datasets: [{config.dataset_name}]\n---\n\n", 1)
    data = config.dataset_name
    if not hub.HUB_ID.fullmatch(data):  # a folder: its place is nobody's business
        folders = folders_of(data or config.train_data_dir)
        data = ", ".join(Path(folder).resolve().name for folder in folders)
    seen = step * method.images_per_step
    lines = [card.removesuffix(UNSAID).rstrip("\n"), MARK, "## Training"]
    lines.append(
        f"Data: `{data}`, {config.resolution} px. {step:,} steps of {method.images_per_step} "
        f"pictures, {seen:,} in all. Terms of use: those of the data; not stated here."
    )
    if chosen is not None:
        lines.append(
            f"Released are the weights of step {chosen['step']:,}, the best by {chosen['identity']}"
            f" that were never trained on: {chosen['score']:.4g}."
        )
    lines.append("Hyper-parameters that differ from the defaults of `TrainConfig`:")
    lines.append(table(("field", "value"), changed_fields(config)))
    values = {k: v for k, v in values.items() if quality is None or k not in quality[1]}
    if values:
        lines.append("Terms at the last logged step (training batches, not a measure of quality):")
        lines.append(table(("term", "value"), [(k, f"{v:.4g}") for k, v in values.items()]))
    if quality is not None:
        identity, numbers = quality
        lines.append(
            f"## Quality\n\nBy {identity}, which were never trained on"
            + ("; the weights were chosen by them." if chosen is not None else ".")
        )
        lines.append(table(("metric", "value"), [(k, f"{v:.4g}") for k, v in numbers.items()]))
    if with_samples:
        lines.append(f"## Samples\n\n![samples]({SAMPLES})")
    return "\n\n".join(lines) + "\n"


def changed_fields(config):
    """(name, value) of the fields that are not TrainConfig's defaults."""
    fields = [f for f in dataclasses.fields(TrainConfig) if f.name not in PRIVATE]
    pairs = [(f.name, getattr(config, f.name), f.default) for f in fields]
    changed = [(name, value) for name, value, default in pairs if value != default]
    return changed + ([("mask_dir", Path(config.mask_dir).name)] if config.mask_dir else [])


def table(header, rows):
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
