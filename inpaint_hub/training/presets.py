"""Named starting points of TrainConfig: each docstring tells the command; docs/RESULTS.md what it
gave."""

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
    "train_batch_size": 8,
    "learning_rate": 8e-4,
    "lr_scheduler": "cosine",
    "lr_warmup_steps": 100,
    "ema_decay": 0.995,
    "max_train_steps": 2000,
    "checkpointing_steps": 250,
    "validation_steps": 250,
}


def faces64_gan():
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
        "style_mixing_probability": 0.5,
        "max_train_steps": 4000,
        "checkpointing_steps": 250,
        "validation_steps": 250,
    }


def faces64_invertfill():
    """InvertFill on the generator of `faces64_gan`.

    python train_accelerate.py --preset faces64_invertfill --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan --output_dir runs/invertfill
        --perceptual_network squeezenet1_1.safetensors
    """
    return {**SMALL_ENCODER, "method": "invertfill", "backbone_width": 32}


def faces64_psp():
    """pSp on the generator of `faces64_gan`.

    python train_accelerate.py --preset faces64_psp --train_data_dir DATA
        --pretrained_model_name_or_path runs/gan --output_dir runs/psp
        --perceptual_network squeezenet1_1.safetensors
    """
    return {**SMALL_ENCODER, "method": "psp", "backbone_width": 32}


PRESETS = {f.__name__: f for f in (faces64_gan, faces64_invertfill, faces64_psp)}
