"""A Slurm of one node, started for the tests on this machine and stopped after them."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel", "setpriv")
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# No cgroups, no accounting, nothing outside its own folder, nothing but the loopback.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=2 RealMemory=100000
PartitionName=tests Nodes=node Default=YES State=UP
"""


class CannotStart(Exception):
    """Slurm cannot run here; the message says why."""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm: where its files lie, and the environment in which its commands find it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process needs so that it, and the jobs it submits, use this Slurm."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]]),
        }

    def command(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it printed."""
        found = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert found.returncode == 0, f"{command}: {found.stderr}"
        return found.stdout


@contextlib.contextmanager
def started_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a Slurm whose files all lie in a folder; its jobs and daemons end with the block.

    Raises ``CannotStart`` where a program is missing or a daemon does not come up.
    """
    programs = {name: shutil.which(name, path=SEARCHED) for name in PROGRAMS}
    missing = sorted(name for name, path in programs.items() if path is None)
    if missing:
        raise CannotStart(f"there is no {', '.join(missing)} here")
    cluster = Cluster(folder)
    _write_files(cluster, programs["srun"])
    commands = {
        "munged": [
            # --force: the folder may be one that munge finds too open, such as a temporary one.
            *(programs["munged"], "--foreground", "--force"),
            *(f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")),
            f"--socket={folder}/munge.socket",
        ],
        "slurmctld": [programs["slurmctld"], "-D", "-f", f"{folder}/slurm.conf"],
        "slurmd": [programs["slurmd"], "-D", "-N", "node", "-f", f"{folder}/slurm.conf"],
    }
    with contextlib.ExitStack() as stack:
        daemons = {}
        for name, command in commands.items():
            # The kernel ends a daemon should the tests be killed before they can.
            command = [programs["setpriv"], "--pdeathsig", "KILL", *command]
            with open(folder / f"{name}.out", "w") as output:
                daemons[name] = subprocess.Popen(
                    command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
                )
            stack.callback(_stop, daemons[name])
            if name == "munged":
                _wait_for((folder / "munge.socket").exists, daemons, folder)
        _wait_for(lambda: "idle" in _state(cluster), daemons, folder)
        stack.callback(_cancel_all, cluster)
        yield cluster


def _write_files(cluster: Cluster, srun: str) -> None:
    folder = cluster.folder
    for name in ("controller", "node", "bin"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    with socket.socket() as first, socket.socket() as second:
        ports = []
        for found in (first, second):
            found.bind(("127.0.0.1", 0))
            ports.append(found.getsockname()[1])
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            user=getpass.getuser(),
            host=socket.gethostname().partition(".")[0],
            controller_port=ports[0],
            node_port=ports[1],
        )
    )
    # The plugin takes every variable of Slurm from a job before it calls srun, this one too.
    (folder / "bin/srun").write_text(
        f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec {srun} "$@"\n'
    )
    (folder / "bin/srun").chmod(0o755)


def _state(cluster: Cluster) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    environment = {**os.environ, **cluster.environment}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return found.stdout


def _wait_for(condition, daemons: dict[str, subprocess.Popen], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        ended = [name for name, daemon in daemons.items() if daemon.poll() is not None]
        if ended or time.monotonic() > deadline:
            names = ended or list(daemons)
            outputs = [f"{name}: {(folder / f'{name}.out').read_text()[-500:]}" for name in names]
            raise CannotStart(f"{', '.join(names)} did not come up: {' '.join(outputs)}")
        time.sleep(0.5)


def _cancel_all(cluster: Cluster) -> None:
    """End the jobs, whose processes would outlive the daemons."""
    deadline = time.monotonic() + 60
    while ids := cluster.command("squeue", "--noheader", "--format=%i").split():
        assert time.monotonic() < deadline, f"jobs {ids} do not end"
        cluster.command("scancel", *ids)
        time.sleep(1)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
