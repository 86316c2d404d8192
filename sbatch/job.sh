# What a job does, whichever wrapper it came with: runs a script of this project with its arguments in
# the project's environment. Sourced by the wrappers, in the project's folder, under a strict shell.
#
# Some time before its limit Slurm sends USR1 to this shell alone (--signal=B:). The script is then
# asked to end, which leaves its last checkpoint behind, and the job is requeued to go on from there.

fail() {
    echo "error: $*" >&2
    exit 2
}

# First of all: modules that take long must not leave the signal to the shell, which would die of it.
pid= interrupted= out_of_time=
stop() {
    interrupted=1 out_of_time=1
    [[ -z $pid ]] || kill -TERM "$pid" 2> /dev/null || true
}
trap stop USR1

[[ $# -gt 0 ]] || fail "which script? sbatch sbatch/cpu.sh scripts/01_dataset.py --profile small"
[[ -f $1 ]] || fail "there is no script $1 in $PWD"
. sbatch/site.sh
RESTARTS=${RESTARTS:-10}
[[ $RESTARTS =~ ^[0-9]+$ ]] || fail "RESTARTS is '$RESTARTS' in sbatch/site.sh, not a whole number"
job=${SLURM_JOB_ID:-$$}

if [[ -n $MODULES ]]; then
    set +eu # what a site's own files do is not ours to judge
    type module > /dev/null 2>&1 || . /etc/profile
    module load $MODULES || fail "module load $MODULES: see MODULES in sbatch/site.sh"
    set -eu
fi
python=${IRED_PYTHON:-.venv/bin/python}
command -v "$python" > /dev/null || fail "there is no $python: run 'make setup' first, or set IRED_PYTHON"
if [[ -n $SCRATCH ]]; then
    export TMPDIR=$SCRATCH/ired-$job
    mkdir -p "$TMPDIR" || fail "no folder can be made in $SCRATCH: see SCRATCH in sbatch/site.sh"
    trap 'rm -rf "$TMPDIR"' EXIT
fi
export PYTHONUNBUFFERED=1 PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH}
export IRED_THREADS=${IRED_THREADS:-${SLURM_CPUS_PER_TASK:-}}

# scancel sends TERM to the script as well as to this shell, which must not end before the script.
trap interrupted=1 TERM

echo "$(date '+%F %T') job $job on $(uname -n), ${SLURM_RESTART_COUNT:-0} restarts: $*"
status=143
if [[ -z $out_of_time ]]; then
    "$python" "$@" &
    pid=$!
    [[ -z $out_of_time ]] || stop # it came while there was no pid yet
    while
        interrupted= status=0
        wait "$pid" || status=$?
        [[ -n $interrupted ]] # a signal ended the wait and not the script
    do :; done
fi

# 143: it ended because it was asked to. One that was done just then, or failed, needs no other start.
if [[ -n $out_of_time && $status -eq 143 && -n ${SLURM_JOB_ID:-} ]]; then
    if ((${SLURM_RESTART_COUNT:-0} >= 10#$RESTARTS)); then
        fail "stopped before its time limit after $RESTARTS restarts: submit it again with a longer limit"
    fi
    echo "$(date '+%F %T') stopped before its time limit: requeued, to go on from its last checkpoint"
    scontrol requeue "$SLURM_JOB_ID" || fail "Slurm does not requeue it: submit it again by hand"
fi
exit "$status"
