"""docs/deploy/kubernetes.yaml: read as a file, and what a Job makes of how our commands end, with real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from search.cli.main import main
from search.run.host import STOP_SECONDS

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "docs" / "deploy" / "kubernetes.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in documents() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def pods() -> dict[str, dict[str, Any]]:
    """The templates of pods, by what they are of."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]
        for each in documents()
        if "template" in each.get("spec", {})
    }


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, container and spec of its pod."""
    for pod, template in pods().items():
        spec = template["spec"]
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            yield f"{pod}/{container['name']}", container, spec


def ours() -> dict[str, dict[str, Any]]:
    return {name: container for name, container, _ in containers() if "alexsearch" in container["image"]}


@pytest.mark.parametrize("version", ["1.33", "latest"])
def test_every_object_is_one_by_the_published_schema(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    wanted = kubernetes_validate.latest_version() if version == "latest" else version
    for document in documents():
        kubernetes_validate.validate(document, wanted, strict=True)
    wrong = named("Job", "quick")
    wrong["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, wanted, strict=True)


def test_pods_are_as_restricted_as_the_namespace_demands_and_have_bounds() -> None:
    assert named("Namespace", "alexsearch")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"].get("namespace") for each in documents()} == {None, "alexsearch"}
    for name, container, pod in containers():
        user, walls = pod["securityContext"], container["securityContext"]
        assert user["runAsNonRoot"], name
        assert user["runAsUser"] > 0
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert walls == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    assert f"--uid {pods()['Job/quick']['spec']['securityContext']['runAsUser']}" in (ROOT / "Dockerfile").read_text()


def test_what_is_named_is_there() -> None:
    heading = MANIFEST.read_text().partition("apiVersion")[0]
    keys = set(re.findall(r"--from-file=secrets/(\w+)", heading))
    claims = {each["metadata"]["name"] for each in documents() if each["kind"] == "PersistentVolumeClaim"}
    for what, template in pods().items():
        for volume in template["spec"]["volumes"]:
            if "secret" in volume:
                assert {item["key"] for item in volume["secret"]["items"]} <= keys, what
                assert f"secret generic {volume['secret']['secretName']} " in heading
            elif "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            elif "configMap" in volume:
                assert f"configmap {volume['configMap']['name']} --from-file=docs/deploy/dashboard-role.sh" in heading
    for name, container, pod in containers():
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for variable in container["env"]:
            if variable["name"].endswith("_FILE"):
                assert str(Path(variable["value"]).parent) in mounts
    for service in (each for each in documents() if each["kind"] == "Service"):
        (chosen,) = (each for each in pods().values() if service["spec"]["selector"].items() <= labels(each).items())
        there = {port["name"] for port in chosen["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= there


def labels(template: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def test_no_password_is_written_down_and_nobody_has_one_that_is_not_his() -> None:
    for name, container, _ in containers():
        for variable in container["env"]:
            assert "PASSWORD" not in variable["name"] or variable["value"].startswith("/run/secrets/"), name
    assert "Secret" not in {each["kind"] for each in documents()}
    mounted = {
        name: {
            item["key"]
            for mount in container["volumeMounts"]
            for volume in pod["volumes"]
            if volume["name"] == mount["name"]
            for item in volume.get("secret", {}).get("items", [])
        }
        for name, container, pod in containers()
    }
    assert mounted == {
        "Deployment/postgres/postgres": {"postgres_password", "dashboard_database_password"},
        "Deployment/dashboard/tables": {"postgres_password"},
        "Deployment/dashboard/dashboard": {"dashboard_password", "dashboard_database_password"},
        "Job/quick/worker": {"postgres_password"},
    }
    assert "--allow-edits" not in ours()["Deployment/dashboard/dashboard"]["command"]


@pytest.mark.parametrize("name", sorted(ours()))
def test_command_and_environment_are_ones_that_our_command_line_accepts(name: str) -> None:
    container = ours()[name]
    program, command, *arguments = container["command"]
    assert program == "alexsearch"
    main.commands[command].make_context(command, list(arguments))  # raises where it is not so
    source = "".join(
        path.read_text() for room in ("search/cli", "studies/store") for path in (ROOT / room).glob("*.py")
    )
    for variable in container["env"]:
        assert variable["name"] in source, variable["name"]


def test_only_the_worker_command_of_the_comment_waits_for_a_study() -> None:
    told = re.search(r"alexsearch (worker .*)", MANIFEST.read_text())
    assert told
    command, *arguments = told[1].split()
    context = main.commands[command].make_context(command, arguments)
    assert (context.params["study"], context.params["wait_seconds"]) == ("quick", 600)


def test_database_is_reached_by_those_that_need_it_and_nobody_reaches_a_worker() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in documents() if each["kind"] == "NetworkPolicy"}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = policies["database"]["ingress"]
    assert policies["database"]["podSelector"]["matchLabels"].items() <= labels(pods()["Deployment/postgres"]).items()
    (who,) = (each["podSelector"]["matchLabels"] for each in rule["from"])
    allowed = {name for name, template in pods().items() if who.items() <= labels(template).items()}
    assert allowed == {"Deployment/dashboard", "Job/quick"}
    assert policies["to-database"]["podSelector"]["matchLabels"] == who
    assert rule["ports"] == policies["to-database"]["egress"][0]["ports"]
    for name, policy in policies.items():
        if policy["podSelector"].get("matchLabels") == {"app": "worker"}:
            assert "ingress" not in policy, name


def test_dashboard_is_asked_for_its_health_by_a_name_that_it_answers_to() -> None:
    dashboard = ours()["Deployment/dashboard/dashboard"]
    (header,) = dashboard["readinessProbe"]["httpGet"]["httpHeaders"]
    command = dashboard["command"]
    assert header == {"name": "Host", "value": command[command.index("--allow-host") + 1]}
    assert "--password-file" in command


def test_job_gives_a_gpu_each_restarts_what_crashed_and_not_what_is_wrong() -> None:
    job = named("Job", "quick")["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", job["parallelism"])
    pod = job["template"]["spec"]
    (worker,) = pod["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for: the Job makes a new pod
    assert job["backoffLimitPerIndex"] > 0
    wrong, gone = job["podFailurePolicy"]["rules"]
    assert wrong == {
        "action": "FailJob",
        "onExitCodes": {"containerName": worker["name"], "operator": "In", "values": [2]},
    }
    assert gone == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS + 10


# ---- how commands end

TRAIN = """
import os, time

