"""The login page, its sessions, tokens and the audit log, over real sockets and in a browser."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browser import complaints, opened_browser, wait_for
from visitors import PASSWORD, TOKEN, ask, basic, edit, served, visited

from search.base.home import Home
from studies.show import login
from studies.store.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with visited(tmp_path) as opened:
        yield opened


# ---- the login page


def log_in(port: int, password: str, onwards: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    form = urlencode({"password": password, "next": onwards}).encode()
    sent = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{port}", **headers}
    return ask(port, "POST", "/login", form, **sent)


def test_a_browser_is_led_to_the_login_page_and_back(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port:
        status, headers, _ = ask(port, "GET", "/studies/1?order=best&state=pruned", Accept="text/html")
        assert (status, headers["location"]) == (303, "/login?next=/studies/1%3Forder%3Dbest%26state%3Dpruned")
        status, page_headers, page = ask(port, "GET", headers["location"])
        assert status == 200
        assert 'value="/studies/1?order=best&amp;state=pruned"' in page.decode()
        assert page_headers["cache-control"] == "no-store"
        style = page.decode().partition('rel="stylesheet" href="')[2].partition('"')[0]
        assert ask(port, "GET", style)[0] == 200
        status, headers, _ = log_in(port, PASSWORD, "/studies/1?order=best&state=pruned")
        assert (status, headers["location"]) == (303, "/studies/1?order=best&state=pruned")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
        assert "Secure" not in headers["set-cookie"]
        cookie = headers["set-cookie"].partition(";")[0]
        assert ask(port, "GET", "/api/studies", Cookie=f"other=1; {cookie}")[0] == 200
        assert ask(port, "GET", "/api/studies", Cookie=cookie[:-1] + ("0" if cookie[-1] != "0" else "1"))[0] == 401
        # The session's end is the end of its cookie too, whoever kept it.
        assert ask(port, "POST", "/logout", Cookie=cookie)[0] == 403
        out = ask(port, "POST", "/logout", Cookie=cookie, Origin=f"http://127.0.0.1:{port}")
        assert (out[0], "Max-Age=0" in out[1]["set-cookie"]) == (303, True)
        assert ask(port, "GET", "/api/studies", Cookie=cookie)[0] == 401


@pytest.mark.parametrize(
    ("onwards", "leads_to"),
    [
        ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example", "/"), ("javascript:alert(1)", "/"),
        ("", "/"), ("/\r\nX: 1", "/%0D%0AX%3A%201"), ("/é", "/%C3%A9"),
    ],
)  # fmt: skip
def test_a_login_leads_to_pages_of_ours_only(storage: Storage, tmp_path: Path, onwards: str, leads_to: str) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port:
        status, headers, _ = log_in(port, PASSWORD, onwards)
        assert (status, headers["location"]) == (303, leads_to)
        page = ask(port, "GET", "/login?next=%22%3E%3Cscript%3E")[2]
        assert b"<script>" not in page


def test_wrong_logins_say_so_run_out_and_never_keep_the_right_one_out(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port:
        answers = [log_in(port, "guess") for _ in range(login.GUESSES + 1)]
        assert [status for status, _, _ in answers] == [403] * login.GUESSES + [429]
        assert b"That is not the password." in answers[0][2]
        assert not any("set-cookie" in headers for _, headers, _ in answers)
        assert log_in(port, PASSWORD, Origin="http://evil.example")[0] == 403
        assert log_in(port, PASSWORD)[0] == 303


def test_behind_tls_the_cookie_goes_by_tls_only(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD, trusted_proxy="127.0.0.1") as port:
        assert "Secure" in log_in(port, PASSWORD, X_Forwarded_Proto="https")[1]["set-cookie"].split("; ")


def test_pages_that_look_for_news_open_no_password_window(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port:
        page = {"Sec_Fetch_Mode": "cors"}
        assert "www-authenticate" not in ask(port, "GET", "/api/studies", **page)[1]
        assert ask(port, "GET", "/studies/1", **page)[1]["location"].startswith("/login?next=")
        assert "www-authenticate" in ask(port, "GET", "/api/studies")[1]


def test_a_token_opens_it_beside_the_password(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD, token=TOKEN) as port:
        assert ask(port, "GET", "/api/studies", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(port, "GET", "/api/studies", Authorization=basic(PASSWORD))[0] == 200
        assert ask(port, "GET", "/api/studies", Authorization=f"Bearer {TOKEN}x")[0] == 401
        assert ask(port, "GET", "/api/studies", Authorization="Bearer")[0] == 401


def test_a_session_ends_by_itself_and_another_servers_is_none() -> None:
    now = [1000.0]
    sessions, others = login.Sessions(clock=lambda: now[0]), login.Sessions()
    value = sessions.begin()
    cookie = f"{sessions.cookie}={value}"
    assert sessions.find(cookie) == value.partition(".")[0]
    assert sessions.find(f"{sessions.cookie}={others.begin()}") is None
    assert sessions.find(f"{sessions.cookie}=; {cookie}x; {sessions.cookie}=a.b.c; é=1") is None
    assert sessions.find(f"{others.cookie}={value}") is None
    session, ends, signature = value.split(".")
    assert sessions.find(f"{sessions.cookie}={session}.{int(ends) + 1}.{signature}") is None
    now[0] += login.SESSION_SECONDS + 1
    assert sessions.find(cookie) is None


def test_in_a_browser_one_logs_in_looks_around_and_logs_out(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port, opened_browser(tmp_path / "browser") as browser:
        browser.get(f"http://127.0.0.1:{port}/studies/1")
        wait_for(browser, "Log in", "Password")
        browser.find_element("id", "password").send_keys("guess\n")
        wait_for(browser, "That is not the password.")
        # The browser remarks on the status 403 of that page, and on nothing else.
        assert [entry["message"] for entry in complaints(browser) if "403" not in entry["message"]] == []
        browser.find_element("id", "password").send_keys(f"{PASSWORD}\n")
        wait_for(browser, "small", "validation accuracy")
        assert browser.current_url == f"http://127.0.0.1:{port}/studies/1"
        browser.get(f"http://127.0.0.1:{port}/dashboard/studies/1/trials")
        wait_for(browser, "Trial 0", "Complete")
        browser.get(f"http://127.0.0.1:{port}/")
        wait_for(browser, "small", "log out")
        browser.find_element("link text", "log out").click()
        wait_for(browser, "You are logged in")
        browser.find_element("css selector", "form button").click()
        wait_for(browser, "Log in")
        assert complaints(browser) == []
        browser.get(f"http://127.0.0.1:{port}/dashboard/studies/1")
        wait_for(browser, "Log in")


@pytest.mark.slow
def test_a_page_that_is_open_when_its_session_ends_becomes_the_login_page(storage: Storage, tmp_path: Path) -> None:
    with served(storage, tmp_path, password=PASSWORD) as port, opened_browser(tmp_path / "browser") as browser:
        browser.get(f"http://127.0.0.1:{port}/login")
        browser.find_element("id", "password").send_keys(f"{PASSWORD}\n")
        wait_for(browser, "small", "log out")
        [cookie] = browser.get_cookies()
        origin = f"http://127.0.0.1:{port}"
        assert ask(port, "POST", "/logout", Cookie=f"{cookie['name']}={cookie['value']}", Origin=origin)[0] == 303
        wait_for(browser, "Log in", "Password")  # it asks for news every few seconds
        browser.find_element("id", "password").send_keys(f"{PASSWORD}\n")
        wait_for(browser, "small")
        assert browser.current_url == f"{origin}/"
        assert complaints(browser) == []


# ---- the audit log


def test_logins_and_edits_are_told_to_the_audit_log_and_no_guess_ever(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "studies.show.audit")
    with served(storage, tmp_path, password=PASSWORD, allow_edits=True) as port:
        log_in(port, "a guess")
        ask(port, "GET", "/api/studies", Authorization=basic("a guess"))
        ask(port, "GET", "/api/studies", Authorization=basic("").replace("anyone", "a guess"))
        cookie = log_in(port, PASSWORD)[1]["set-cookie"].partition(";")[0]
        for _ in range(3):
            ask(port, "GET", "/api/studies", Authorization=basic(PASSWORD))
        edit(port, "PUT", "/api/studies/1/note", {"version": 1, "body": "noted"}, Cookie=cookie)
        edit(port, "PUT", "/api/studies/1/note", {"version": 2}, Cookie=cookie, Origin="http://evil.example")
        edit(port, "DELETE", "/api/studies/77%0A", {}, Authorization=basic(PASSWORD))
        ask(port, "POST", "/logout", Cookie=cookie, Origin=f"http://127.0.0.1:{port}")
    session = cookie.partition("=")[2][:8]
    assert [record.getMessage() for record in caplog.records if record.name == "studies.show.audit"] == [
        "login: wrong password from 127.0.0.1, by the login page",
        "login: wrong password from 127.0.0.1, by HTTP Basic",
        "login: wrong password from 127.0.0.1, by HTTP Basic",
        f"login: right password from 127.0.0.1, by the login page, session {session}",
        "login: right password from 127.0.0.1, by HTTP Basic",
        f"edit: PUT /api/studies/1/note from 127.0.0.1 by session {session}: 204",
        f"edit: PUT /api/studies/1/note from 127.0.0.1 by session {session}: 403",
        f"logout: session {session} from 127.0.0.1",
    ]
    for secret in ("a guess", PASSWORD, basic("a guess"), basic(PASSWORD)):
        assert secret not in caplog.text


def test_the_command_keeps_them_in_the_log_of_the_host(storage: Storage, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search.cli.main", "dashboard", "--home", str(tmp_path / "new"), "--port", "0"]
    environ = {**os.environ, "ALEXSEARCH_DASHBOARD_TOKEN": TOKEN, "ALEXSEARCH_STORAGE": str(storage.url)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[1].rstrip("/").rpartition(":")[2])
        assert ask(port, "GET", "/api/studies", Authorization="Bearer guess")[0] == 401
        assert ask(port, "GET", "/api/studies", Authorization=f"Bearer {TOKEN}")[0] == 200
        server.terminate()
    told = Home(tmp_path / "new").log_file.read_text()
    assert "WARNING studies.show.audit: login: wrong password from 127.0.0.1, by a bearer token\n" in told
    assert "INFO studies.show.audit: login: right password from 127.0.0.1, by a bearer token\n" in told
    assert TOKEN not in told
