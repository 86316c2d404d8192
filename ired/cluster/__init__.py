"""Slurm and the tracking server: jobs, staging, delivery.

resources.py   What a job asks Slurm for: partition, time, memory and GPU, by pipeline.json and the names of a site
server.py      The tracking server of this project: for several jobs at once, on this machine or on others
site.py        Writes what sbatch/site.sh says into the #SBATCH lines of the wrappers: make site
slurm.py       What is said to Slurm and what it answers; nothing here knows of experiments
staging.py     Runs whose tracking server is out of reach: what they log waits in mlruns/staging for `make sync`
submission.py  Experiments as jobs of Slurm: the plan that make follows on one machine, submitted as a whole
sync.py        Delivers the runs that wait in mlruns/staging to the store, each once
"""
