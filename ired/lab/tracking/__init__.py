"""What MLflow keeps, and how it is found again: store, runs, results.

history.py        Runs as the store has them, of whatever code
mlflow_client.py  All that this project says to MLflow, and the only module that imports it
opening.py        Opens the store through MLflow, which takes seconds to import and is not imported before
result.py         A finished run, read through MLflow: its numbers, criteria, tables, tensors and files
results.py        Finished runs of this checkout's code, found by experiment: what is fresh
stand_ins.py      What stands in the place of an MLflow client: one that waits for a locked store
store.py          Where results are kept, as far as it can be known without importing mlflow (milliseconds)
"""
