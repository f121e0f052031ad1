"""The files of deploy/, held against what will read them: their own tools or schemas, and Dagster itself."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy.engine import make_url

from calendar_pipeline.db import embedded
from calendar_pipeline.db.connect import dagster_url
from calendar_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KNOWN = {name.upper() for name in Settings.model_fields} | {
    "DAGSTER_HOME",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS",
    "DAGSTER_EVENT_BATCH_SIZE",
}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in KUBERNETES:
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text()):
                yield f"{path.name}:{document['kind']}/{document['metadata']['name']}", document


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_the_compose_file_is_one() -> None:
    subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"], check=True
    )


def test_the_compose_file_mounts_files_that_are_there() -> None:
    for service in compose()["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).is_file(), mount


def test_whatever_else_is_set_beside_the_compose_file_reaches_every_part_of_ours() -> None:
    parts = {name: one for name, one in compose()["services"].items() if one.get("image") == "calendar-pipeline"}
    assert {"api", "migrate"} <= set(parts)
    for name, part in parts.items():
        assert part["env_file"] == [{"path": ".env", "required": False}], name


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("compose", list(compose()["x-part"]["environment"])),
        ("systemd", re.findall(r"(?m)^([A-Z_]+)=", (DEPLOY / "systemd" / "calendar-pipeline.env").read_text())),
        ("kubernetes", list(dict(documents())["secret.example.yaml:Secret/calendar-pipeline"]["stringData"])),
    ],
)
def test_every_variable_is_a_setting_and_none_that_production_needs_is_left_out(where: str, names: list[str]) -> None:
    assert set(names) <= KNOWN
    needed = {"ENVIRONMENT", "DATABASE_URL", "DAGSTER_POSTGRES_URL", "CALENDAR_PIPELINE_KEYS", "PUBLIC_BASE_URL"}
    assert needed <= set(names)
    assert {"DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "DAGSTER_EVENT_BATCH_SIZE"} <= set(names)


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command that a deployment starts."""
    for name, service in compose()["services"].items():
        if "command" in service:
            yield f"compose {name}", service["command"]
    for name, document in documents():
        spec = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in spec.get("containers", []):
            yield name, container["command"]
    for unit in UNITS:
        found = re.search(r"(?m)^ExecStart=/opt/calendar-pipeline/\.venv/bin/(.+)$", unit.read_text())
        assert found
        yield unit.name, shlex.split(found[1])


@pytest.mark.parametrize(
    ("where", "words"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_is_installed_and_takes_its_options(where: str, words: list[str]) -> None:
    assert (PROGRAMS / words[0]).is_file()
    options = [word for word in words if word.startswith("-")]
    sub = [word for word in words[1:3] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    sub = sub if words[0] in ("dagster", "dagster-daemon", "calendar-pipeline") else []
    told = subprocess.run(
        [PROGRAMS / words[0], *sub, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    ).stdout
    for option in options:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), f"{words[0]} has no {option}"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """By its own tool, with the paths of this checkout in the place of /opt."""
    tool = shutil.which("systemd-analyze")
    assert tool, "This test needs systemd-analyze: `make machine` installs it (Debian, as root)."
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace("/opt/calendar-pipeline/.venv/bin", str(PROGRAMS))
        text = text.replace("/opt/calendar-pipeline", str(ROOT)).replace("User=calendar-pipeline", "User=root")
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in (*UNITS, DEPLOY / "systemd" / "calendar-pipeline.target")]
    told = subprocess.run(
        [tool, "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in told.stderr.splitlines() if "calendar-pipeline" in line]
    assert ours == []
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("name", "document"), list(documents()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_kubernetes_objects_fit_their_schema(name: str, document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_kubernetes_object_would_be_refused() -> None:
    [wrong] = [document for name, document in documents() if name == "api.yaml:Deployment/api"]
    wrong["spec"]["replicass"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_objects_name_one_another_rightly() -> None:
    found = dict(documents())
    kinds = {(document["kind"], document["metadata"]["name"]) for document in found.values()}
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert {path.name for path in KUBERNETES} == {
        *kustomization["resources"],
        "kustomization.yaml",
        "secret.example.yaml",
    }
    [generated] = kustomization["configMapGenerator"]
    for entry in generated["files"]:
        assert (DEPLOY / "kubernetes" / entry.partition("=")[2]).is_file()
    kinds.add(("ConfigMap", generated["name"]))
    kinds.add(("ServiceAccount", "default"))
    for document in found.values():
        spec = document.get("spec", {}).get("template", {}).get("spec", {})
        if "serviceAccountName" in spec:
            assert ("ServiceAccount", spec["serviceAccountName"]) in kinds
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in kinds
        if document["kind"] == "Service":
            assert ("Deployment", document["spec"]["selector"]["app"]) in kinds
    workspace = yaml.safe_load((DEPLOY / "kubernetes" / "instance" / "workspace.yaml").read_text())
    assert ("Service", workspace["load_from"][0]["grpc_server"]["host"]) in kinds


def test_dagster_loads_the_kubernetes_launcher(
    tmp_path: Path, server_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance file as it is, but for where the cluster's address comes from: a pod has it, a test does not."""
    import dagster as dg
    from dagster_k8s import K8sRunLauncher

    told = yaml.safe_load((DEPLOY / "kubernetes" / "instance" / "dagster.yaml").read_text())
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    launcher = told["run_launcher"]["config"]
    launcher |= {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told))
    name = f"dagster_k8s_{make_url(database_url).database}"
    embedded.create_database(server_url, name)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_url(make_url(server_url).set(database=name)))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        made = instance.run_launcher
        assert isinstance(made, K8sRunLauncher)
        assert made.job_namespace == "calendar-pipeline"
        assert made.env_secrets == ["calendar-pipeline"]
        assert made.instance_config_map == "dagster-instance"


def test_the_kubernetes_instance_is_the_projects_own_but_for_the_launcher() -> None:
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    theirs = yaml.safe_load((DEPLOY / "kubernetes" / "instance" / "dagster.yaml").read_text())
    del theirs["run_launcher"]
    assert theirs == ours


def test_the_units_user_is_the_databases_role() -> None:
    """By its socket PostgreSQL lets a user of the machine in as the role of the same name, and as no other."""
    files = (DEPLOY / "systemd").glob("*.service")
    users = {found for path in files for found in re.findall(r"(?m)^User=(.+)$", path.read_text())}
    settings = (DEPLOY / "systemd" / "calendar-pipeline.env").read_text()
    urls = [make_url(url) for url in re.findall(r"(?m)^\w*(?:DATABASE|POSTGRES)_URL=(.+)$", settings)]
    assert len(urls) == 2
    assert {url.username for url in urls} == users
    assert {url.query["host"] for url in urls} == {"/run/postgresql"}


def test_nobody_is_believed_who_forwards_an_address() -> None:
    """But a proxy on a private network: with * everybody could choose the address that they are counted by."""
    told = [words[words.index(FORWARDED) + 1] for _, words in commands() if FORWARDED in words]
    assert len(told) == 2
    for networks in told:
        assert all(ip_network(network).is_private for network in networks.split(","))


FORWARDED = "--forwarded-allow-ips"
