#!/usr/bin/env bash
# A long experiment on a GPU:
#
#     sbatch sbatch/gpu_long.sh scripts/62_influence_functions.py --profile paper
#
# Submit from the project's folder. What it prints lies in logs/.
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --time=1-00:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --output=logs/%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
set -euo pipefail
if ! [[ -f pipeline.json && -f Makefile && -d scripts && -f sbatch/job.sh ]]; then
    echo "error: $PWD is not this project: submit from its folder" >&2
    exit 2
fi
. sbatch/job.sh
