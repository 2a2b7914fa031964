"""Training runs in processes of their own, which tests may kill: used by test_resume.py and
test_processes.py."""

import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRELOADED = ["inpaint_hub.training.loop", "inpaint_hub.training.stylegan2"]
PRELOADED += ["inpaint_hub.training.inversion", "inpaint_hub.training.dualpath"]
PATHS = [str(ROOT), str(ROOT / "tests")]

TINY = {
    "resolution": 32,
    "z_dim": 8,
    "w_dim": 8,
    "num_mapping_layers": 1,
    "channel_base": 128,
    "channel_max": 8,
    "backbone_width": 8,
    "style_channels": 8,
    "structure_channels": 8,
    "inpainter_channels": 4,
    "patch_channels": 4,
    "train_batch_size": 2,
    "checkpointing_steps": 1,
    "max_train_steps": 5,
    "validation_steps": 100,
    "num_validation_images": 1,
    "report_to": "jsonl",
}


def fields(place, output_dir, method="stylegan2", **others):
    chosen = {**TINY, "method": method, "train_data_dir": str(place / "pictures")}
    if method != "stylegan2":
        chosen |= {
            "pretrained_model_name_or_path": str(place / "gan"),
            "perceptual_network": str(place / "network.safetensors"),
        }
    if method in ("feedforward", "refinement"):
        alone = method == "feedforward"
        chosen |= {
            "pretrained_model_name_or_path": "" if alone else str(place / "psp"),
            "resolution": TINY["resolution"] * (1 if alone else 2),
            "adversarial_weight": 0.1,
            "discriminator": "patch",
            "r1_gamma": 0.0,
            "projected_weight": 0.2,
            "known_is_real": True,
        }
    if method == "dualpath":
        chosen |= {
            "pretrained_model_name_or_path": str(place / "psp"),
            "adversarial_weight": 0.1,
            "discriminator": "patch",
            "r1_gamma": 0.0,
        }
    return {**chosen, "output_dir": str(output_dir), **others}


def start(fields, num_processes=1, **options):
    """Processes that run train(TrainConfig(**fields)) together, one per rank.

    options: those of `run_rank`.
    """
    paths = [*PATHS, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    context = multiprocessing.get_context("forkserver")  # the imports are paid for once
    context.set_forkserver_preload(PRELOADED)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes = [
        context.Process(target=run_rank, args=(fields, rank, num_processes, port), kwargs=options)
        for rank in range(num_processes)
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes, timeout=600):
    """Wait for all; returns their exit codes."""
    for process in processes:
        process.join(timeout)
    codes = [process.exitcode for process in processes]
    kill(processes)
    return codes


def kill(processes):
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()


def run_rank(
    fields,
    rank,
    num_processes,
    port,
    die_at=None,
    count_file=None,
    largest_file=None,
    rank_1_fields=None,
):
    """die_at: SIGKILL this process at its n-th touch of a checkpoint (a file opened, a folder made,
    renamed or removed); count_file: where the number of touches is written at the end;
    largest_file: bytes a file may have from the second checkpoint on; rank_1_fields: those of the
    second process, where they differ."""
    fields = rank_1_fields if rank == 1 and rank_1_fields else fields
    if num_processes > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(num_processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true",
        }
    import torch

    from inpaint_hub.training import TrainConfig, train

    # As in a run of its own; else loading workers would belong to a fork server of this process,
    # and outlive it when it is killed.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    log = open(Path(fields["output_dir"]).parent / f"rank-{rank}.log", "a")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    touches = watch_checkpoints(fields["output_dir"], die_at, largest_file)
    try:
        train(TrainConfig(**fields))
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if count_file:
        Path(count_file).write_text(str(touches[0]))


def watch_checkpoints(output_dir, die_at, largest_file):
    """Count what happens to checkpoint folders, through Python's audit events."""
    touches, watched = [0], ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove")

    def hook(event, arguments):
        if event not in watched or "checkpoint-" not in str(arguments[0]):
            return
        if not os.path.isabs(str(arguments[0])) or output_dir in str(arguments[0]):
            touches[0] += 1
            if touches[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if largest_file and event == "os.mkdir" and "checkpoint-2" in str(arguments[0]):
                import resource

                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    sys.addaudithook(hook)
    return touches
