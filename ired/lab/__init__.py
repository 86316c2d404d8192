"""The notebook: command lines, queue, content keys, profiles, and what a script logs into.

arguments.py     Command lines: parameters of experiments, and the options that all commands share
checkpoint.py    Work half done, kept in a file now and then, so that a killed job goes on where it was
command.py       Turns the main function of a script into a command: arguments, freshness, run, ending
content_keys.py  Content keys: the same key means the same result, so that a finished run need not run again
errors.py        Errors that end in one line, because the person who reads them can mend the cause
jobs.py          Jobs of Slurm as they were submitted: the code they must run, and what became of them
lines.py         Lines for a terminal, and what prints them when nobody reads
machine.py       This machine as a run finds it: cores, threads, memory, devices, and what git says of the project
profiles.py      The sizes at which the whole pipeline can run, and nothing else
progress.py      Progress of a long loop: a bar on a terminal, one plain line every half minute elsewhere
provenance.py    Where a run comes from: its experiment, code, machine, packages and upstream runs
queue.py         The experiment queue: reads and checks pipeline.json, the one graph of the project
run.py           What a script holds in its hands: a Run to log into
usage.py         What a run uses of the machine, memory and time, and what memory is left for it
"""
