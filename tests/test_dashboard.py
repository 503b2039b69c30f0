"""The dashboard: who gets in, what it lets out, and whether it shows a study in a real browser."""

from __future__ import annotations

import base64
import errno
import http.client
import inspect
import io
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

import numpy
import optuna
import pytest
from browser import complaints, opened_browser, requested_urls, wait, wait_for
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import TrialState, create_trial
from optuna_dashboard import _serializer, save_note
from PIL import Image
from waitress.trigger import trigger

from studies.show import dashboard, guard, login
from studies.show.dashboard import DashboardError, build_app, read_password, serving
from studies.store.opening import open_storage
from studies.store.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

PASSWORD = "correct horse"
LOCAL = frozenset({"localhost"})


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    yield opened
    opened.engine.dispose()


def add_trials(storage: Storage, name: str = "quick on cifar10") -> optuna.Study:
    """A study as a search leaves it: 6 complete trials, 3 pruned, 1 failed, each with its curve and attributes."""
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_metric_names(["val_accuracy"])
    distributions = {
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution([32, 64, 128]),
    }
    for number in range(10):
        state = TrialState.FAIL if number == 4 else TrialState.PRUNED if number in (2, 5, 7) else TrialState.COMPLETE
        epochs = {TrialState.COMPLETE: 8, TrialState.PRUNED: 3, TrialState.FAIL: 1}[state]
        curve = {epoch: 0.75 - 0.4 / epoch - 0.02 * number for epoch in range(1, epochs + 1)}
        params = {"learning_rate": 0.001 * (number + 1), "batch_size": [32, 64, 128][number % 3]}
        study.add_trial(
            create_trial(
                state=state,
                value=None if state == TrialState.FAIL else curve[epochs],
                params=params,
                distributions=distributions,
                intermediate_values=curve,
                user_attrs={
                    "config": {**params, "epochs": 8, "schedule": "constant"},
                    "seconds": 12.5 * epochs,
                    "reason": "diverged" if state == TrialState.FAIL else "",
                },
            )
        )
    return study


