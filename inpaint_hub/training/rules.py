"""Which TrainConfigs cannot be trained with, and what to do instead: (what is wrong, message)."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

FROM_SCRATCH = ("stylegan2", "feedforward", "comodgan")  # methods that need no trained generator
GROWING = ("stylegan2", "invertfill", "psp", "dualpath", "refinement")  # that know grow_from
WITH_HOLE_LOSS = ("invertfill", "dualpath", "feedforward", "refinement")
STRIDES = {"2", "4", "8", "16"}
AT_LEAST_ONE = (
    "train_batch_size",
    "max_train_steps",
    "gradient_accumulation_steps",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "validation_steps",
    "num_validation_images",
    "logging_steps",
    "r1_interval",
    "path_length_interval",
    "mbstd_group_size",
    "ada_interval",
    "ada_images",
    "num_judged_images",
    "eval_batch_size",
    "widen",
)
NUMBERS = ("fw_resolutions", "dilations", "fusion_resolutions")  # with commas between

# (condition of a TrainConfig c, message with its fields in braces), in the order they are told.
RULES = (
    (
        lambda c: c.resolution and (c.resolution < 16 or c.resolution & (c.resolution - 1)),
        "--resolution is {c.resolution}, expected a power of two of at least 16; use 64, 128 or "
        "256",
    ),
    (lambda c: not c.output_dir, "--output_dir is missing; give a folder"),
    (
        lambda c: c.train_data_dir and c.dataset_name,
        "--train_data_dir and --dataset_name: both given, expected one of them",
    ),
    (
        lambda c: not c.train_data_dir and not c.dataset_name,
        "--train_data_dir and --dataset_name: neither given, expected one of them",
    ),
    (
        lambda c: c.streaming and not c.dataset_name,
        "--streaming reads a data set; give its --dataset_name",
    ),
    (
        lambda c: c.streaming and c.num_train_epochs,
        "--num_train_epochs with --streaming: a stream's length is not known; give "
        "--max_train_steps",
    ),
    (
        lambda c: c.method not in FROM_SCRATCH and not c.pretrained_model_name_or_path,
        "--method {c.method} needs --pretrained_model_name_or_path, a pipeline whose `gan` it "
        "trains on; train one first with --method stylegan2",
    ),
    (
        lambda c: c.outer_scales < 0 or (c.outer_scales and c.method != "dualpath"),
        "--outer_scales is {c.outer_scales} with --method {c.method}, expected 0, or more with "
        "--method dualpath",
    ),
    (
        lambda c: (
            c.widen > 1
            and (
                c.method not in ("feedforward", "dualpath")
                or not c.pretrained_model_name_or_path
                or c.grow_from
            )
        ),
        "--widen {c.widen} gives a given inpainter more channels; use it with --method feedforward "
        "or dualpath and --pretrained_model_name_or_path, without --grow_from",
    ),
    (
        lambda c: c.grow_from and c.method not in GROWING,
        "--grow_from starts a network from half the resolution; --method is {c.method}, expected "
        f"one of {GROWING}",
    ),
    (
        lambda c: c.grow_from and c.method == "stylegan2" and c.pretrained_model_name_or_path,
        "--grow_from and --pretrained_model_name_or_path both give the generator to start from; "
        "leave one out",
    ),
    (
        lambda c: c.grow_from and c.pretrained_encoder,
        "--grow_from and --pretrained_encoder both give the encoder to start from; leave one out",
    ),
    (
        lambda c: c.pretrained_backbone and (c.grow_from or c.pretrained_encoder),
        "--pretrained_backbone begins a new encoder, --grow_from and --pretrained_encoder go on "
        "with a trained one; leave one out",
    ),
    (
        lambda c: c.method != "invertfill" and c.noise_levels != "none",
        "--noise_levels: {c.method} does not co-modulate style vectors; use none, or --method "
        "invertfill",
    ),
    (
        lambda c: c.discriminator == "none" and not c.projected_weight,
        "--discriminator none leaves nothing to train against; give --projected_weight",
    ),
    (
        lambda c: not each_once(c.projected_strides.split(","), STRIDES),
        "--projected_strides is {c.projected_strides!r}, expected some of 2,4,8,16, each once, "
        "with commas between",
    ),
    (
        lambda c: (
            c.projected_resolution not in (0, 32, 64, 128, 256)
            or 0 < c.resolution < c.projected_resolution
        ),
        "--projected_resolution is {c.projected_resolution}, expected a power of two from 32 to "
        "256 and at most --resolution, which is {c.resolution}; 0 leaves pictures as they are",
    ),
    (
        lambda c: (
            c.mixed_precision == "fp16" and (c.method in FROM_SCRATCH or c.adversarial_weight)
        ),
        "--mixed_precision fp16: the squared gradients of R1 and path length overflow it; use "
        "bf16 or no",
    ),
    (
        lambda c: not 0 < c.crop_scale_min <= 1,
        "--crop_scale_min is {c.crop_scale_min}, expected a share above 0 and at most 1",
    ),
    (
        lambda c: not 0 <= c.tail_fraction < 1,
        "--tail_fraction is {c.tail_fraction}, expected a share below 1",
    ),
    (
        lambda c: (
            c.tail_fraction
            and (c.lr_scheduler != "constant" or (c.lr_warmup_steps and c.tail_shape == "step"))
        ),
        "--tail_fraction with --lr_scheduler {c.lr_scheduler} and --lr_warmup_steps "
        "{c.lr_warmup_steps}: expected constant and 0; use one or the other, or --tail_shape "
        "cosine with a warm-up",
    ),
    (
        lambda c: c.discr_lr_scheduler == "tail" and not c.tail_fraction,
        "--discr_lr_scheduler tail: there is none; give a --tail_fraction",
    ),
    (
        lambda c: not 0 <= c.holdout_fraction < 1,
        "--holdout_fraction is {c.holdout_fraction}, expected a share below 1, as 0.1",
    ),
    (
        lambda c: c.holdout_fraction and c.streaming,
        "--holdout_fraction with --streaming: nothing is held back from a stream; leave one out",
    ),
    (
        lambda c: c.validation_network and not c.holdout_fraction,
        "--validation_network judges pictures that are never trained on; hold some back with "
        "--holdout_fraction 0.1",
    ),
    (
        lambda c: c.hole_weight_end >= 0 and c.method not in WITH_HOLE_LOSS,
        "--hole_weight_end: {c.method}'s loss has no term of the hole; leave it out",
    ),
    (
        lambda c: c.keep_best and not c.validation_network,
        "--keep_best needs a judge; give a --validation_network",
    ),
    (
        lambda c: c.hub_token and "wandb" in c.report_to,
        "--hub_token with --report_to wandb: its log could hold the token; log in with `hf auth "
        "login` instead",
    ),
)


def each_once(values: list[Any], known: set[Any]) -> bool:
    return set(values) <= known and len(set(values)) == len(values)


def numbers_of(text: str) -> list[int] | None:
    """[16, 32] of "16,32"; None of "".

    Raises: ValueError for anything else.
    """
    return [int(part) for part in text.split(",")] if text.strip() else None


def are_numbers(text: str) -> bool:
    try:
        numbers_of(text)
    except ValueError:
        return False
    return True


def broken_rules(config: Any) -> Iterator[str]:
    """What is wrong with a TrainConfig, one message each, in order."""
    for f in fields(config):
        value, choices = getattr(config, f.name), get_args(f.type)
        if get_origin(f.type) is Literal and value not in choices:
            yield f"--{f.name} is {value!r}, expected one of {choices}"
    for is_wrong, message in RULES:
        if is_wrong(config):
            yield message.format(c=config)
    for name in NUMBERS:
        if not are_numbers(getattr(config, name)):
            yield (
                f"--{name} is {getattr(config, name)!r}, expected whole numbers with commas "
                "between, as 16,32"
            )
    for name in AT_LEAST_ONE:
        if getattr(config, name) < 1:
            yield f"--{name} is {getattr(config, name)}, expected at least 1"
