"""What the Makefile's targets call, one module each.

clean.py             Removes what can be made again in moments: caches, generated rules, finished work folders
doctor.py            What is wrong with this machine, one line each, with what to do about it
environment.py       Makes the virtual environment that everything runs in
experiments_page.py  docs/experiments.md, a table for each phase
keep_model.py        Copies the model that a run of SETUP-3 trained into the project, with its provenance beside it
make_rules.py        Writes the make rules for the goals of one call of make
measured.py          Writes into pipeline.json what the finished runs of a profile took
status.py            The queue as a table: what is done, what it took beside the estimate, what it found
ui.py                The MLflow UI on this project's store: loopback only, one worker, no job execution
"""
