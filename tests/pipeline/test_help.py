"""Help is answered in a fraction of a second."""

import json
import subprocess
import sys

import pytest

import whole_queue


@pytest.mark.parametrize("exp", whole_queue.BUILT, ids=lambda exp: exp.id)
def test_help_comes_before_heavy_imports(exp):
    code = (
        "import runpy, sys, json; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(json.dumps([m for m in ('torch', 'mlflow', 'numpy', 'pandas') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exp.script],
        cwd=whole_queue.ROOT,
        env=whole_queue.environment(whole_queue.ROOT),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert exp.id in done.stdout and "--profile" in done.stdout
