"""A real Slurm on one machine, for tests and for trying: two virtual nodes, one fake GPU each.

    python tests/cluster/slurm.py FOLDER

starts it in the foreground, says how to use it, and ends it at Ctrl-C. Debian's packages, installed if
they are missing (as root). Everything lies in one folder that others cannot enter, on ports that were
free; nothing of a Slurm, munge or MariaDB that the machine may have is touched, no systemd, no cgroups.

gpu_test has a limit of 4 hours, gpu and cpu of 3 days; what a partition refuses, sbatch refuses.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

PACKAGES = [
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server",
]
PROGRAMS = ["slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "mariadb-install-db"]
NODES = ("n1", "n2")
# What a job is in while it may still change.
UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED")

SLURM_CONF = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# How long a requeued job waits before it starts again: 120 s if nothing is said.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
EnforcePartLimits=ALL
KillWait=5
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=8 RealMemory=64000 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=8 RealMemory=64000 Gres=gpu:1
PartitionName=cpu Nodes=n[1-2] MaxTime=3-00:00:00 DefMemPerCPU=1000 Default=YES
PartitionName=gpu_test Nodes=n[1-2] MaxTime=04:00:00 DefMemPerCPU=1000
PartitionName=gpu Nodes=n[1-2] MaxTime=3-00:00:00 DefMemPerCPU=1000
"""
ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
"""
SLURMDBD_CONF = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
"""


class Unavailable(Exception):
    """Why there can be no Slurm on this machine."""


