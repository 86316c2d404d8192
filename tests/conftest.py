"""What all tests share: few threads, no window system, nothing sent anywhere."""

import os

os.environ["IRED_THREADS"] = os.environ.get("IRED_THREADS", "2")
os.environ["OMP_NUM_THREADS"] = os.environ["IRED_THREADS"]
os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a test never writes into somebody's store
