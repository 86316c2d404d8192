"""Scripts in processes forked from one that has imported the heavy libraries already.

A script costs four seconds of imports on a slow core and often less than one of work. What is shared
here is third-party code alone: each script imports `ired` anew from its own folder, with its own
arguments, working folder, standard streams and exit status.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys

# Read when mlflow is imported, which is before ired.lab.tracking.mlflow_client says so here.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
LIBRARIES = [
    "torch",
    "torch._dynamo",  # comes with the first optimiser
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "pyarrow.parquet",
    "safetensors.torch",
    "seaborn",
    "matplotlib.backends.backend_svg",
    "sklearn.linear_model",
    "captum.attr",
    "ot",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(LIBRARIES)


def run(folder, script, words, environment, captured, limit=300):
    """What subprocess.run(…, capture_output=True, text=True) gives, for `python script words…` in
    folder, or `python -m script words…` where script is no file; the streams go through two files
    whose names begin with `captured`. Raises subprocess.TimeoutExpired after `limit` seconds."""
    out, err = f"{captured}.out", f"{captured}.err"
    process = _CONTEXT.Process(target=_be, args=(str(folder), script, list(words), environment, out, err))
    process.start()
    process.join(limit)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired([script, *words], limit)
    with open(out) as stdout, open(err) as stderr:
        return subprocess.CompletedProcess([script, *words], process.exitcode, stdout.read(), stderr.read())


def _be(folder, script, words, environment, out, err):
    for stream, name in ((1, out), (2, err)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    sys.stdout, sys.stderr = (open(stream, "w", closefd=False) for stream in (1, 2))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    assert not [name for name in sys.modules if name.split(".")[0] == "ired"]
    sys.path[0:0] = [folder]
    sys.argv = [script, *words]
    sys.dont_write_bytecode = False  # all scripts of a folder share its modules
    if script.endswith(".py"):
        runpy.run_path(script, run_name="__main__")
    else:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
