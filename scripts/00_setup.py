"""SETUP-1: is this machine ready?

Makes the store and writes down what results will have been made with: processor, memory, GPU,
disk, threads, package versions, and whether float64 linear algebra is accurate here. Against:
a library that inverts well-conditioned matrices with an error far above rounding.
"""

from ired.lab.command import command


@command(
    "SETUP-1",
    criteria={
        "linear_algebra_accurate": "inverting 1000 problems of side 20 in float64 leaves "
        "‖AY − I‖ below 1e-10 · κ(A) for each",
    },
)
def main(run):
    import os
    import platform
    import shutil
    import sys

    import torch

    from ired.model import problems

    A = problems.draw(1000, 20, 0.5, problems.generator(0, "setup"), torch.float64)
    eye = torch.eye(20, dtype=torch.float64)
    residual = torch.linalg.matrix_norm(A @ problems.inverse(A) - eye)
    worst = (residual / problems.properties(A)["condition_number"]).max().item()

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    report = {
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torch_built_for": torch.version.cuda or "cpu",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages / 2**30, 1),
        "disk_free_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "gpu": gpu.name if gpu else None,
        "gpu_memory_gib": round(gpu.total_memory / 2**30, 1) if gpu else None,
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
    }
    run.json("environment", report)
    run.metrics({k: v for k, v in report.items() if isinstance(v, int | float)})
    for name, value in report.items():
        print(f"  {name:20} {value}")
    run.criterion("linear_algebra_accurate", worst < 1e-10, worst_error_per_condition=worst)
    run.headline("inversion error / κ(A)", worst)


if __name__ == "__main__":
    main()
