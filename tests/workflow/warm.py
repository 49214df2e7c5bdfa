"""Commands that cost no imports: Snakemake, its jobs and DVC, forked from a process that has them.

Of a run of the test study most is spent on imports: each of its twenty jobs is a process that
imports torch or pandas, and Snakemake with its plugins takes longer to import than to plan. Here
each is a process of its own as well, with its own folder, environment and output, but a fork of one
that has imported their libraries; fits of one in which R has loaded its packages, too. Neither has
imported anything of the project: each copy has its own. They serve all processes of a test run.

Tests of how a study starts, runs and ends as a user's does (killed, in an odd folder, on a cluster,
byte for byte) call the commands themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# What the commands were seen to import, and the jobs of the test study.
_IMPORTED = (
    "snakemake.cli",
    "snakemake.script",
    "smart_open",
    "yaml",
    "dvc.cli.parser",
    "dvc.repo",
)
_IMPORTED += ("jinja2", "pandas", "pydantic", "safetensors.torch", "scipy.stats", "torch")
_IMPORTED += ("matplotlib.figure", "matplotlib.backends.backend_agg", "statsmodels.api")
_PLUGINS = ("snakemake_executor_plugin_", "snakemake_logger_plugin_", "snakemake_storage_plugin_")
_COMMANDS = {"snakemake": "snakemake.cli", "dvc": "dvc.cli"}
# Of pymer4, which starts R, the copy under test says how it is imported.
_BESIDE_R = ("formulae", "great_tables", "polars")
# Whatever else runs Python gets Python.
_SCRIPTS = Path(__file__).resolve().parents[2].joinpath("workflow/scripts").glob("*.py")
_NAMES = sorted(path.stem for path in _SCRIPTS)

_LAUNCHER = """#!{python} -IS
import json, os, socket, sys
program = "".join(sys.argv[1:2])
if os.path.basename(sys.argv[0]) == "python" and not program.endswith({scripts}):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
call = {{"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({folder!r} + ("/fits" if program.endswith(".fit.py") else "/socket"))
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(call).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(9) or 137))  # killed: nothing was said
"""
# Linux's names and numbers (sys/personality.h, sys/prctl.h).
_ADDR_NO_RANDOMIZE = 0x0040000
_PR_SET_PDEATHSIG = 1


@functools.cache
def commands() -> str:
    """Return a folder of commands that are forked, and start what they are forked from.

    It ends with the test run: with this process, or with that which shares tests out.
    """
    shared = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    run = os.getppid() if shared else os.getpid()
    if shared:
        folder = Path(tempfile.gettempdir()) / f"warm-{shared}"
        folder.mkdir(exist_ok=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="warm-"))
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "snakemake").exists():
            _start(folder, run)
    return str(folder)


def _start(folder: Path, run: int) -> None:
    """Start what commands are forked from, and then write the commands."""
    # As Snakemake says it to each job; libraries read it when they are imported.
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    libc = ctypes.CDLL(None)
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(run)],
        env={**os.environ, **one, "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        # A fit need not start itself anew, at fixed addresses.
        preexec_fn=lambda: libc.personality(_ADDR_NO_RANDOMIZE),
    )
    while not (folder / "socket").exists():
        assert server.poll() is None, "what commands are forked from does not start"
        time.sleep(0.02)
    scripts = tuple(f".{name}.py" for name in _NAMES)
    text = _LAUNCHER.format(python=sys.executable, scripts=scripts, folder=str(folder))
    for name in ("python", *_COMMANDS):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def _serve(folder: Path, run: int) -> None:
    """Fork for each call of a command, and end with the process ``run``."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    plugins = (module.name for module in pkgutil.iter_modules())
    _import(*_IMPORTED, *(name for name in plugins if name.startswith(_PLUGINS)))
    _load_numba()
    with socket.socket(socket.AF_UNIX) as of_fits, socket.socket(socket.AF_UNIX) as server:
        of_fits.bind(str(folder / "fits"))
        of_fits.listen()
        if os.fork() == 0:
            server.close()
            _serve_fits(of_fits)
        of_fits.close()
        server.bind(str(folder / "socket"))
        server.listen()
        while Path(f"/proc/{run}").exists():
            if select.select([server], [], [], 1)[0]:
                _fork_for(server)
    shutil.rmtree(folder)


def _load_numba() -> None:
    """Import Numba, and what it gets ready when it first compiles, which takes most of the time."""
    from numba import njit

    njit(lambda x: x)(1.0)
    gc.freeze()


def _serve_fits(server: socket.socket) -> NoReturn:
    """Fork for each call of a fit, and end with the process that this one was forked from."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    select.select([server], [], [])
    if shutil.which("Rscript"):  # else the fit itself says what is missing
        _load_r()
    while True:
        _fork_for(server)


def _load_r() -> None:
    """Start R as fits do, and load its packages."""
    _import(*_BESIDE_R)
    os.environ["RPY2_CFFI_MODE"] = "ABI"
    settings = ("R_PROFILE", "R_PROFILE_USER", "R_ENVIRON", "R_ENVIRON_USER")
    os.environ.update(dict.fromkeys(settings, os.devnull))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # R calls programs while it loads
    from rpy2.rinterface_lib import embedded

    embedded.set_initoptions(("rpy2", "--quiet", "--vanilla"))
    from rpy2.robjects import r

    r("{ loadNamespace('lmerTest'); La_version() }")  # which loads LAPACK; forks know no R_HOME
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _import(*names: str) -> None:
    """Import modules, which stay: garbage collections, of which there are few, leave them out."""
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def _fork_for(server: socket.socket) -> None:
    """Fork for the next call."""
    connection, _ = server.accept()
    with connection:
        if os.fork() == 0:
            server.close()
            _answer(connection)


def _answer(connection: socket.socket) -> None:
    """Be the command that was called, tell how it ended, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as call:
        said = json.load(call)
    status = 0
    try:
        _become(said["arguments"], said["folder"], said["environment"], files)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    # As at the end of a process that was not forked.
    with contextlib.suppress(Exception):
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    connection.sendall(str(status).encode())
    os._exit(0)


def _become(
    arguments: list[str], folder: str, environment: Mapping[str, str], files: Sequence[int]
) -> None:
    """Run a command where it was called, with what Python would have given to it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # Python reads this when it starts.
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    launcher, *rest = arguments
    name = Path(launcher).name
    program = rest[0] if name == "python" else str(Path(sys.executable).with_name(name))
    named = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    roots = (sys.base_prefix, sys.prefix)
    own = [path for path in sys.path if any(Path(path).is_relative_to(root) for root in roots)]
    sys.path[:] = [str(Path(program).parent), *named, *own]
    sys.argv[:] = rest if name == "python" else [program, *rest]
    assert not [name for name in sys.modules if name.startswith("recall_distortion")]
    if name == "python":
        runpy.run_path(program, run_name="__main__")
    else:
        sys.executable = str(Path(launcher).with_name("python"))  # runs its jobs
        sys.exit(importlib.import_module(_COMMANDS[name]).main())


if __name__ == "__main__":
    sys.path.pop(0)  # modules of this folder are not what is imported
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
