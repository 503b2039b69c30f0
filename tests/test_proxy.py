"""nginx and Caddy in front of a dashboard, as docs/deploy/ has them: real servers and real TLS, on free ports."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from study_maker import make_study

from studies.store.opening import open_storage

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"
NAME = "studies.example.org"
PASSWORD = "a password for the test"

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Front:
    """A proxy and the dashboard behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain, self.tls, self.behind = free_port(), free_port(), free_port()

    def ask(self, path: str, method: str = "GET", *, host: str = NAME, body: str = "", **headers: str) -> Answer:
        """By TLS, as a client that was told that `NAME` is here."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.tls), timeout=30)
        connection = http.client.HTTPConnection("127.0.0.1", self.tls, timeout=30)
        connection.sock = context.wrap_socket(raw, server_hostname=NAME)
        return answered(connection, method, path, host, body, headers)

    def ask_plainly(self, path: str) -> Answer:
        return answered(http.client.HTTPConnection("127.0.0.1", self.plain, timeout=30), "GET", path, NAME, "", {})


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.text = (
            response.status,
            response.headers,
            response.read().decode(errors="replace"),
        )


def answered(
    connection: http.client.HTTPConnection, method: str, path: str, host: str, body: str, headers: dict[str, str]
) -> Answer:
    try:
        sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body=body or None, headers=sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


@contextmanager
def process(command: list[str], ready: Callable[[], object], **environ: str) -> Iterator[None]:
    """A server, from where it answers to its end."""
    with (
        open(os.devnull, "rb") as nothing,  # noqa: PTH123 - no path of ours
        subprocess.Popen(
            command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environ}
        ) as server,
    ):
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    ready()
                    break
                except OSError:
                    assert server.poll() is None, server.stdout and server.stdout.read().decode()
                    assert time.monotonic() < until, "it never listened"
                    time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.communicate()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    make_study(open_storage(f"sqlite:///{tmp_path / 'alexsearch.db'}"), 0.4)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "search.cli.main",
        "dashboard",
        "--home",
        str(tmp_path),
        "--port",
        str(front.behind),
    ]
    command += ["--password-file", str(tmp_path / "password"), "--allow-host", NAME, "--trusted-proxy", "127.0.0.1"]
    with process(command, lambda: socket.create_connection(("127.0.0.1", front.behind)).close()):
        yield front


def nginx(front: Front) -> tuple[list[str], dict[str, str]]:
    certificate, key = front.folder / "certificate.pem", front.folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", f"/CN={NAME}", "-days", "1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    told = {
        "listen 8080": f"listen 127.0.0.1:{front.plain}",
        "listen 8443": f"listen 127.0.0.1:{front.tls}",
        "dashboard:8080": f"127.0.0.1:{front.behind}",
        "/run/secrets/tls_certificate": str(certificate),
        "/run/secrets/tls_key": str(key),
        "/tmp/": f"{front.folder}/nginx-",  # noqa: S108 - the container's
    }
    file = front.folder / "nginx.conf"
    file.write_text(replaced((DEPLOY / "nginx.conf").read_text(), told))
    return [
        "nginx",
        "-c",
        str(file),
        "-e",
        "stderr",
        "-g",
        "daemon off; user root;" if os.geteuid() == 0 else "daemon off;",
    ], {}


def caddy(front: Front) -> tuple[list[str], dict[str, str]]:
    here = (
        f"{{\n\thttp_port {front.plain}\n\thttps_port {front.tls}\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n"
        f"\tdefault_bind 127.0.0.1\n\tstorage file_system {front.folder / 'caddy'}\n}}\n"
    )
    told = {"dashboard:8080": f"127.0.0.1:{front.behind}"}
    file = front.folder / "Caddyfile"
    file.write_text(here + replaced((DEPLOY / "Caddyfile").read_text(), told))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)], {
        "ALEXSEARCH_NAME": NAME,
        **{name: str(front.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")},
    }


def replaced(text: str, told: dict[str, str]) -> str:
    """What belongs to the container made ours, in one pass. All of it must be there."""
    assert all(each in text for each in told)
    return re.sub("|".join(map(re.escape, told)), lambda found: told[found[0]], text)


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_dashboard_behind_a_proxy_is_reached_by_tls_alone_and_knows_who_asks(
    front: Front, proxy: Callable[[Front], tuple[list[str], dict[str, str]]]
) -> None:
    program = proxy.__name__
    if shutil.which(program) is None or shutil.which("openssl") is None:
        pytest.skip(f"{program} or openssl is not installed (Debian: apt-get install {program} openssl)")
    command, environ = proxy(front)
    with process(command, lambda: front.ask("/healthz"), **environ):
        assert front.ask("/healthz").status == 200
        plain = front.ask_plainly("/studies?x=1")
        assert plain.status in (301, 308)
        assert (plain.headers["Location"] or "").startswith(f"https://{NAME}")
        shut = front.ask("/", Accept="text/html")
        assert shut.status in (302, 303, 401)
        assert "small" not in shut.text
        assert shut.headers["Strict-Transport-Security"] == "max-age=31536000"
        form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"https://{NAME}"}
        wrong = front.ask("/login", "POST", body="password=wrong", X_Forwarded_For="203.0.113.9", **form)
        assert wrong.status == 403
        entered = front.ask("/login", "POST", body=f"password={PASSWORD.replace(' ', '+')}", **form)
        assert entered.status in (302, 303)
        cookie = entered.headers["Set-Cookie"]
        assert "Secure" in cookie  # it knows that this is TLS
        page = front.ask("/", Cookie=cookie.partition(";")[0])
        assert page.status == 200
        assert "small" in page.text
        assert front.ask("/healthz", host="elsewhere.example.org").status in (200, 400, 403, 404, 421)
        assert "small" not in front.ask("/", host="elsewhere.example.org", Cookie=cookie.partition(";")[0]).text
        with suppress(ssl.SSLError, ConnectionError):  # it may hang up while the rest is still being sent
            large = front.ask("/login", "POST", body="x" * (9 << 20), **form)
            assert large.status in (413, 502)
    log = next(front.folder.glob("alexsearch-*.log")).read_text()
    assert "127.0.0.1" in log
    assert "203.0.113.9" not in log  # what a client says of itself is not passed on
