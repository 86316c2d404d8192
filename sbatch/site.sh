# What a site changes, and nothing else: lines of name=value, quoted where a value has spaces. After
# a change run `make site`: it writes partitions, account and GPU into the #SBATCH lines beside this.

# Names of the partitions, and the longest job that the first of those with GPUs takes, in hours.
PARTITION_CPU=cpu
PARTITION_GPU_SHORT=gpu_test
PARTITION_GPU_LONG=gpu
SHORT_HOURS=4

# Who pays, where that has to be said.
ACCOUNT=

# How a GPU is asked for: gpu:1, gpu:a100:1 ...
GRES=gpu:1

# What `module load` is given before an experiment: "python/3.12 cuda/12.4"
MODULES=

# A node's own fast disk, for temporary files; each job has a folder there and removes it.
SCRATCH=

# How often a job is requeued at its time limit before it gives up.
RESTARTS=10
