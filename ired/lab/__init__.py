"""The notebook: queue, keys, MLflow tracking, and the helper that makes a script a command."""
