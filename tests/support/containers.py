"""docker-compose.yaml without Docker: its services as processes that are given what Compose would give them.

Each has a mount namespace of its own (a read-only root, the service's tmpfs, volumes and secrets, nothing else that can
be written), the user of its image, no capabilities and no way to new ones, and the environment of the file. All are in
one network namespace with a loopback, where the services' names lead to; which of them reach each other, and the limits
of memory and processors, are Docker's to hold and are not tried here. The programs are this environment's, not those of
the images.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from invoicing.stack.postgres import programs
from support.project import PLUGINS, ROOT
from support.waiting import wait_until

# The users of the images.
AIRFLOW = (50000, 0)
POSTGRES = (999, 999)
_END_SECONDS = 30
_SETTINGS = {"AIRFLOW_ADMIN_USER": "admin", "AIRFLOW_ADMIN_EMAIL": "admin@agency.test"}


def can_confine() -> bool:
    """Whether this machine lets us make namespaces: as root, and where the kernel does."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv", "ip"))):
        return False
    trial = "mount --bind /mnt /mnt && mount -o remount,ro,bind /mnt && ip link set lo up"
    command = ["unshare", "--mount", "--net", "sh", "-c", trial]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Containers:
    """The services of docker-compose.yaml.

    Args:
        folder: For volumes, secrets and the image.
        network: The process that holds the network namespace.
    """

    def __init__(self, folder: Path, network: int) -> None:
        self.folder = folder
        self.mailbox = folder / "mailbox"
        self._network = network
        self._services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))[
            "services"
        ]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare()

    def start(self, name: str) -> None:
        """Start a service with its own command."""
        service = self._services[name]
        command = ["airflow", *service["command"]]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(self._confined(name, command), stdout=log, stderr=log)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container and wait for it; its own where none is given."""
        service = self._services[name]
        words = [*service.get("entrypoint", []), *(command or service["command"])]
        return subprocess.run(
            self._confined(name, words), capture_output=True, text=True, check=False, timeout=1500
        )

    def start_postgres(self) -> None:
        """PostgreSQL as its image starts it the first time: superuser by file, then our script for the databases."""
        data, sockets = self.folder / "postgres", self.folder / "sockets"
        for path in (data, sockets):
            path.mkdir()
            os.chown(path, *POSTGRES)
        server = [str(programs() / "postgres"), "-D", str(data), "-k", str(sockets), "-c", "fsync=off"]
        superuser = f"--pwfile={self._readable_by_postgres('postgres_password')}"
        initdb = [str(programs() / "initdb"), "-D", str(data), "-U", "postgres", superuser]
        subprocess.run(
            self._as(POSTGRES, [*initdb, "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync"]),
            check=True, capture_output=True,
        )  # fmt: skip
        with (self.folder / "postgres.log").open("wb") as log:
            self._running["postgres"] = subprocess.Popen(
                self._as(POSTGRES, [*server, "-c", "max_connections=100"]), stdout=log, stderr=log
            )
        wait_until(lambda: any(sockets.glob(".s.PGSQL.5432")), "PostgreSQL listens")
        environ = {
            "PGHOST": str(sockets), "INVOICING_SECRETS": str(self.folder / "secrets"),
            "PATH": f"{programs()}:{os.defpath}",
        }  # fmt: skip
        statements = ROOT / "include" / "deployment" / "databases.sql"
        mounted = f"mkdir -p /run/i && mount -t tmpfs i /run/i && cp {statements} /run/i/d.sql"
        script = (
            f"{mounted} && sed 's,/etc/invoicing/databases.sql,/run/i/d.sql,' {ROOT}/bin/create-databases "
            ">/run/i/c && bash /run/i/c"
        )
        wait_until(
            lambda: (
                subprocess.run(
                    [*self._enter(), "unshare", "--mount", "bash", "-c", script],
                    env=environ, check=False, capture_output=True,
                ).returncode
                == 0
            ),
            "the databases are made",
            every_seconds=0.5,
        )  # fmt: skip

    def _readable_by_postgres(self, secret: str) -> Path:
        # A bind mount leads past the folder that shuts others out; here it does not.
        copy = Path(shutil.copy(self.folder / "secrets" / secret, self.folder / "superuser"))
        os.chown(copy, *POSTGRES)
        return copy

    def start_mailpit(self) -> None:
        """The embedded inbox in the place of Mailpit."""
        self.mailbox.mkdir()
        command = [sys.executable, "-m", "invoicing.stack.inbox", str(self.mailbox), "1025"]
        self._running["mailpit"] = subprocess.Popen(
            [*self._enter(), *command], env={"PYTHONPATH": str(PLUGINS)}, stderr=subprocess.DEVNULL
        )

    def answers(self, url: str) -> bool:
        """Whether a server among the containers answers 200."""
        command = ["curl", "--fail", "--silent", "--noproxy", "*", "--output", "/dev/null", url]
        return subprocess.run([*self._enter(), *command], check=False).returncode == 0

    def runs(self, name: str) -> bool:
        """Whether a service's process lives."""
        return self._running[name].poll() is None

    def log(self, name: str) -> str:
        """What a service said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def environ_of(self, name: str) -> str:
        """The environment of a service's process, as another process of its user sees it."""
        return Path(f"/proc/{self._running[name].pid}/environ").read_text(errors="replace")

    def stop(self) -> None:
        """End what was started, PostgreSQL last."""
        for name, process in reversed(self._running.items()):
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _prepare(self) -> None:
        image = self.folder / "image"
        for name in ("dags", "plugins", "include", "bin"):
            shutil.copytree(ROOT / name, image / name, ignore=shutil.ignore_patterns("__pycache__"))
        (image / "airflow.cfg").touch()
        for name in ("logs", "state"):
            (image / name).mkdir()
            (self.folder / name).mkdir()
            os.chown(self.folder / name, *AIRFLOW)
        made = {"INVOICING_ROOT": str(self.folder), "PATH": os.environ["PATH"]}
        subprocess.run([str(ROOT / "bin" / "make-secrets"), "dev"], env=made, check=True, capture_output=True)
        hosts = "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self._services))
        (self.folder / "hosts").write_text(hosts)
        account = "airflow:x:50000:0:airflow:/home/airflow:/bin/bash\n"
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text(encoding="utf-8") + account)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._network}/ns/net", "--"]

    def _as(self, account: tuple[int, int], command: Sequence[str]) -> list[str]:
        uid, gid = account
        confined = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return [*self._enter(), "setpriv", f"--reuid={uid}", f"--regid={gid}", *confined, *command]

    def _confined(self, name: str, command: Sequence[str]) -> list[str]:
        """A command of a service, in a mount namespace of its own."""
        service = self._services[name]
        variables = [f"{key}={value}" for key, value in self._environ(service).items()]
        as_airflow = self._as(AIRFLOW, ["env", "-i", "-C", "/opt/airflow", *variables, *command])
        script = "\n".join(["set -e", *self._mounts(service), f"exec {shlex.join(as_airflow)}"])
        return ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]

    def _mounts(self, service: Mapping[str, Any]) -> Iterator[str]:
        folder = shlex.quote(str(self.folder))
        yield "mount -t tmpfs opt /opt && mkdir /opt/airflow"
        yield f"mount --bind {folder}/image /opt/airflow && mount -o remount,ro,bind /opt/airflow"
        for mount in service["volumes"]:
            source, target = mount.split(":")
            yield f"mount --bind {folder}/{source} {target}"
        yield "mount -t tmpfs run /run && mkdir /run/secrets"
        for secret in service.get("secrets", []):
            yield f"touch /run/secrets/{secret} && mount --bind {folder}/secrets/{secret} /run/secrets/{secret}"
        for file in ("hosts", "passwd"):
            yield f"mount --bind {folder}/{file} /etc/{file}"
        yield "mount -o remount,ro /run && mount -o remount,ro /opt"
        tmpfs = dict(mount.split(":") for mount in service["tmpfs"])
        # What the programs need is put back above what hides it: a tmpfs, or a folder that is shut to others.
        needed = {f"/media/{number}": path for number, path in enumerate((ROOT, Path(sys.base_prefix)))}
        yield "mount -t tmpfs media /media"
        for place, path in needed.items():
            yield f"mkdir {place} && mount --bind {shlex.quote(str(path))} {place}"
        for target, options in tmpfs.items():
            yield f"mount -t tmpfs -o nosuid,nodev,noexec,{options} tmpfs {target}"
        for path in sorted({shut for path in needed.values() if (shut := _shut_above(path))}):
            yield f"mount -t tmpfs -o mode=755 shut {shlex.quote(str(path))}"
        for place, path in needed.items():
            put_back = f"mkdir -p {shlex.quote(str(path))} && mount --bind {place} {shlex.quote(str(path))}"
            yield f"test -e {shlex.quote(str(path))} || {{ {put_back}; }}"
        yield "mount -o remount,ro,bind /"

    def _environ(self, service: Mapping[str, Any]) -> dict[str, str]:
        """What the image, the file for every deployment and the service itself set; later ones win."""
        dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition("\nENV ")[2]
        image = dict(re.findall(r"(\w+)=(\S+)", dockerfile.replace("${REVISION}", "rehearsal")))
        everywhere = {}
        for file in service["env_file"]:
            lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
            everywhere |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        own = {key: _interpolated(str(value)) for key, value in service.get("environment", {}).items()}
        programs_of_ours = f"{ROOT / '.venv' / 'bin'}:{os.defpath}"
        return {
            "PATH": programs_of_ours, "HOME": "/home/airflow", "AIRFLOW_HOME": "/opt/airflow",
            **image, **everywhere, **own,
        }  # fmt: skip


def _shut_above(path: Path) -> Path | None:
    """The first folder on the way to ``path`` that others may not pass through."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)


def _interpolated(value: str) -> str:
    """What Compose makes of ``${NAME:-default}`` and ``${NAME:?why}``."""

    def replaced(found: re.Match[str]) -> str:
        name, rest = found.groups()
        return _SETTINGS[name] if rest.startswith(":?") else rest.removeprefix(":-")

    return re.sub(r"(?<!\$)\$\{(\w+)([^}]*)\}", replaced, value).replace("$$", "$")


@contextmanager
def containers(folder: Path) -> Iterator[Containers]:
    """The services, none of them started; all that were are ended."""
    # It is the namespace's owner, and waits to be told to go.
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    made = Containers(folder, holder.pid)
    try:
        yield made
    finally:
        made.stop()
        holder.communicate()
