"""Named starting points of TrainConfig: small ones, and those of the papers' size, for a GPU."""

from typing import Any

from inpaint_hub.training.small_presets import (
    faces64_comodgan,
    faces64_dualpath,
    faces64_gan,
    faces64_invertfill,
    faces64_lahiri,
    faces64_psp,
    faces64_psp_own,
    faces128_dualpath,
    faces128_dualpath_projected,
    faces128_gan,
    faces128_invertfill,
    faces128_plus,
    faces128_psp,
    faces256_dualpath_outer,
    faces256_refinement,
    photos128_feedforward,
)


def faces256_gan() -> dict[str, Any]:
    """StyleGAN2 at 256 px in the shape of NVIDIA's paper256 (SPEC C6), for a GPU. Not yet run.

    accelerate launch --mixed_precision bf16 train_accelerate.py --preset faces256_gan
        --train_data_dir DATA --output_dir runs/gan256
    """
    return {
        "method": "stylegan2",
        "resolution": 256,
        "channel_base": 16384,
        "train_batch_size": 64,
        "learning_rate": 2.5e-3,
        "discr_learning_rate": 2.5e-3,
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "max_grad_norm": 0.0,
        "ema_half_life_images": 20_000,
        "ema_ramp_up": 0.0,
        "r1_gamma": 1.0,
        "augment": "ada",
        "max_train_steps": 80_000,
        "checkpointing_steps": 1000,
        "validation_steps": 1000,
    }


def paper() -> dict[str, Any]:
    """InvertFill at 256 px as the paper and SPEC A have it. Not yet run: needs a GPU for days.

    accelerate launch train_accelerate.py --preset paper --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan256 --output_dir runs/invertfill256
    """
    return {
        "method": "invertfill",
        "backbone": "irse50",
        "backbone_width": 64,
        "style_channels": 512,
        "structure_channels": 128,
        "train_batch_size": 8,
        "learning_rate": 1e-4,
        "tail_fraction": 0.2,
        "ema_decay": 0.999,
        "max_train_steps": 300_000,
        "checkpointing_steps": 2000,
        "validation_steps": 2000,
    }


def plus() -> dict[str, Any]:
    """`paper` and what we add to it: a discriminator on composites, the generator's blocks trained
    along slowly, noise that gives several answers (SPEC G). Not yet run.

    accelerate launch train_accelerate.py --preset plus --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan256 --output_dir runs/invertfill256-plus
    """
    return {
        **paper(),
        "adversarial_weight": 0.1,
        "train_generator": "all",
        "noise_levels": "fine",
        "discr_learning_rate": 1e-3,
        "r1_gamma": 10.0,
    }


def faces256_psp() -> dict[str, Any]:
    """pSp at 256 px with its paper's objective and batch: L2 1, LPIPS (without learned weights)
    0.8, identity 0.1; Adam in Ranger's place. Not yet run: for a GPU.

    accelerate launch train_accelerate.py --preset faces256_psp --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan256 --output_dir runs/psp256
    """
    return {
        **paper(),
        "method": "psp",
        "psp_objective": "psp",
        "mask_channel": False,
        "tail_fraction": 0.0,
    }


def faces256_lahiri() -> dict[str, Any]:
    """Lahiri et al. at 256 px, with pSp's settings: their own could not be obtained. Not yet run;
    flags as for `faces256_psp`."""
    return {**faces256_psp(), "method": "lahiri"}


def faces256_dualpath() -> dict[str, Any]:
    """Dual-path at 256 px (SPEC B): 64 channels, deformable fusion, SN-PatchGAN at 0.1, Adam of
    1e-4. Not yet run: for a GPU.

    accelerate launch train_accelerate.py --preset faces256_dualpath --train_data_dir DATA
        --pretrained_model_name_or_path runs/psp256 --output_dir runs/dualpath256
    """
    return {
        **paper(),
        "method": "dualpath",
        "inpainter_channels": 64,
        "adversarial_weight": 0.1,
        "discriminator": "patch",
        "patch_channels": 64,
        "discr_learning_rate": 1e-4,
        "discr_adam_beta1": 0.5,
        "discr_adam_beta2": 0.999,
        "adam_beta1": 0.5,
        "r1_gamma": 0.0,
        "tail_fraction": 0.0,
    }


def faces256_comodgan() -> dict[str, Any]:
    """CoModGAN at 256 px with the settings of its released program, as `faces64_comodgan`, at its
    own width. Not yet run: for a GPU.

    accelerate launch train_accelerate.py --preset faces256_comodgan --train_data_dir DATA
        --output_dir runs/comodgan256
    """
    return {
        **faces64_comodgan(),
        "resolution": 256,
        "z_dim": 512,
        "w_dim": 512,
        "num_mapping_layers": 8,
        "channel_base": 32768,
        "channel_max": 512,
        "global_dim": 1024,
        "max_train_steps": 780_000,
        "checkpointing_steps": 2000,
        "validation_steps": 2000,
    }


def adapt() -> dict[str, Any]:
    """InvertFill's encoder trained further on other pictures, its generator frozen (the paper's
    adaptation to other domains). What it gives depends on the pictures; not yet measured.

    python train_accelerate.py --preset adapt --train_data_dir my_photos
        --pretrained_model_name_or_path weights/invertfill-faces-64 --output_dir runs/adapted
    """
    return {
        "method": "invertfill",
        "pretrained_encoder": True,
        "train_batch_size": 8,
        "learning_rate": 1e-4,
        "ema_decay": 0.99,
        "sml_tau": 0.04,
        "max_train_steps": 1000,
        "checkpointing_steps": 250,
        "validation_steps": 250,
    }


PRESETS = {
    f.__name__: f
    for f in (
        faces64_gan,
        faces64_invertfill,
        faces64_psp,
        faces64_psp_own,
        faces64_lahiri,
        faces64_comodgan,
        faces64_dualpath,
        faces128_gan,
        faces128_invertfill,
        faces128_plus,
        faces128_psp,
        faces128_dualpath,
        faces128_dualpath_projected,
        faces256_dualpath_outer,
        faces256_refinement,
        photos128_feedforward,
        faces256_gan,
        faces256_psp,
        faces256_lahiri,
        faces256_dualpath,
        faces256_comodgan,
        paper,
        plus,
        adapt,
    )
}
