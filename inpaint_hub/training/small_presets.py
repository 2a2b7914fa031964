"""Starting points of TrainConfig for trainings that a CPU can do, all of which were run; what each
gave is in docs/results/runs.md."""

from typing import Any

SMALL_GAN = {
    "resolution": 64,
    "z_dim": 256,
    "w_dim": 256,
    "num_mapping_layers": 4,
    "channel_base": 2048,
    "channel_max": 128,
}
SMALL_ENCODER = {
    "resolution": 64,
    "backbone": "small",
    "style_channels": 128,
    "structure_channels": 128,
    # SqueezeNet 1.1 sees 0..255, so its maps are larger than VGG-16's: with these weights both
    # terms are of the order of 6 * hole_loss on a picture blurred to a quarter of its resolution.
    "perceptual_network": "squeezenet1_1.safetensors",
    "perceptual_weight": 0.004,
    "style_weight": 0.006,
    "msr_min_size": 32,
    # A target is reached after log(0.05) / log(1 - tau) steps, 149 here: 13 targets in a run. The
    # paper's 0.001 takes 2,995 steps for one.
    "sml_tau": 0.02,
    "train_batch_size": 8,
    "learning_rate": 8e-4,
    "lr_scheduler": "cosine",
    "lr_warmup_steps": 100,
    "ema_decay": 0.995,
    "max_train_steps": 2000,
    "checkpointing_steps": 250,
    "validation_steps": 250,
}


GROWN = {"resolution": 128, "learning_rate": 5e-4, "max_train_steps": 1000, "sml_tau": 0.04}


def faces64_gan() -> dict[str, Any]:
    """StyleGAN2 at 64 px, small enough for a CPU.

    python train_accelerate.py --preset faces64_gan --train_data_dir DATA --output_dir runs/gan
    """
    return {
        **SMALL_GAN,
        "method": "stylegan2",
        "train_batch_size": 16,
        "learning_rate": 2e-3,
        "discr_learning_rate": 2e-3,
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "max_grad_norm": 0.0,
        "ema_decay": 0.995,
        "r1_gamma": 0.3,
        "path_length_weight": 0.0,
        "style_mixing_probability": 0.5,
        "max_train_steps": 4000,
        "checkpointing_steps": 250,
        "validation_steps": 250,
    }


def faces64_invertfill() -> dict[str, Any]:
    """InvertFill on the generator of `faces64_gan`.

    python train_accelerate.py --preset faces64_invertfill --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan --output_dir runs/invertfill
        --perceptual_network squeezenet1_1.safetensors
    """
    return {**SMALL_ENCODER, "method": "invertfill", "backbone_width": 32}


def faces64_psp() -> dict[str, Any]:
    """pSp on the generator of `faces64_gan`.

    python train_accelerate.py --preset faces64_psp --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan --output_dir runs/psp
        --perceptual_network squeezenet1_1.safetensors
    """
    return {**SMALL_ENCODER, "method": "psp", "backbone_width": 32}


def faces64_psp_own() -> dict[str, Any]:
    """pSp by its own objective and without the mask as input, as published: the baseline that bears
    its name. `faces64_psp` is the masked variant. Flags as there."""
    return {
        **SMALL_ENCODER,
        "method": "psp",
        "backbone_width": 32,
        "psp_objective": "psp",
        "mask_channel": False,
        "learning_rate": 1e-4,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
    }


def faces64_lahiri() -> dict[str, Any]:
    """Lahiri et al. on the generator of `faces64_gan`: a network predicts z. Their settings could
    not be obtained: those of `faces64_psp`, and flags as there."""
    return {**faces64_psp(), "method": "lahiri"}


def faces64_comodgan() -> dict[str, Any]:
    """CoModGAN at 64 px with the settings of its released program: Adam of 0.002 and betas 0 and
    0.99 for both networks, 32 pictures a step, R1 of 10, no path length. The width and the number
    of steps are ours (it ran 780,000).

    python train_accelerate.py --preset faces64_comodgan --train_data_dir DATA
        --output_dir runs/comodgan
    """
    return {
        **SMALL_GAN,
        "method": "comodgan",
        "global_dim": 256,
        "train_batch_size": 32,
        "learning_rate": 2e-3,
        "discr_learning_rate": 2e-3,
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "discr_adam_beta1": 0.0,
        "discr_adam_beta2": 0.99,
        "max_grad_norm": 0.0,
        "ema_half_life_images": 10_000,
        "r1_gamma": 10.0,
        "path_length_weight": 0.0,
        "max_train_steps": 4000,
        "checkpointing_steps": 250,
        "validation_steps": 250,
    }


def faces64_dualpath() -> dict[str, Any]:
    """Dual-path on the inversion of `faces64_psp`; --fusion concat and none are its ablation arms.

    python train_accelerate.py --preset faces64_dualpath --train_data_dir DATA
        --pretrained_model_name_or_path runs/psp --output_dir runs/dualpath
        --perceptual_network squeezenet1_1.safetensors
    """
    return {
        **SMALL_ENCODER,
        "method": "dualpath",
        "learning_rate": 5e-4,
        "inpainter_channels": 16,
        "adversarial_weight": 0.1,
        "discriminator": "patch",
        "patch_channels": 32,
        "discr_learning_rate": 4e-4,
        "discr_adam_beta1": 0.5,
        "discr_adam_beta2": 0.999,
        "adam_beta1": 0.5,
        "r1_gamma": 0.0,
        "max_train_steps": 1000,
    }