def install() -> None:
    """Install what is missing of Debian's packages; Unavailable says why that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("only root can install and start a Slurm")
    # Debian keeps daemons where only root's PATH may look.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    if all(map(shutil.which, PROGRAMS)):
        return
    if not shutil.which("apt-get"):
        raise Unavailable("Slurm is not installed, and there is no apt-get to install it with")
    with open(Path(tempfile.gettempdir()) / "ired-apt.lock", "w") as lock, no_services():
        fcntl.flock(lock, fcntl.LOCK_EX)
        get = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300"]
        wanted = [*get, "install", "--no-install-recommends", *PACKAGES]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.CompletedProcess(wanted, 1)
        for words in (wanted, [*get, "update"], wanted):
            if done.returncode or words[-1] == "update":
                done = subprocess.run(words, env=environment, capture_output=True, text=True)
            else:
                break
    if not all(map(shutil.which, PROGRAMS)):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"apt-get could not install Debian's Slurm: {last}")


@contextmanager
def no_services() -> Iterator[None]:
    """Debian starts a daemon when its package is installed, unless this file says no."""
    path = Path("/usr/sbin/policy-rc.d")
    if path.exists():
        yield
        return
    path.write_text("#!/bin/sh\nexit 101\n")
    path.chmod(0o755)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class Slurm:
    """A Slurm that runs between `start()` and `stop()`, or inside `with`.

    Its daemons get SIGTERM when the thread that started them ends, so that nothing outlives a test
    that was killed.
    """

    def __init__(self, folder: Path, accounting: bool = True) -> None:
        self.folder = folder.resolve()
        self.accounting = accounting
        self.daemons: dict[str, subprocess.Popen] = {}
        others = ("SLURM", "SBATCH", "SQUEUE", "MAKE", "MFLAGS")  # another cluster's, and a make's that runs the tests
        mine = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        self.env = mine | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    # Use

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        """A command in this Slurm, to its end: run("squeue", "--noheader"). `env` adds variables."""
        env = self.env | options.pop("env", {})
        return subprocess.run(
            list(map(str, words)),
            env=env,
            text=True,
            capture_output=True,
            timeout=options.pop("timeout", 120),
            **options,
        )

    def ask(self, *words: str, **options) -> str:
        """What a command that must not fail prints."""
        done = self.run(*words, **options)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def submit(self, *words: str, **options) -> str:
        """The number of a job: submit("--time=1", "job.sh", cwd=folder)."""
        return self.ask("sbatch", "--parsable", *words, **options).strip()

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows about a job: JobState, Reason, ExitCode, Restarts, NodeList …"""
        text = self.ask("scontrol", "--oneliner", "show", "job", number)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def until(self, number: str, is_so: Callable[[dict[str, str]], bool], seconds: float = 60) -> dict[str, str]:
        """Wait until something is so of a job."""
        end = time.monotonic() + seconds
        while not is_so(job := self.job(number)):
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds} s job {number} is {job['JobState']} ({job['Reason']})")
            time.sleep(0.2)
        return job

    def wait(self, number: str, seconds: float = 60) -> dict[str, str]:
        """Wait for the end of a job."""
        return self.until(number, lambda job: job["JobState"] not in UNFINISHED, seconds)

    def cancel_all(self) -> None:
        """No job is left, and no process of one."""
        mine = ("scancel", "--quiet", "--user=root")
        for words in ((*mine, "--state=PENDING"), (*mine, "--signal=KILL", "--full"), mine):
            self.run(*words)
        _until(lambda: not self.ask("squeue", "--noheader"), 20, "the jobs do not end")

    # Start and stop

    def __enter__(self) -> Slurm:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        folder = self.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(f"{folder}/mariadb/socket") > 107:
            raise ValueError(f"sockets have short names: take a shorter folder than {folder}")
        self._configure(_free_ports("slurmctld", "slurmdbd", *NODES))
        # --force: it would rather have its socket where every user may come.
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munge.seed",
            "--num-threads=2",
        )
        if self.accounting:
            self._start_accounting()
        self._wait_for("munged", (folder / "munge.socket").exists)
        self._daemon("slurmctld", "-D", "-i")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node, name=node)
        self._wait_for("slurmctld", self._nodes_are_idle)

    def stop(self) -> None:
        if self._runs("slurmctld"):
            with suppress(Exception):
                self.cancel_all()
        for name in (*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            if name in self.daemons:
                _end(self.daemons.pop(name))
        for pid in self._left_over():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _configure(self, ports: dict[str, int]) -> None:
        folder = self.folder
        words = {"folder": folder, "host": socket.gethostname().split(".")[0], **ports}
        text = SLURM_CONF + ACCOUNTING if self.accounting else SLURM_CONF
        (folder / "slurm.conf").write_text(text.format(**words))
        _private(folder / "slurmdbd.conf", SLURMDBD_CONF.format(**words).encode())
        if not (folder / "munge.key").exists():
            _private(folder / "munge.key", os.urandom(128))
        lines = []
        for node in NODES:
            (folder / node).mkdir(exist_ok=True)
            device = folder / f"{node}-gpu0"
            if not device.exists():
                try:
                    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
                except PermissionError:
                    raise Unavailable("not even root can make a device here, so no fake GPU") from None
            lines.append(f"NodeName={node} Name=gpu File={device}\n")
        (folder / "gres.conf").write_text("".join(lines))
        (folder / "state").mkdir(exist_ok=True)

    def _start_accounting(self) -> None:
        """MariaDB behind a socket in a folder that is closed to others, so without passwords."""
        base = self.folder / "mariadb"
        base.mkdir(mode=0o700, exist_ok=True)
        options = [
            "--no-defaults",
            f"--datadir={base}/data",
            "--user=root",
            "--innodb-log-file-size=4M",
            "--innodb-buffer-pool-size=16M",
        ]
        if not (base / "data").exists():
            self.ask(
                "mariadb-install-db",
                *options,
                "--skip-test-db",
                "--skip-name-resolve",
                "--auth-root-authentication-method=normal",
            )
        self._daemon(
            "mariadbd",
            *options,
            "--skip-networking",
            "--skip-grant-tables",
            f"--socket={base}/socket",
            f"--pid-file={base}/pid",
        )
        self._wait_for("mariadbd", lambda: _answers(base / "socket"))
        self._daemon("slurmdbd", "-D", MYSQL_UNIX_PORT=f"{base}/socket")
        self._wait_for("slurmdbd", lambda: self.run("sacctmgr", "-n", "show", "cluster").returncode == 0)

    def _daemon(self, program: str, *words: str, name: str = "", **env: str) -> None:
        name = name or program
        with open(self.folder / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                [program, *words],
                env=self.env | env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _runs(self, name: str) -> bool:
        return name in self.daemons and self.daemons[name].poll() is None

    def _wait_for(self, name: str, is_there: Callable[[], bool]) -> None:
        def check() -> bool:
            if not self._runs(name):
                said = (self.folder / f"{name}.out").read_text(errors="replace")[-1000:]
                raise RuntimeError(f"{name} ended while it started: {said}")
            return is_there()

        _until(check, 60, f"{name} does not answer: see {self.folder}")

    def _nodes_are_idle(self) -> bool:
        done = self.run("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%T")
        return done.stdout.split() == ["idle"] * len(NODES)

    def _left_over(self) -> list[int]:
        """Processes of jobs and the keepers of their steps, which outlive daemons; nothing that somebody
        started with SLURM_CONF in his own shell."""
        mark = f"SLURM_CONF={self.env['SLURM_CONF']}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (path / "environ").read_bytes().split(b"\0")
                of_a_job = any(word.startswith(b"SLURM_JOB_ID=") for word in environment)
                keeper = (path / "comm").read_text() == "slurmstepd\n"
                if mark in environment and (of_a_job or keeper) and int(path.name) != os.getpid():
                    found.append(int(path.name))
        return found


def _until(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def _free_ports(*names: str) -> dict[str, int]:
    """A free port each, below those which the system gives to outgoing connections; drawn anew by
    every process, so that two that start at once hardly meet."""
    ports: dict[str, int] = {}
    draw = random.SystemRandom()
    while len(ports) < len(names):
        port = draw.randrange(20_000, 32_000)
        with closing(socket.socket()) as test, suppress(OSError):
            test.bind(("127.0.0.1", port))
            if port not in ports.values():
                ports[names[len(ports)]] = port
    return ports


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as test:
        return test.connect_ex(str(path)) == 0


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER (where everything that it writes will lie)")

    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ctrl_c)
    signal.signal(signal.SIGINT, ctrl_c)  # which a shell lets its background jobs ignore
    try:
        install()
        with suppress(KeyboardInterrupt), Slurm(Path(arguments[0])) as slurm:
            print(
                f"A Slurm with the nodes {' and '.join(NODES)}. In another terminal:\n\n"
                f"    export SLURM_CONF={slurm.env['SLURM_CONF']}\n    sinfo\n\n"
                "Ctrl-C ends it and every job in it.",
                flush=True,
            )
            while True:
                time.sleep(60)
    except Unavailable as why:
        sys.exit(f"error: {why}")


if __name__ == "__main__":
    main(sys.argv[1:])
