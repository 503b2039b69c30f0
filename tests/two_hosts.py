"""Two hosts of one machine, as network namespaces, and a Postgres server between them.

Each host has a network, a host's name, pids and a /proc of its own (`ip netns`, `unshare`), so that nothing of the one
can see the processes of the other: what `studies.queue.process.machine` says of them differs as it does between two
machines. Its link can be cut (packets vanish, nobody is told), and it can be killed as by a power cut: first the link,
then every process, so that no connection is closed in the database's sight.

    with Network() as network:
        server = PostgresServer(folder, network.address)
        with network.host("a") as a: ...

Takes root and iproute2; `why_not()` says what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fleet import Fleet, Verdict, judge
from null_worker import Orders, work
from postgres_server import PostgresServer

HERE = Path(__file__).parent


def why_not() -> str:
    """Why there can be no such hosts here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts of one's own are network namespaces, which only root of a Linux may make"
    if missing := [name for name in ("ip", "unshare") if shutil.which(name) is None]:
        return f"hosts of one's own take {' and '.join(missing)} (Debian's iproute2 and util-linux)"
    name = f"alexprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "" if made.returncode == 0 else f"no network namespace can be made here: {made.stderr.strip()}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """A bridge at `address`, to which hosts are linked."""

    def __init__(self) -> None:
        self._number = os.getpid() % 250 + 1
        self._bridge = f"alexbr{self._number}"
        self._hosts = 1
        self.address = f"10.213.{self._number}.1"

    def __enter__(self) -> Network:
        ip("link", "add", self._bridge, "type", "bridge")
        ip("address", "add", f"{self.address}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")
        return self

    def __exit__(self, *_: object) -> None:
        ip("link", "del", self._bridge)

    @contextmanager
    def host(self, name: str) -> Iterator[Host]:
        """A new host, which is gone with all its processes at the end."""
        self._hosts += 1
        host = Host(name, f"alex{self._number}{name}")
        ip("netns", "add", host.namespace)
        try:
            ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            ip("link", "set", host.link, "master", self._bridge, "up")
            address = f"10.213.{self._number}.{self._hosts}/24"
            for command in (["address", "add", address, "dev", "eth0"], ["link", "set", "eth0", "up"]):
                ip("-n", host.namespace, *command)
            ip("-n", host.namespace, "link", "set", "lo", "up")
            yield host
        finally:
            host.kill()
            ip("netns", "del", host.namespace)


@dataclass
class Host:
    """A host, and the processes that were started on it."""

    name: str
    namespace: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def link(self) -> str:
        """This end of its cable."""
        return f"{self.namespace}-l"

    def start(self, command: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start the process from which all others of the host come: with it, they end."""
        own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        named = ["sh", "-c", 'hostname "$0"; exec "$@"', f"host-{self.name}", *command]
        process = subprocess.Popen(["ip", "netns", "exec", self.namespace, *own, "--", *named], **popen)  # type: ignore[call-overload]
        self.started.append(process)
        return process  # type: ignore[no-any-return]

    def cut(self) -> None:
        """Cut its cable."""
        ip("link", "set", self.link, "down")

    def mend(self) -> None:
        ip("link", "set", self.link, "up")

    def kill(self) -> None:
        """End all its processes at once."""
        for process in self.started:
            process.kill()  # `unshare`, which takes the first process of the host with it
            process.wait(30)

    def power_off(self) -> None:
        """Cut the cable, then end all its processes: the server hears of nothing."""
        self.cut()
        self.kill()


def start_workers(host: Host, orders: Orders, count: int = 2) -> subprocess.Popen[bytes]:
    """Start so many null workers, which leave their files in a folder of the host's own."""
    orders = replace(orders, home=orders.home / host.name, host=host.name)
    told = json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in asdict(orders).items()})
    return host.start([sys.executable, str(Path(__file__).resolve()), told, str(count)])


@dataclass(frozen=True)
class Show:
    """What two hosts came to, of which one was cut off for a while and one lost for good."""

    verdict: Verdict
    seconds: float
    """Until the last trial was settled"""
    moved: int
    """Runs that were repeated since a host was taken for dead"""
    late: int
    """Calls of the host that was cut off, once it was back, of which nothing came: another had the trial by then"""
    after_return: int
    """Trials that it took afterwards"""


def undisturbed(folder: Path, server: PostgresServer, network: Network, orders: Orders) -> float:
    """The seconds that both hosts, with two workers each, take for the study."""
    fleet = Fleet(replace(orders, url=server.database(tcp=True), home=folder / "home", log=folder / "log"))
    folder.mkdir(parents=True)
    with network.host("a") as a, network.host("b") as b:
        for process in [start_workers(host, fleet.orders) for host in (a, b)]:
            process.wait(3600)
    verdict = judge(fleet)
    assert verdict.problems == verdict.errors == [], (verdict.problems, verdict.errors)
    return _seconds(fleet)


def disturbed(
    folder: Path,
    server: PostgresServer,
    network: Network,
    orders: Orders,
    *,
    cut_after: float,
    cut_seconds: float,
    kill_after: float,
) -> Show:
    """The same study; host a is cut off for `cut_seconds`, and host b lost for good, `kill_after` s from the start."""
    fleet = Fleet(replace(orders, url=server.database(tcp=True), home=folder / "home", log=folder / "log"))
    folder.mkdir(parents=True)
    with network.host("a") as a, network.host("b") as b:
        process = start_workers(a, fleet.orders)
        start_workers(b, fleet.orders)
        fleet.wait(lambda: len({line["pid"] for line in fleet.seen("report")}) == 4)
        begun = min(line["at"] for line in fleet.seen("take"))
        _sleep_until(begun + cut_after)
        a.cut()
        _sleep_until(begun + cut_after + cut_seconds)
        fleet.wait(lambda: fleet.seen("reap"))  # on a busy machine it takes b longer to be sure
        a.mend()
        back = time.monotonic()
        _sleep_until(begun + kill_after)
        fleet.wait(lambda: [line for line in fleet.seen("take") if _of_host(line, "a") and line["at"] > back])
        dead = {line["pid"] for line in fleet.evidence() if _of_host(line, "b")}
        with fleet.orders.log.open("a") as log:
            for pid in dead:
                log.write(json.dumps({"what": "killed", "pid": pid, "at": time.monotonic()}) + "\n")
        b.power_off()
        process.wait(3600)
    verdict = judge(fleet)
    of_a = [line for line in fleet.evidence() if _of_host(line, "a") and line["at"] > back]
    return Show(
        verdict=verdict,
        seconds=_seconds(fleet),
        moved=verdict.attempts,
        late=sum(line["what"] == "no longer held" for line in of_a),
        after_return=sum(line["what"] == "take" for line in of_a),
    )


def _of_host(line: dict[str, Any], name: str) -> bool:
    return str(line["pid"]).startswith(f"{name}:")


def _seconds(fleet: Fleet) -> float:
    """From the first trial taken to the last one settled."""
    taken, settled = ([float(line["at"]) for line in fleet.seen(what)] for what in ("take", "settle"))
    return max(settled) - min(taken)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def main() -> None:
    """The first process of a host: its workers are its children."""
    told = json.loads(sys.argv[1])
    orders = Orders(**told | {key: Path(told[key]) for key in ("home", "log")})
    children = []
    for _ in range(int(sys.argv[2])):
        if (child := os.fork()) == 0:
            work(orders)
            os._exit(0)
        children.append(child)
    raise SystemExit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


if __name__ == "__main__":
    main()
