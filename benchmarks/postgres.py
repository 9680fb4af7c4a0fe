"""PostgreSQL as somebody would use it for payments: a serializable transfer with a key, durable.

A server of its own in a temporary directory, on a Unix socket, with the settings it comes with
(fsync and synchronous_commit on); pgbench is the client. Serialization failures are tried again.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLIENTS = 32
TRIES_MAX = 1_000
DATABASE = "postgres"
USER = "postgres"
SCHEMA = """
CREATE TABLE account (id integer PRIMARY KEY, units bigint NOT NULL CHECK (units >= 0));
CREATE TABLE payment (key text PRIMARY KEY, source integer NOT NULL, target integer NOT NULL,
                      units bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
INSERT INTO account SELECT id, 1000000000 FROM generate_series(1, {accounts}) AS id;
"""
TRANSFER = """
\\set source random(1, {accounts})
\\set step random(1, {accounts} - 1)
\\set target (:source + :step - 1) % {accounts} + 1
\\set key random(1, 9000000000000000000)
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO payment (key, source, target, units) VALUES (:key::text, :source, :target, 1000);
UPDATE account SET units = units - 1000 WHERE id = :source;
UPDATE account SET units = units + 1000 WHERE id = :target;
COMMIT;
"""


class Unavailable(Exception):
    """It cannot be measured here, and why."""


class Server:
    """A running server."""

    def __init__(self, bin_dir: Path, directory: Path) -> None:
        self.bin = bin_dir
        self.directory = directory

    def run(self, program: str, *words: str, text: str | None = None) -> str:
        """Output of one of PostgreSQL's programs, run by a user that is not root."""
        done = subprocess.run(
            [*_as_user(), str(self.bin / program), *words],
            input=text,
            capture_output=True,
            text=True,
            cwd=self.directory,
        )
        if done.returncode:
            raise Unavailable(f"{program} failed: {done.stderr.strip()[-500:]}")
        return done.stdout


@contextmanager
def server() -> Iterator[Server]:
    """A new one, gone afterwards. Raises `Unavailable`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise Unavailable("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="chaind-pg-") as name:
        directory = Path(name)
        if os.geteuid() == 0:
            shutil.chown(directory, USER)
        made = Server(found[-1].parent, directory)
        data, log = str(directory / "data"), str(directory / "log")
        made.run("initdb", "-D", data, "-U", USER, "-A", "trust")
        options = f"-c listen_addresses='' -c unix_socket_directories={directory}"
        made.run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            yield made
        finally:
            made.run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def transfers_per_s(accounts: int, seconds: float) -> tuple[float, str]:
    """(transfers per second, version) of 32 clients. Raises `Unavailable`."""
    with server() as made:
        where = ("-h", str(made.directory), "-U", USER)
        psql = (*where, "-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-q", "-f", "-")
        made.run("psql", *psql, text=SCHEMA.format(accounts=accounts))
        script = made.directory / "transfer.sql"
        script.write_text(TRANSFER.format(accounts=accounts))
        script.chmod(0o644)
        told = made.run(
            "pgbench",
            *(*where, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2"),
            *("-T", str(max(1, round(seconds))), f"--max-tries={TRIES_MAX}"),
            *("-f", str(script), DATABASE),
        )
        version = made.run("postgres", "--version").strip()
    rate = re.search(r"^tps = ([0-9.]+)", told, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: ([0-9]+)", told, re.MULTILINE)
    if rate is None or (failed is not None and int(failed[1])):
        raise Unavailable(f"pgbench says: {told[-500:]}")
    return float(rate[1]), version


def _as_user() -> Sequence[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise Unavailable(f"there is no user {USER} to run it as") from None
    return ("runuser", "-u", USER, "--")
