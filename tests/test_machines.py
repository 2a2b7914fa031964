"""Two machines, each with a launcher of its own, train like one process with twice the batch.

The machines are two network namespaces joined by a cable (Linux, as root), and two addresses of the
loopback where those are not permitted. Minutes: pytest -m slow tests/test_machines.py
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_processes import RUN, gradients
from training_runs import fields, finish, start

ROOT = Path(__file__).parent.parent
BOUND = 600  # seconds for whatever is waited for; nothing is decided by how long it takes


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module", params=["addresses", "namespaces"])
def machines(request):
    """[(what comes before a command, address, network interface, torchrun's flags)] of two
    machines."""
    if request.param == "addresses":
        yield [([], "127.0.0.1", "lo", []), ([], "127.0.0.2", "lo", [])]
        return
    names, ends = ("inpaint_a", "inpaint_b"), ("cable_a", "cable_b")
    addresses = ("10.213.7.1", "10.213.7.2")
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            ends[1],
            "netns",
            names[1],
        )
        for name, end, address in zip(names, ends, addresses):
            ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            for device in (end, "lo"):
                ip("-n", name, "link", "set", device, "up")
        # Their names say nothing of their addresses: torchrun has to be told who keeps the store.
        hosts = [[f"--rdzv_conf=is_host={is_host}"] for is_host in (1, 0)]
        commands = [["ip", "netns", "exec", name] for name in names]
        yield list(zip(commands, addresses, ends, hosts))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are not permitted here: {error}")
    finally:
        if shutil.which("ip"):
            for name in names:
                subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def launch(machines, run, folder):
    """A torchrun on each machine, which find each other by c10d's rendezvous on the first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    flags = [x for name, value in run.items() for x in (f"--{name}", str(value))]
    launched = []
    for number, (prefix, address, interface, own) in enumerate(machines):
        command = [*prefix, sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
        command += ["--nproc_per_node=1", "--rdzv_backend=c10d", "--rdzv_id=run"]
        command += [f"--rdzv_endpoint={machines[0][1]}:{port}", f"--local_addr={address}"]
        command += [*own, "--max_restarts=0", str(ROOT / "train_accelerate.py"), *flags]
        log = open(folder / f"machine-{number}.log", "a")
        settings = {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": interface}
        settings |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        launched.append(
            psutil.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
        )
    return launched


def pull_the_plug(machine):
    """SIGKILL to everything that a machine runs."""
    for process in [machine, *machine.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)


def ended(machines):
    """Exit statuses; nothing goes on running."""
    try:
        return [machine.wait(BOUND) for machine in machines]
    finally:
        for machine in machines:
            if machine.is_running():
                pull_the_plug(machine)


def told(folder):
    return "\n".join(file.read_text() for file in sorted(folder.glob("machine-*.log")))


def weights(run):
    return load_file(Path(run) / "gan" / "model.safetensors")


@pytest.mark.slow
def test_two_machines_train_like_one_process_also_when_one_is_lost(place, tmp_path, machines):
    options = {**RUN, "max_train_steps": 5, "checkpoints_total_limit": 9, "path_length_weight": 0.0}
    for name in ("one", "whole", "lost"):
        (tmp_path / name).mkdir()
    run = fields(place, tmp_path / "whole" / "run", train_batch_size=2, **options)
    assert ended(launch(machines, run, tmp_path / "whole")) == [0, 0], told(tmp_path / "whole")

    one = {**options, "max_train_steps": 1, "train_batch_size": 4}
    assert finish(start(fields(place, tmp_path / "one" / "run", **one))) == [0]
    for ours, theirs in zip(
        gradients(tmp_path / "whole" / "run"), gradients(tmp_path / "one" / "run"), strict=True
    ):
        largest = float(max(g.abs().max() for g in theirs))
        assert largest > 0
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * largest)

    run["output_dir"] = str(tmp_path / "lost" / "run")
    launched = launch(machines, run, tmp_path / "lost")
    deadline = time.monotonic() + BOUND
    while not (tmp_path / "lost/run/checkpoint-2").exists() and time.monotonic() < deadline:
        assert launched[0].poll() is None, told(tmp_path / "lost")
        time.sleep(0.002)
    pull_the_plug(launched[1])
    codes = ended(launched)  # the other does not wait for ever
    assert codes[0] not in (0, None) and codes[1] == -signal.SIGKILL
    assert not (tmp_path / "lost" / "run" / "model_index.json").exists()
    again = launch(machines, {**run, "resume_from_checkpoint": "latest"}, tmp_path / "lost")
    assert ended(again) == [0, 0], told(tmp_path / "lost")
    assert "Resumed from" in told(tmp_path / "lost")
    ours, whole = weights(tmp_path / "lost" / "run"), weights(tmp_path / "whole" / "run")
    assert ours.keys() == whole.keys() and all(torch.equal(ours[k], whole[k]) for k in ours)


def batch_script():
    """The Slurm script of docs/SCALE.md."""
    page = (ROOT / "docs" / "SCALE.md").read_text()
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    return script


def test_the_slurm_script_of_the_docs_starts_one_launcher_on_each_node():
    script = batch_script()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", script, re.MULTILINE))
    assert options["ntasks-per-node"] == "1" and int(options["nodes"]) > 1
    assert f"--nproc_per_node={options['gpus-per-node']}" in script
    assert options["signal"].startswith("TERM@")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.slow
def test_slurm_takes_the_script_of_the_docs(tmp_path):
    """Needs a running slurmctld that knows a partition with two nodes of GPUs."""
    if not shutil.which("sbatch") or subprocess.run(["scontrol", "ping"]).returncode:
        pytest.skip("no Slurm controller answers here")
    (tmp_path / "train.sbatch").write_text(batch_script())
    done = subprocess.run(
        ["sbatch", "--test-only", str(tmp_path / "train.sbatch")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "to start at" in done.stderr
