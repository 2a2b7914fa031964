"""What a run that goes on may change, and what it may not: the flags of its checkpoint beside its
own.

Order of the data, masks, latents and noise is keyed by seed, step and place in the step: those
flags stay. Everything else takes effect from the next step on, also what optimizers and schedules
keep in their own states.
"""

import hashlib

from inpaint_hub.data import ImageDataset

# Changed, they would give other pictures, or the same ones twice.
FIXED = ("seed", "train_batch_size", "gradient_accumulation_steps", "streaming", "dataset_name")
# What does not bear on the networks: places, names, secrets, how often something is written.
UNSAID = {
    *("output_dir", "train_data_dir", "validation_data_dir", "cache_dir", "logging_dir"),
    *("mask_dir", "pretrained_model_name_or_path", "grow_from", "resume_from_checkpoint"),
    *("hub_token", "hub_model_id", "hub_private_repo", "push_to_hub", "perceptual_network"),
    *("projected_network", "validation_network", "report_to", "tracker_project_name"),
    *("checkpointing_steps", "checkpoints_total_limit", "validation_steps", "logging_steps"),
    *("num_validation_images", "dataloader_num_workers", "threads", "tune_allocator"),
    *("num_train_epochs", "judging_steps", "num_judged_images", "judged_bands", "keep_best"),
    *("revision", "variant", "method", "validation_images", "eval_batch_size"),
}
# What an optimizer's state file holds beside its moments; learning rates are set by the schedule.
SETTINGS = ("initial_lr", "betas", "eps", "weight_decay")


def facts_of(config, pictures):
    """What a checkpoint's manifest says of its run: {"flags": {...}, "data": ...}."""
    flags = {n: v for n, v in vars(config).items() if n in FIXED or n not in UNSAID}
    return {"flags": flags, "data": data_of(pictures)}


def data_of(pictures):
    """How many pictures there are and, of a folder, a digest of their names within it; None for a
    stream. Where the folder lies does not matter."""
    if not isinstance(pictures, ImageDataset):
        return None
    names = "\n".join(pictures.within()).encode("utf-8", "surrogateescape")
    return {"pictures": len(pictures), "names": hashlib.sha256(names).hexdigest()[:16]}


def check_flags(folder, manifest, facts, say=print):
    """Raises: ValueError where the run of the checkpoint had another value of what cannot change.
    What can is said. Checkpoints of before this was recorded are not checked."""
    then, now = manifest.get("flags"), facts["flags"]
    if not isinstance(then, dict):
        return
    for name in FIXED:
        if name in then and then[name] != now[name]:
            raise ValueError(
                f"{str(folder)!r} was written with --{name} {then[name]}, this run has "
                f"{now[name]}: it would not go on with the same pictures and noise; give "
                f"--{name} {then[name]}, or start another run from its weights with "
                "--pretrained_model_name_or_path"
            )
    if manifest.get("data") != facts["data"]:
        raise ValueError(
            f"{str(folder)!r} was trained on other pictures ({told(manifest.get('data'))}) than "
            f"this run ({told(facts['data'])}); give the same ones, or start another run from its "
            "weights with --pretrained_model_name_or_path"
        )
    changed = [f"--{n} {then[n]} -> {now[n]}" for n in now if n in then and then[n] != now[n]]
    if changed:
        say(f"Changed since {folder.name}, from the next step on: {', '.join(changed)}.")


def told(data):
    if not isinstance(data, dict):
        return "a stream"
    return f"{data.get('pictures')} pictures, names {data.get('names')}"


def settings_of(optimizers):
    """The settings of every parameter group, as the flags have them: read before a state is
    loaded."""
    return [[{k: g[k] for k in SETTINGS} for g in one.param_groups] for one in optimizers]


def apply_settings(settings, optimizers, schedulers):
    """Put the flags' settings in the place of those that a loaded state brought; the learning rate
    becomes that of the schedule at its place."""
    for groups, optimizer, scheduler in zip(settings, optimizers, schedulers):
        scheduler = getattr(scheduler, "scheduler", scheduler)  # inside accelerate's
        for group, fresh in zip(optimizer.param_groups, groups):
            group.update(fresh)
        scheduler.base_lrs = [fresh["initial_lr"] for fresh in groups]
        rates = [
            base * shape(scheduler.last_epoch)
            for base, shape in zip(scheduler.base_lrs, scheduler.lr_lambdas)
        ]
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate
        scheduler._last_lr = rates