def faces128_gan() -> dict[str, Any]:
    """StyleGAN2 at 128 px, grown from `faces64_gan`.

    python train_accelerate.py --preset faces128_gan --train_data_dir DATA --output_dir runs/gan128
        --grow_from runs/gan
    """
    return {**faces64_gan(), "resolution": 128, "r1_gamma": 0.6}


def faces128_invertfill() -> dict[str, Any]:
    """InvertFill on the generator of `faces128_gan`, grown from `faces64_invertfill`.

    python train_accelerate.py --preset faces128_invertfill --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan128 --grow_from runs/invertfill
        --output_dir runs/invertfill128 --perceptual_network squeezenet1_1.safetensors
    """
    return {**faces64_invertfill(), **GROWN}


def faces128_plus() -> dict[str, Any]:
    """The same with a discriminator that starts from the generator's own, the generator trained
    along slowly, and noise (SPEC G); flags as for `faces128_invertfill`."""
    return {
        **faces128_invertfill(),
        "adversarial_weight": 0.2,
        "train_generator": "all",
        "noise_levels": "fine",
        "adam_beta1": 0.5,
        "discr_learning_rate": 1e-3,
        "r1_gamma": 0.6,
    }


def faces128_psp() -> dict[str, Any]:
    """pSp on the generator of `faces128_gan`, grown from `faces64_psp`; flags as for
    `faces128_invertfill`."""
    return {**faces64_psp(), **GROWN}


def faces128_dualpath() -> dict[str, Any]:
    """Dual-path on the inversion of `faces128_psp`, grown from `faces64_dualpath`.

    python train_accelerate.py --preset faces128_dualpath --train_data_dir DATA
        --pretrained_model_name_or_path runs/psp128 --grow_from runs/dualpath
        --output_dir runs/dualpath128 --perceptual_network squeezenet1_1.safetensors
    """
    return {**faces64_dualpath(), **GROWN}


PROJECTED = {  # heads beside SN-PatchGAN, known places real
    "projected_weight": 0.2,
    "projected_strides": "4,8,16",
    "known_is_real": True,
    "lr_scheduler": "constant",
    "lr_warmup_steps": 50,
    "ema_decay": 0.998,
}


def faces128_dualpath_projected() -> dict[str, Any]:
    """Dual-path gone on with against projected heads beside SN-PatchGAN.

    python train_accelerate.py --preset faces128_dualpath_projected --train_data_dir DATA
        --pretrained_model_name_or_path weights/dualpath-faces-128
        --output_dir runs/dualpath128 --perceptual_network squeezenet1_1.safetensors
    """
    return {**faces128_dualpath(), **PROJECTED, "max_train_steps": 8000}


def faces256_dualpath_outer() -> dict[str, Any]:
    """A scale of 256 px around a Dual-path of 128: one network, of which the inner part sees the
    picture reduced and the generator advises that part alone.

    python train_accelerate.py --preset faces256_dualpath_outer --train_data_dir DATA
        --pretrained_model_name_or_path weights/dualpath-faces-128 --output_dir runs/dualpath256
        --grow_from weights/dualpath-faces-128 --perceptual_network squeezenet1_1.safetensors
    """
    return {
        **faces128_dualpath_projected(),
        "resolution": 256,
        "outer_scales": 1,
        "tail_fraction": 0.5,
        "tail_shape": "cosine",
    }


def photos128_feedforward() -> dict[str, Any]:
    """Dual-path's feed-forward path alone for photos of any kind, from random crops of many sizes,
    starting from the path of a Dual-path trained on other pictures. It is to be right in color, as
    texture comes from the photo: no adversary, no style loss.

    python train_accelerate.py --preset photos128_feedforward --train_data_dir PHOTOS,SCENES
        --pretrained_model_name_or_path weights/dualpath-faces-128
        --output_dir runs/photos128 --perceptual_network squeezenet1_1.safetensors
    """
    return {
        **faces128_dualpath(),
        "method": "feedforward",
        "adversarial_weight": 0.0,
        "style_weight": 0.0,
        "learning_rate": 1e-3,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 50,
        "tail_fraction": 0.25,
        "tail_shape": "cosine",
        "ema_decay": 0.998,
        "max_train_steps": 3600,
        "center_crop": False,
        "crop_scale_min": 0.4,
    }


def faces256_refinement() -> dict[str, Any]:
    """A refiner at 256 px of what Dual-path fills at 128, against the same discriminators.

    python train_accelerate.py --preset faces256_refinement --train_data_dir DATA
        --pretrained_model_name_or_path weights/dualpath-faces-128 --output_dir runs/refinement
        --grow_from weights/dualpath-faces-128 --perceptual_network squeezenet1_1.safetensors
    """
    return {
        **faces128_dualpath_projected(),
        "method": "refinement",
        "resolution": 256,
        "patch_channels": 16,
        "tail_fraction": 0.5,
        "tail_shape": "cosine",
    }