def train(trial):
    for epoch in trial.epochs():
        if os.environ.get("CRASHES"):
            os._exit(3)
        time.sleep(float(os.environ.get("EPOCH_SECONDS", "0")))
        trial.report(epoch, score=0.1 * epoch)
"""
SPACE = """
[study]
name = "s"
trials = 2
[train]
function = "train.py:train"
metric = "score"
epochs = 2
[space]
lr = { low = 1e-4, high = 0.1, log = true }
"""


class Pod:
    """Starts our command as a container would, in a folder that is the home of all."""

    def __init__(self, folder: Path) -> None:
        (folder / "train.py").write_text(TRAIN)
        (folder / "s.toml").write_text(SPACE)
        self.folder = folder
        self.count = 0

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        self.count += 1
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ALEXSEARCH", "PYTHONUNBUF"))}
        with self.log().open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "search.cli.main", *arguments],
                cwd=self.folder,
                env={**kept, **environ},
                stdout=output,
                stderr=output,
            )

    def log(self, number: int | None = None) -> Path:
        return self.folder / f"log-{number or self.count}"

    def code(self, *arguments: str, **environ: str) -> int:
        return self.start(*arguments, **environ).wait(60)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_worker_that_is_there_before_its_study_waits_for_it_and_ends_well_with_the_rest(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    early = pod.start("worker", "--study", "s", "--wait", "60s")
    until(lambda: b"waiting for the study" in pod.log(1).read_bytes())
    assert pod.code("run", "s.toml", EPOCH_SECONDS="1") == 0, pod.log().read_text()
    assert early.wait(60) == 0, pod.log(1).read_text()
    assert "starting train.py:train" in pod.log(1).read_text()
    assert pod.code("worker", "--study", "s") == 0  # nothing left: the next pod of the Job
    assert pod.code("run", "s.toml") == 0


@pytest.mark.slow
def test_worker_that_is_told_to_end_gives_its_trial_back_within_the_grace_and_a_crash_is_restarted(
    tmp_path: Path,
) -> None:
    pod = Pod(tmp_path)
    assert pod.code("run", "s.toml", CRASHES="1") == 1, pod.log().read_text()
    evicted = pod.start("worker", "--study", "s", EPOCH_SECONDS="600")
    until(lambda: b" started: " in pod.log().read_bytes())
    evicted.send_signal(signal.SIGTERM)
    assert evicted.wait(STOP_SECONDS + 10) == 128 + signal.SIGTERM
    assert pod.code("worker", "--study", "s") == 0
    status = subprocess.run(
        [sys.executable, "-m", "search.cli.main", "status"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "2 of 2 settled: 2 complete" in status.stdout
    (tmp_path / "train.py").unlink()
    assert pod.code("worker", "--study", "s") == 2  # no restart would mend it
    assert "there is no such file" in pod.log().read_text()


def test_worker_waits_for_a_study_no_longer_than_it_was_told(tmp_path: Path) -> None:
    asked = ["worker", "--home", str(tmp_path / "home"), "--wait"]
    result = CliRunner().invoke(main, [*asked, "0.2s"])
    assert result.exit_code == 2
    assert "waiting for the study" in result.stderr
    assert "there is no study yet" in result.stderr
    result = CliRunner().invoke(main, [*asked, "soon"])
    assert result.exit_code == 2
    assert 'must be a time with its unit, as in "90s", "30m", "2h" or "1h 30m", but is "soon"' in result.stderr
