"""A server process that cannot outlive its test: boot, wait until it speaks, stop, kill, boot."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

HOST = "127.0.0.1"
BOOT_SECONDS = 90
_RANDOM = random.SystemRandom()
_EXTRA_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/opt/*/bin",
    "/opt/homebrew/opt/*/sbin",
    "/usr/local/opt/*/bin",
    "/usr/local/opt/*/sbin",
)

# It reads a pipe that only our process holds open. When we end, in whatever way, it sees the end of
# the file and takes the server and its folder away. "done" says that this was seen to already.
_GUARD = """
server=
while read -r word; do
    case $word in done) exit 0 ;; *) server=$word ;; esac
done
if [ -n "$server" ] && kill -"$1" "$server" 2>/dev/null; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$server" 2>/dev/null || break; sleep 0.2; done
    kill -KILL -- "-$server" 2>/dev/null
fi
rm -rf -- "$2"
"""


class ServerMissingError(RuntimeError):
    """The server's program is not installed. A test that needs it fails: it is never skipped."""


class ServerFailedError(RuntimeError):
    """The server did not start; its last log lines are the message."""


def program(name: str) -> str:
    """Path of a server's program, newest version first. Raises ServerMissingError."""
    found = shutil.which(name)
    if found and not Path(found).resolve().name.startswith("pg_wrapper"):
        return found
    for pattern in _EXTRA_FOLDERS:
        for folder in sorted(Path("/").glob(pattern[1:]), key=_version, reverse=True):
            if (folder / name).is_file():
                return str(folder / name)
    if found:
        return found
    raise ServerMissingError(f"{name} is not installed; run tests/install-servers")


def _version(folder: Path) -> tuple[int, str]:
    digits = "".join(c for c in folder.parent.name if c.isdigit())
    return int(digits or 0), str(folder)


def free_port() -> int:
    """A port nobody listens on, below the range from which outgoing connections take theirs.

    So that a server that a test stops finds its port still free when it boots again.
    """
    while True:
        port = _RANDOM.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def as_root() -> bool:
    return os.geteuid() == 0


def account() -> str:
    """Name of the account that runs the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


class Server:
    """One throw-away server. `host` and `port` stay the same over stop, kill and boot."""

    name = "server"
    stop_signal = signal.SIGTERM
    host = HOST

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"r-{self.name}-", dir=_short_temp()))
        # Other accounts (postgres, mail) pass through it; only what a server opens is readable.
        self.folder.chmod(0o711)
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = _guard(self.stop_signal, self.folder)
        self._prepared = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make what the server needs before its first boot."""

    def launch(self) -> Self:
        """The first boot; whatever goes wrong, nothing stays behind."""
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def run_as(self) -> str | None:
        """The account the server runs as; None is ours."""
        return None

    def answers(self) -> bool:
        """True when the server speaks its protocol; False or an OSError when not yet."""
        raise NotImplementedError

    def boot(self) -> None:
        """Start, and return when it answers. Raises ServerFailedError with the end of its log."""
        assert not self.running, f"{self.name} runs already"
        if not self._prepared:
            self.prepare()
            self._prepared = True
        with self.log.open("ab") as log:
            self._process = _spawn(self.command(), self.folder, self.run_as(), log)
        self._tell_guard(str(self._process.pid))
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailedError(f"{self.name} did not start:\n{self.last_lines()}")
            time.sleep(0.03)

    def _ready(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def stop(self) -> None:
        """Orderly, as an administrator does it; the data stays. Nothing happens if it is down."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Like a power cut: no farewell, no flush by the server itself."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.boot()

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._tell_guard("done")
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(timeout=20)

    def _tell_guard(self, word: str) -> None:
        if self._guard.poll() is None:
            assert self._guard.stdin is not None
            self._guard.stdin.write(word.encode() + b"\n")
            self._guard.stdin.flush()

    def last_lines(self, count: int = 30) -> str:
        """The end of the server's log."""
        if not self.log.is_file():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def _end(self, sig: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(sig)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
            # The leader's id names the group as long as one of its processes is left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)
            self._tell_guard("")


def _short_temp() -> str | None:
    """A temporary folder that other accounts may enter and whose socket paths fit in 100 bytes."""
    usual = Path(tempfile.gettempdir())
    if len(str(usual)) > 50 or not all(p.stat().st_mode & 0o001 for p in (usual, *usual.parents)):
        return "/tmp"
    return str(usual)


def _spawn(
    command: Sequence[str], folder: Path, user: str | None, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    group = pwd.getpwnam(user).pw_gid if user else None
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        user=user,
        group=group,
        extra_groups=[] if user else None,
        env=_environment(folder),
    )


def _guard(sig: signal.Signals, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", sig.name.removeprefix("SIG"), str(folder)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def run(command: Sequence[str], folder: Path, user: str | None = None) -> None:
    """Run a server's set-up command to its end. Raises ServerFailedError with its output."""
    with tempfile.TemporaryFile() as output:
        process = _spawn(command, folder, user, output)
        if process.wait(timeout=180) != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise ServerFailedError(f"{Path(command[0]).name} failed:\n{said[-4000:]}")


def _environment(folder: Path) -> dict[str, str]:
    """A server gets no variable of ours that would steer it (PGDATA, MYSQL_HOME, LC_ALL, …).

    Its temporary files stay with it: MariaDB removes those of others from a folder it shares.
    """
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LC_ALL": "C", "TZ": "UTC", "TMPDIR": str(folder)}


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until something holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {seconds} s")
        time.sleep(0.03)
