"""One run = one frozen TrainConfig; the command-line flags are made from its fields."""

import argparse
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from inpaint_hub.training.rules import broken_rules

Method = Literal[
    "stylegan2",
    "invertfill",
    "psp",
    "lahiri",
    "dualpath",
    "feedforward",
    "refinement",
    "comodgan",
]


def option(default: Any, text: str, section: str | None = None) -> Any:
    """A field and its flag; section: title of the group of flags that begins with it."""
    return field(default=default, metadata={"help": text, "section": section})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    method: Method = option(
        "invertfill",
        "what to train: the generator, an inversion encoder on it, an inpainter on those, or a "
        "baseline",
        section="what is trained, on what",
    )
    train_data_dir: str = option(
        "",
        "folder of pictures or of train-*.parquet (and validation-*.parquet); several, separated "
        "by commas, are trained on as one set",
    )
    dataset_name: str = option(
        "", "in its place: a data set of the Hub, or a folder, read by the datasets library"
    )
    dataset_config_name: str = option("", "configuration of that data set")
    streaming: bool = option(False, "read that data set from front to back, without storing it")
    output_dir: str = option("", "where checkpoints, samples, logs and the final pipeline go")
    pretrained_model_name_or_path: str = option(
        "",
        "pipeline (folder or Hub id) whose `gan` an encoder is trained on, whose fills a refiner "
        "is trained on, or that is trained further",
    )
    revision: str = option("", "branch, tag or commit of that pipeline on the Hub")
    variant: str = option("", "read its model.<variant>.safetensors")
    cache_dir: str = option("", "where downloads are kept; the Hub's usual cache if not given")
    validation_data_dir: str = option("", "held-out pictures, if not in train_data_dir")
    image_column: str = option("image", "column of the data set that holds the pictures")
    resolution: int = option(
        0, "side of the training pictures in px, a power of two; 0 = the given generator's"
    )
    grow_from: str = option(
        "",
        "pipeline of half the resolution whose layers the new networks start from: stylegan2's, "
        "the encoder of invertfill and psp, dualpath's inpainter; a refiner from such an inpainter",
    )
    holdout_fraction: float = option(
        0.0,
        "share of the training pictures, every so-manieth, that is never trained on: to judge on "
        "while training and to choose weights by",
    )
    max_train_samples: int = option(0, "use only the first so many pictures; 0 = all")
    center_crop: bool = option(True, "cut squares from the center; off: from a random place")
    crop_scale_min: float = option(
        1.0,
        "below 1: cut squares at random places with sides between this share of the picture's "
        "shorter side and all of it, never enlarged",
    )
    random_flip: bool = option(True, "flip pictures (and, apart from them, masks) at random")
    train_masks: Literal["mixture", "outpainting"] = option(
        "mixture", "holes: strokes, boxes and borders; or borders alone"
    )
    mask_dir: str = option(
        "", "in their place: folder of mask files (white = hole), one drawn for each picture"
    )
    seed: int = option(0, "seeds weights, data order, masks, latents and noise")

    train_batch_size: int = option(
        16, "pictures per process and step", section="steps, rates, precision"
    )
    gradient_accumulation_steps: int = option(1, "batches whose gradients are summed into one step")
    max_train_steps: int = option(10_000, "optimizer steps of the whole run")
    num_train_epochs: int = option(0, "passes over the data; 0 = as max_train_steps says")
    learning_rate: float = option(1e-4, "Adam's step size (generator or encoder)")
    discr_learning_rate: float = option(2e-3, "Adam's step size of the discriminator")
    scale_lr: bool = option(False, "multiply the learning rates by the pictures per step")
    lr_scheduler: str = option(
        "constant", "constant, linear, cosine, ... (diffusers' get_scheduler)"
    )
    discr_lr_scheduler: str = option(
        "constant", "the same for the discriminator; tail: with the tail's lower rate"
    )
    lr_warmup_steps: int = option(0, "steps of linear warm-up")
    tail_fraction: float = option(
        0.0, "last share of the steps, with a lower learning rate and batch norms in eval mode"
    )
    tail_lr_scale: float = option(0.1, "the learning rate there, as a share")
    tail_shape: Literal["step", "cosine"] = option(
        "step", "how it gets there: at once, or by a cosine until the last step"
    )
    adam_beta1: float = option(0.9, "Adam's first decay (stylegan2: 0)")
    adam_beta2: float = option(0.999, "Adam's second decay (stylegan2: 0.99)")
    discr_adam_beta1: float = option(0.0, "the same for the discriminator")
    discr_adam_beta2: float = option(0.99, "the same for the discriminator")
    adam_weight_decay: float = option(0.0, "decoupled weight decay (AdamW)")
    adam_epsilon: float = option(1e-8, "Adam's epsilon")
    max_grad_norm: float = option(
        1.0, "clip gradients at this norm, but the discriminator's; 0 = off"
    )
    use_ema: bool = option(True, "release the exponential moving average of the weights")
    ema_decay: float = option(
        0.999,
        "decay of the exponential moving average of the weights per step; in step n at most "
        "n / (n + 9)",
    )
    ema_half_life_images: int = option(
        0, "pictures after which an average has half forgotten; 0 = as ema_decay says"
    )
    ema_ramp_up: float = option(
        0.05, "a half-life is at most this share of the pictures seen so far; 0 = off"
    )
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = option(
        "auto",
        "bf16 is fast on GPUs and on CPUs with AMX or AVX512-BF16, slow on others; auto: as "
        "`accelerate launch` or its configuration says, else no",
    )
    gradient_checkpointing: bool = option(
        False, "compute large blocks again in the backward pass instead of keeping them"
    )
    use_8bit_adam: bool = option(False, "bitsandbytes' AdamW, which keeps its moments in 8 bits")
    allow_tf32: bool = option(False, "TF32 matrix products on NVIDIA GPUs")
    dataloader_num_workers: int = option(0, "processes that decode pictures")
    threads: int = option(0, "threads of a process on the CPU; 0 = as torch chooses")
    tune_allocator: bool = option(
        True, "let glibc keep large blocks of memory between steps: faster on CPUs"
    )

    checkpointing_steps: int = option(
        500, "steps between checkpoints", section="checkpoints, samples, judging, logs, upload"
    )
    checkpoints_total_limit: int = option(2, "checkpoints kept; older ones are removed")
    resume_from_checkpoint: str = option("", "`latest` or the path of a checkpoint-<step>")
    validation_steps: int = option(500, "steps between sample grids")
    num_validation_images: int = option(8, "held-out pictures in the sample grid")
    validation_images: str = option(
        "", "in their place: files of pictures, separated by commas, shown with fixed masks"
    )
    eval_batch_size: int = option(16, "pictures at a time in a judgment")
    validation_network: str = option(
        "",
        "feature network (.json or .safetensors; never one of a loss) that judges the pictures "
        "held back while training: Frechet distance, contrast, clipping, color shift",
    )
    judging_steps: int = option(0, "steps between judgments; 0 = validation_steps")
    num_judged_images: int = option(500, "pictures or samples in a judgment")
    judged_bands: str = option("10-30,70-90", "coverages (%) of the holes that are judged")
    keep_best: bool = option(
        False, "release the weights that were judged best (in output_dir/best) instead of the last"
    )
    report_to: str = option(
        "jsonl,tensorboard", "comma-separated trackers: jsonl, tensorboard, any accelerate knows"
    )
    logging_dir: str = option("logs", "folder of the trackers' files, inside output_dir")
    tracker_project_name: str = option("train", "the run's name in its trackers")
    push_to_hub: bool = option(False, "upload the finished pipeline")
    hub_model_id: str = option("", "its repository (owner/name); output_dir's name if not given")
    hub_private_repo: bool = option(False, "make a new repository private")
    hub_token: str = option("", "token to upload with, if not logged in")
    logging_steps: int = option(20, "steps between log lines")

    z_dim: int = option(512, "size of z", section="the generator, and how it is trained")
    w_dim: int = option(512, "size of w")
    num_mapping_layers: int = option(8, "fully connected layers from z to w")
    channel_base: int = option(32768, "channels at r px: min(channel_base / r, channel_max)")
    channel_max: int = option(512, "most channels of any layer")
    global_dim: int = option(512, "comodgan: size of the encoder's code that is joined to w")
    r1_gamma: float = option(1.0, "weight of the R1 gradient penalty; 0 = off")
    r1_interval: int = option(16, "steps between R1 penalties")
    path_length_weight: float = option(2.0, "weight of the path length penalty; 0 = off")
    path_length_interval: int = option(4, "steps between path length penalties")
    path_length_decay: float = option(0.01, "share of a new length in their running mean")
    mbstd_group_size: int = option(4, "pictures compared by the discriminator's last block")
    augment: Literal["none", "ada", "diffaugment"] = option(
        "none",
        "what discriminators see; ada: augmented as much as they overfit; diffaugment: always "
        "shifted and changed in brightness and contrast",
    )
    ada_target: float = option(0.6, "mean sign of D(real) that ADA holds")
    ada_interval: int = option(4, "steps between changes of ADA's probability")
    ada_images: int = option(500_000, "pictures in which that probability can go from 0 to 1")
    style_mixing_probability: float = option(0.9, "share of samples made from two latents")

    backbone: Literal["irse50", "resnet34", "small"] = option(
        "small", "the encoder's feature pyramid", section="the encoder"
    )
    backbone_width: int = option(32, "channels of the small backbone's first stage")
    style_channels: int = option(512, "channels inside map2style")
    structure_channels: int = option(128, "channels inside map2structure")
    mask_channel: bool = option(True, "show the mask to the encoder")
    premodulation: bool = option(True, "pre-modulation (InvertFill Eq. 1); off is an ablation arm")
    beta_sees_w: bool = option(False, "beta of Eq. 1 is computed from w' too, as Fig. 3 draws it")
    shared_fc: bool = option(False, "one layer computes gamma and beta of Eq. 1")
    input_size: int = option(
        0, "side in px to which a new encoder resizes pictures; 0 = the resolution, 256 at most"
    )
    fw_mode: Literal["feature", "rgb", "none"] = option(
        "feature", "how I_m enters the generator; none = W+ only"
    )
    fw_resolutions: str = option(
        "", "resolutions of the generator where it enters, as 16,32,64; all if not given"
    )
    branch_channel_max: int = option(128, "most channels of the branch that carries I_m there")
    sml_mode: Literal["loss", "offset", "static", "off"] = option(
        "loss",
        "soft-update mean latent: target of the fidelity loss, or offset of the codes; static: "
        "w_avg as target; off: no fidelity loss",
    )
    fid_normalise: bool = option(
        True, "fidelity loss in standard deviations of w; off: in units of w, as printed"
    )
    sml_tau: float = option(
        1e-3, "tau of the soft update; a target is reached after about 3 / tau steps"
    )
    sml_num_mean_samples: int = option(16, "latents averaged into one target mean latent")
    sml_arrival_tolerance: float = option(
        0.05, "share of the first gap at which the target is re-sampled"
    )

    noise_levels: Literal["none", "fine", "middle"] = option(
        "none",
        "style vectors that random latents co-modulate, for several answers to one hole",
        section="beside the encoder: noise, the generator trained along",
    )
    pretrained_encoder: bool = option(
        False, "train the given pipeline's encoder further, with its architecture"
    )
    pretrained_backbone: str = option(
        "",
        "folder whose IR-SE-50 trunk the new encoder's backbone begins as: a converted ArcFace, "
        "pSp or e4e (python -m inpaint_hub.convert)",
    )
    train_generator: Literal["none", "last_block", "all"] = option(
        "none", "blocks of the generator that are trained with the encoder"
    )
    generator_lr_scale: float = option(0.1, "their learning rate, as a share of the encoder's")
    adversarial_weight: float = option(
        0.0,
        "weight of a discriminator's loss on composites; 0 = none is trained",
        section="discriminators of what fills holes",
    )
    discriminator: Literal["stylegan2", "patch", "none"] = option(
        "stylegan2",
        "that discriminator: StyleGAN2's with a mask channel, or SN-PatchGAN; none: stylegan2 and "
        "comodgan train against projected heads alone",
    )
    adversarial_loss: Literal["logistic", "hinge"] = option("logistic", "its loss")
    known_is_real: bool = option(
        False, "known places of a composite count as real, where a discriminator judges places"
    )
    shared_fakes: bool = option(
        False, "stylegan2: one batch of generated pictures for the discriminator's step and its own"
    )
    projected_weight: float = option(
        0.0, "weight of the loss of heads on a frozen network's maps (Projected GAN); 0 = none"
    )
    projected_strides: str = option("4,8,16", "strides of the maps with a head, of 2,4,8,16")
    projected_pixel_head: bool = option(False, "one more head, on the picture itself")
    projected_resolution: int = option(
        0, "side in px to which pictures are reduced before that network; 0 = not"
    )
    projected_learning_rate: float = option(1e-3, "Adam's step size of the heads")
    projected_network: str = option(
        "", "that network: SqueezeNet 1.1's safetensors file; as perceptual_network if not given"
    )
    patch_channels: int = option(64, "channels of SN-PatchGAN's first layer")

    inpainter_channels: int = option(
        64,
        "dualpath: channels of the inpainter at full resolution; of a refiner at half of it",
        section="Dual-path's inpainter",
    )
    fusion: Literal["deformable", "concat", "none"] = option(
        "deformable", "dualpath: how the generator's features enter the inpainter"
    )
    deform: Literal["v2", "v1"] = option("v2", "dualpath: deformable convolution's version")
    groups: int = option(
        0, "dualpath: groups of channels with offsets of their own; 0 = 8, or 1 below 64 channels"
    )
    dilations: str = option(
        "", "dualpath: of the blocks in the middle, as 1,2,4,8; 1, 2, 4, 8 twice if not given"
    )
    fusion_resolutions: str = option(
        "", "dualpath: where the features enter, some of s/8, s/4, s/2, s; all but s if not given"
    )
    widen: int = option(
        1,
        "feedforward, dualpath: so many times a given inpainter's channels, at first copies",
    )
    outer_scales: int = option(
        0,
        "dualpath: how many times the generator's resolution is doubled to the inpainter's; with "
        "--grow_from one more than there",
    )
    train_inversion: bool = option(False, "dualpath: train the inversion's encoder too")
    inversion_lr_scale: float = option(0.1, "its learning rate, as a share of the inpainter's")

    perceptual_network: str = option(
        "vgg16", "vgg16, or the path of a SqueezeNet/VGG safetensors file", section="losses"
    )
    psp_objective: Literal["masked", "psp"] = option(
        "masked",
        "psp and lahiri: what the encoder learns by. masked, ours: mean squared error by "
        "hole_weight and the perceptual loss; psp, its paper's: L2, LPIPS without learned weights, "
        "identity (cosine of deep features) and w-norm, by the four weights below",
    )
    pixel_weight: float = option(1.0, "weight of pSp's L2 loss")
    lpips_weight: float = option(0.8, "weight of pSp's perceptual loss")
    identity_weight: float = option(0.1, "weight of pSp's identity loss")
    w_norm_weight: float = option(0.005, "weight of pSp's w-norm")
    valid_weight: float = option(1.0, "weight of the loss on known pixels")
    hole_weight: float = option(6.0, "weight of the loss on the hole")
    hole_weight_end: float = option(
        -1.0, "the same at the last step, reached linearly from half of the steps on; -1 = constant"
    )
    perceptual_weight: float = option(0.05, "weight of the perceptual loss")
    style_weight: float = option(120.0, "weight of the style loss")
    tv_weight: float = option(0.1, "weight of total variation")
    lambda_msr: float = option(0.5, "weight of the multi-scale reconstruction loss (Eq. 7)")
    msr_min_size: int = option(64, "side in px to which smaller O_E^r are enlarged for the network")
    lambda_fid: float = option(0.1, "weight of the fidelity loss (Eq. 7)")

    @property
    def tail_start(self) -> int:
        """The step from which the tail lasts."""
        return self.max_train_steps - round(self.tail_fraction * self.max_train_steps)

    def __post_init__(self) -> None:
        """Raises: ValueError for fields that cannot be trained with (rules.py)."""
        for message in broken_rules(self):
            raise ValueError(message)


