"""Named starting points of TrainConfig: each a function whose docstring tells command, machine and result."""


def faces64_gan():
    """StyleGAN2 at 64 px, small enough for a CPU.

    python train_accelerate.py --preset faces64_gan --train_data_dir DATA --output_dir runs/gan
    Measured: docs/RESULTS.md.
    """
    return {
        "method": "stylegan2",
        "resolution": 64,
        "z_dim": 256,
        "w_dim": 256,
        "num_mapping_layers": 4,
        "channel_base": 2048,
        "channel_max": 128,
        "train_batch_size": 16,
        "learning_rate": 2e-3,
        "discr_learning_rate": 2e-3,
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "max_grad_norm": 0.0,
        "ema_decay": 0.995,
        "r1_gamma": 0.3,
        "style_mixing_probability": 0.5,
        "max_train_steps": 5000,
        "checkpointing_steps": 250,
        "validation_steps": 250,
    }


PRESETS = {f.__name__: f for f in (faces64_gan,)}