def request(
    app: WSGIApplication, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, list[str]], bytes]:
    """Status, headers (lower case, each with all its values) and body. `HTTP_HOST` is localhost:8080 unless given."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    environ |= {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1", **headers}
    setup_testing_defaults(environ)
    answer: list[Any] = []

    def start_response(*given: Any) -> Any:
        answer[:] = given

    parts = app(environ, start_response)
    body = b"".join(parts)
    close = getattr(parts, "close", None)
    if close is not None:
        close()
    names: dict[str, list[str]] = {}
    for name, value in answer[1]:
        names.setdefault(name.lower(), []).append(value)
    return int(answer[0].split()[0]), names, body


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ---- who gets in


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "gpu7.lab.example"]
)
def test_known_host_is_answered(storage: Storage, host: str) -> None:
    app = build_app(storage, hosts={"GPU7.lab.example"})
    assert request(app, "/api/studies", HTTP_HOST=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "localhost.evil.example", "localhost@evil.example",
     "evil.example#localhost", "localhost evil", "93.184.216.34", "[::1", "localhost,evil.example"],
)  # fmt: skip
def test_foreign_host_is_refused_before_anything_is_read(storage: Storage, host: str) -> None:
    add_trials(storage)
    for path in ("/api/studies", "/", "/healthz"):
        status, _, body = request(build_app(storage, hosts=LOCAL), path, HTTP_HOST=host)
        assert status == 421
        assert b"--allow-host" in body
        assert b"cifar10" not in body


def test_server_on_all_addresses_takes_addresses_but_no_foreign_name() -> None:
    hosts = {"0.0.0.0", "gpu7"}  # noqa: S104
    assert guard.is_known_host("192.168.3.4:8080", hosts)
    assert guard.is_known_host("[fe80::1]:8080", hosts)
    assert guard.is_known_host("gpu7:8080", hosts)
    assert not guard.is_known_host("evil.example:8080", hosts)


def test_without_the_password_nothing_is_shown(storage: Storage) -> None:
    add_trials(storage)
    app = build_app(storage, hosts=LOCAL, password=PASSWORD)
    for path in ("/", "/dashboard", "/api/studies", "/static/bundle.js", "/csv/1", "/artifacts/1/0"):
        for header in ({}, {"HTTP_AUTHORIZATION": "Bearer x"}, {"HTTP_AUTHORIZATION": "Basic ?"}):
            status, headers, body = request(app, path, REMOTE_ADDR=f"{path}{header}", **header)
            assert status == 401
            assert headers["www-authenticate"] == ['Basic realm="alexsearch", charset="UTF-8"']
            assert b"cifar10" not in body
    assert request(app, "/api/studies", HTTP_AUTHORIZATION=basic(PASSWORD))[0] == 200


def test_password_may_hold_colons_and_letters_beyond_ascii(storage: Storage) -> None:
    app = build_app(storage, hosts=LOCAL, password="šifra:2022")
    assert request(app, "/api/meta", HTTP_AUTHORIZATION=basic("šifra:2022"))[0] == 200
    assert request(app, "/api/meta", HTTP_AUTHORIZATION=basic("šifra"))[0] == 401


def test_guesses_run_out_for_their_address_until_a_minute_is_over_and_the_right_one_passes() -> None:
    now = [0.0]
    checker = login.Password(PASSWORD, clock=lambda: now[0])
    for _ in range(login.GUESSES):
        assert checker.check(basic("guess"), "10.0.0.1") == "wrong"
    assert checker.check(basic("guess"), "10.0.0.1") == "blocked"
    assert checker.check(basic("guess"), "10.0.0.2") == "wrong"
    assert checker.check(basic(PASSWORD), "10.0.0.1") == "right"
    assert checker.check(basic("guess"), "10.0.0.1") == "blocked", "the right one gives guessers no new turn"
    now[0] = login.GUESS_SECONDS + 1
    assert checker.check(basic("guess"), "10.0.0.1") == "wrong"


def test_a_host_cannot_go_through_its_ipv6_network_for_new_guesses() -> None:
    checker = login.Password(PASSWORD, clock=lambda: 0.0)
    verdicts = [checker.check(basic("guess"), f"2001:db8:0:1::{number:x}") for number in range(1, login.GUESSES + 2)]
    assert verdicts == ["wrong"] * login.GUESSES + ["blocked"]
    assert checker.check(basic("guess"), "2001:db8:0:2::1") == "wrong"


def test_asking_without_a_password_is_no_guess() -> None:
    checker = login.Password(PASSWORD, clock=lambda: 0.0)
    for _ in range(3 * login.GUESSES):
        assert checker.check("", "10.0.0.1") == "missing"
    assert checker.check(basic(PASSWORD), "10.0.0.1") == "right"


def test_addresses_of_guessers_do_not_fill_the_memory() -> None:
    checker = login.Password(PASSWORD, clock=lambda: 0.0)
    for number in range(login.REMEMBERED_ADDRESSES + 50):
        checker.check(basic("guess"), str(number))
    assert len(checker._failures) == login.REMEMBERED_ADDRESSES


def test_health_is_told_to_anybody_and_says_when_the_storage_is_gone(storage: Storage, tmp_path: Path) -> None:
    app = build_app(storage, hosts=LOCAL, password=PASSWORD)
    assert request(app, "/healthz")[::2] == (200, b"ok")
    storage.engine.dispose()
    (tmp_path / "study.db").write_bytes(b"")
    assert request(app, "/healthz")[0] == 503


# ---- what may be changed


CHANGES = [
    ("POST", "/api/studies"),
    ("POST", "/api/studies/1/rename"),
    ("DELETE", "/api/studies/1"),
    ("POST", "/api/trials/1/tell"),
    ("PUT", "/api/studies/1/note"),
    ("POST", "/api/trials/1/user-attrs"),
    ("DELETE", "/api/artifacts/1/1/abc"),
    ("OPTIONS", "/api/studies"),
    ("TRACE", "/api/studies"),
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_nothing_changes_unless_edits_are_allowed(storage: Storage, method: str, path: str) -> None:
    add_trials(storage)
    app = build_app(storage, hosts=LOCAL)
    status, headers, _ = request(app, path, method, HTTP_ORIGIN="http://localhost:8080")
    assert status == 405
    assert headers["allow"] == ["GET, HEAD"]
    assert len(storage.get_all_trials(1)) == 10


@pytest.mark.parametrize("path", ["/healthz", "/api/studies"])
def test_answer_of_ours_to_head_has_no_body(storage: Storage, path: str) -> None:
    app = build_app(storage, hosts=LOCAL, password=PASSWORD)
    asked, told = request(app, path, "HEAD"), request(app, path)
    assert asked[0] == told[0]
    assert asked[1]["content-length"] == told[1]["content-length"] == [str(len(told[2]))]
    assert asked[2] == b""


def post_note(app: WSGIApplication, **headers: str) -> int:
    body = b'{"version": 1, "body": "found it"}'
    sent: dict[str, Any] = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    return request(app, "/api/studies/1/note", "PUT", **{**sent, **headers, "wsgi.input": io.BytesIO(body)})[0]


def test_an_edit_from_our_own_page_is_taken(storage: Storage) -> None:
    add_trials(storage)
    app = build_app(storage, hosts=LOCAL, allow_edits=True)
    assert post_note(app, HTTP_ORIGIN="http://localhost:8080") == 204
    assert storage.get_study_system_attrs(1)["dashboard:note_ver"] == 1


def test_an_edit_through_a_proxy_that_ends_tls_is_taken(storage: Storage) -> None:
    add_trials(storage)
    app = build_app(storage, hosts={"lab.example"}, allow_edits=True)
    assert post_note(app, HTTP_HOST="lab.example", HTTP_REFERER="https://lab.example/dashboard/studies/1") == 204


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "http://localhost:9090"},
        {"HTTP_REFERER": "http://evil.example/localhost:8080"},
        {"HTTP_ORIGIN": "http://evil.example", "HTTP_REFERER": "http://localhost:8080/"},
        {"HTTP_ORIGIN": "http://[broken"},
    ],
)
def test_an_edit_from_another_page_is_refused(storage: Storage, headers: dict[str, str]) -> None:
    add_trials(storage)
    app = build_app(storage, hosts=LOCAL, allow_edits=True)
    assert post_note(app, **headers) == 403
    assert "dashboard:note_ver" not in storage.get_study_system_attrs(1)


# ---- what goes out


def test_every_answer_closes_itself_to_other_origins(storage: Storage) -> None:
    app = build_app(storage, hosts=LOCAL)
    for path in ("/dashboard", "/api/studies", "/static/bundle.js", "/nowhere", "/healthz"):
        _, headers, _ = request(app, path, HTTP_ACCEPT_ENCODING="gzip")
        assert headers["x-content-type-options"] == ["nosniff"]
        assert headers["referrer-policy"] == ["same-origin"]
        assert guard.PAGE_POLICY in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]
    assert any("script-src 'self'" in policy for policy in request(app, "/dashboard")[1]["content-security-policy"])
    assert request(app, "/api/studies")[1]["cache-control"] == ["no-store"]


def test_a_stored_page_is_a_download_and_never_a_page_of_ours(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = FileSystemArtifactStore(tmp_path / "store")
    evil = tmp_path / "evil.html"
    evil.write_text("<script>fetch('/api/studies')</script>")
    study = add_trials(storage)
    running = study.ask()
    of_study = upload_artifact(artifact_store=store, file_path=str(evil), study_or_trial=study, mimetype="text/html")
    of_trial = upload_artifact(artifact_store=store, file_path=str(evil), study_or_trial=running, mimetype="text/html")
    app = build_app(storage, hosts=LOCAL, artifact_store=store)
    for path in (f"/artifacts/1/{of_study}", f"/artifacts/1/{running._trial_id}/{of_trial}"):
        status, headers, body = request(app, path)
        assert (status, body) == (200, evil.read_bytes())
        assert headers["content-disposition"] == ["attachment"]
        assert headers["content-security-policy"] == [guard.ARTIFACT_POLICY]
        assert headers["x-content-type-options"] == ["nosniff"]
        assert "access-control-allow-origin" not in headers


def test_a_second_poll_reads_no_finished_trial_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    add_trials(storage)
    read: list[int] = []
    original = storage._get_trials

    def counted(*args: Any, **kwargs: Any) -> list[optuna.trial.FrozenTrial]:
        trials = original(*args, **kwargs)
        read.append(len(trials))
        return trials

    monkeypatch.setattr(storage, "_get_trials", counted)
    # The dashboard's own cache of a few seconds would hide what the storage is asked for.
    monkeypatch.setattr(
        "optuna_dashboard._app.get_trials", lambda _cache, asked, study_id: asked.get_all_trials(study_id)
    )
    app = build_app(storage, hosts=LOCAL)
    for _ in range(2):
        assert request(app, "/api/studies/1")[0] == 200
    assert sum(read) == 10


def test_optuna_dashboard_writes_unusual_numbers_as_it_does_with_numpy(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=storage, study_name="unusual", directions=["maximize", "minimize"])
    curve = {1: math.nan, 2: math.inf, 3: -math.inf, 4: 0.5, 5: 1}
    study.add_trial(create_trial(values=[math.inf, -math.inf], intermediate_values=curve))
    app = build_app(storage, hosts=LOCAL)
    ours = request(app, "/api/studies/1")[2]
    asked = re.findall(r"\bnp\.(\w+)", inspect.getsource(_serializer))
    assert set(asked) == set(vars(_serializer.np))
    monkeypatch.setattr(_serializer, "np", numpy)
    assert request(app, "/api/studies/1")[2] == ours
    assert [value["value"] for value in json.loads(ours)["trials"][0]["intermediate_values"]] == [
        "nan", "inf", "-inf", 0.5, 1
    ]  # fmt: skip


def test_postgres_is_shown_as_sqlite_is(postgres_url: str) -> None:
    opened = open_storage(postgres_url)
    add_trials(opened)
    app = build_app(opened, hosts=LOCAL)
    assert request(app, "/healthz")[0] == 200
    trials = json.loads(request(app, "/api/studies/1")[2])["trials"]
    assert [trial["state"] for trial in trials].count("Pruned") == 3
    opened.engine.dispose()


# ---- the server


def get(url: str, path: str, **headers: str) -> int:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_server_answers_while_it_lasts_and_frees_its_port(storage: Storage) -> None:
    study = add_trials(storage)
    with serving(storage, port=0, study="quick on cifar10") as url:
        assert urlsplit(url).path == f"/studies/{study._study_id}"
        assert get(url, "/healthz") == 200
        assert get(url, "/api/studies", Host="evil.example") == 421
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", urlsplit(url).port))


def test_study_that_does_not_exist_is_named_with_those_that_do(storage: Storage) -> None:
    with pytest.raises(DashboardError, match=r"'quik'.*holds no study"), serving(storage, port=0, study="quik"):
        pass
    add_trials(storage)
    with pytest.raises(DashboardError, match=r"'quik'.*There are: quick on cifar10"):
        dashboard.serve(storage, port=0, study="quik", ready=print)


def test_taken_port_says_the_way_out(storage: Storage) -> None:
    with serving(storage, port=0) as url:
        port = urlsplit(url).port or 0
        with pytest.raises(DashboardError, match=rf"Port {port} on 127\.0\.0\.1 is taken.*--port 0"):
            dashboard.serve(storage, port=port, ready=print)


def test_server_that_was_woken_before_its_end_was_asked_for_ends_all_the_same(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = trigger._physical_pull

    def too_late(self: Any) -> None:
        pull(self)
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(trigger, "_physical_pull", too_late)
    with serving(storage, port=0) as url:
        address = urlsplit(url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no.such.name.invalid", 0), ("127.0.0.1", 70000), ("", 0)]
)
def test_impossible_address_says_the_way_out(storage: Storage, host: str, port: int) -> None:
    with pytest.raises(DashboardError, match=r"--host 127\.0\.0\.1"):
        dashboard.serve(storage, host=host, port=port, password=PASSWORD, ready=print)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_open_to_the_network_only_with_a_password(storage: Storage, host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with pytest.raises(DashboardError, match=f"(?s)--password-file FILE.*{dashboard.PASSWORD_VARIABLE}.*ssh -L"):
        dashboard.serve(storage, host=host, port=0, ready=print)
    with serving(storage, host=host, port=0, password=PASSWORD, extra_hosts=["lab.example"]) as url:
        assert url.startswith("http://127.0.0.1:")
        assert get(url, "/api/studies") == 401
        for name in (socket.gethostname(), "192.168.3.4:8080", "lab.example"):
            assert get(url, "/api/studies", Host=name, Authorization=basic(PASSWORD)) == 200
        assert get(url, "/api/studies", Host="evil.example", Authorization=basic(PASSWORD)) == 421


def test_token_comes_from_its_file_then_its_variable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    environ = {dashboard.TOKEN_VARIABLE: "other", dashboard.PASSWORD_VARIABLE: PASSWORD}
    assert dashboard.read_token(tmp_path / "token", environ) == "t0ken"
    assert dashboard.read_token(None, environ) == "other"
    assert dashboard.read_token(None, {dashboard.PASSWORD_VARIABLE: PASSWORD}) is None
    with pytest.raises(DashboardError, match="the dashboard's token can't be read"):
        dashboard.read_token(tmp_path / "none", environ)


def test_password_comes_from_the_file_then_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\na comment\n")
    assert read_password(file, {dashboard.PASSWORD_VARIABLE: "other"}) == PASSWORD
    assert read_password(None, {dashboard.PASSWORD_VARIABLE: "other"}) == "other"
    assert read_password(None, {dashboard.PASSWORD_VARIABLE: ""}) is None
    assert read_password(None, {}) is None


@pytest.mark.parametrize("content", [None, b"", b"\nsecond line\n", b"\xff\xfe"])
def test_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DashboardError, match="password"):
        read_password(file, {dashboard.PASSWORD_VARIABLE: "other"})


SERVE = """
import sys
from studies.show.dashboard import serve
from studies.store.opening import open_storage
from studies.store.storage import Storage
serve(open_storage(sys.argv[1]), port=0, ready=lambda url: print(url, flush=True))
print("ended", "tensorflow" in sys.modules, flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_server_cleanly_and_it_never_loads_tensorflow(storage: Storage, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE, str(storage.url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert get(url, "/api/studies") == 200
        server.send_signal(sent)
        output, errors = server.communicate(timeout=60)
    assert (server.returncode, output) == (0, "ended False\n"), errors


def test_module_loads_nothing_heavy() -> None:
    heavy = "{'optuna_dashboard', 'bottle', 'optuna', 'waitress'}"
    code = f"import sys, studies.show.dashboard; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# ---- a real browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with opened_browser(tmp_path) as browser:
        yield browser


def test_browser_shows_the_study_and_asks_nobody_else(storage: Storage, tmp_path: Path, browser: Any) -> None:
    study = add_trials(storage)
    (tmp_path / "store").mkdir()
    store = FileSystemArtifactStore(tmp_path / "store")
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "curve.png")
    running = study.ask()
    upload_artifact(artifact_store=store, file_path=str(tmp_path / "curve.png"), study_or_trial=running)
    save_note(study, "**what came out**")
    pictures = Path(os.environ.get("ALEXSEARCH_TEST_PICTURES", tmp_path))
    with serving(storage, port=0, study="quick on cifar10", artifact_store=store) as url:
        pages = {
            "": ("quick on cifar10", "val_accuracy", "Hyperparameter Importance", "Intermediate values"),
            "/analytics": ("Rank", "Empirical Distribution"),
            "/trials": ("Trial 9", "Pruned", "Fail", "Complete", "Running", "learning_rate 0.001", "seconds 100"),
            "/smartSelection": ("seconds", "reason", "diverged"),
            "/note": ("what came out",),
        }
        theirs = url.replace("/studies/", "/dashboard/studies/")
        for page, texts in pages.items():
            browser.get(theirs + page)
            wait_for(browser, *texts)
            browser.save_screenshot(str(pictures / f"dashboard{page.replace('/', '-')}.png"))
        # A stored picture is a download when it is opened, and is shown in the page all the same.
        browser.get(f"{theirs}/trials?numbers={running.number}")
        wait_for(browser, "curve.png")
        width = "const i = document.querySelector('img[src*=artifacts]'); return i && i.complete ? i.naturalWidth : 0"
        assert wait(lambda: browser.execute_script(width)) == 30
        browser.save_screenshot(str(pictures / "dashboard-artifact.png"))
        browser.get(theirs.rsplit("/studies/", 1)[0])
        wait_for(browser, "quick on cifar10")
        assert complaints(browser) == []
        asked = requested_urls(browser)
    assert any(urlsplit(address).path == "/static/bundle.js" for address in asked)
    assert [address for address in asked if urlsplit(address).netloc != urlsplit(url).netloc] == []