def _add_flag(group: Any, f: Field) -> None:
    options = {
        "help": f"{f.metadata['help']} (default: {f.default!r})".replace("%", "%%"),
        "default": argparse.SUPPRESS,
    }
    if f.type is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif get_origin(f.type) is Literal:
        options["choices"] = get_args(f.type)
    else:
        options["type"] = f.type
    group.add_argument(f"--{f.name}", **options)


def parse_config(arguments: Sequence[str], presets: dict[str, dict[str, Any]]) -> TrainConfig:
    """Command line -> TrainConfig: the preset's fields, then the flags given. `presets`: {name:
    dict of fields}."""
    parser = argparse.ArgumentParser(
        description="Train a generator, an inversion on it, an inpainter, or a baseline.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--preset",
        choices=sorted(presets),
        help="fields to start from; flags override them:\n"
        + "\n".join(f"  {name}: {fields}" for name, fields in presets.items()).replace("%", "%%"),
    )
    group = parser
    for f in fields(TrainConfig):
        if f.metadata["section"]:
            group = parser.add_argument_group(f.metadata["section"])
        _add_flag(group, f)
    given = vars(parser.parse_args(arguments))
    preset = given.pop("preset", None)
    try:
        return TrainConfig(**{**(presets[preset] if preset else {}), **given})
    except ValueError as error:
        parser.error(str(error))
