"""The deployment files: no container is built or run here, so at least what they name must exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.main import get_command

from gen_rerank.cli import mounted
from serve.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "serve" / "deploy"
DOCKERFILES = ["Dockerfile.cpu", "Dockerfile.gpu"]
BOARD = DEPLOY / "grafana" / "dashboards" / "gen_rerank.json"
SUFFIXES = {
    "counter": ["_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_sum", "_count"],
    "summary": ["_sum", "_count"],
}
NOT_TRIED = re.compile(r"not (built|run|tried)|Not run", re.IGNORECASE)


def read_yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    text = (DEPLOY / dockerfile).read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def value(dockerfile: str, keyword: str) -> str:
    (found,) = [rest for word, rest in instructions(dockerfile) if word == keyword]
    return found


def board_queries() -> list[str]:
    panels = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def alert_queries() -> list[str]:
    return [rule["expr"] for group in read_yaml("alerts.yml")["groups"] for rule in group["rules"]]


def our_metrics() -> set[str]:
    registry = CollectorRegistry()
    telemetry = Telemetry(None, registry=registry)
    names = {family.name + suffix for family in registry.collect() for suffix in SUFFIXES[family.type]}
    telemetry.close()
    return names


def vllm_metrics() -> set[str]:
    """The names in vLLM's source, faster than importing it; counters lack the `_total` that they are shown with."""
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    source = (Path(vllm.origin).parent / "v1" / "metrics" / "loggers.py").read_text(encoding="utf-8")
    names = set(re.findall(r'name="(vllm:\w+)"', source))
    return names | {f"{name}_total" for name in names}


@pytest.mark.parametrize("queries", [board_queries, alert_queries])
def test_metrics_exist(queries: Any) -> None:
    named = set(re.findall(r"gen_rerank_\w+|vllm:\w+", " ".join(queries())))
    assert len(named) >= 5
    assert named <= our_metrics() | vllm_metrics()


def test_the_board_shows_every_metric_of_ours() -> None:
    shown = " ".join(board_queries())
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in our_metrics()}
    assert [family for family in families if family not in shown] == []


def test_the_board_is_whole() -> None:
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    (uid,) = {panel["datasource"]["uid"] for panel in board["panels"] if panel["type"] != "row"}
    assert uid == source["datasources"][0]["uid"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$(?!__)(\w+)", " ".join(board_queries()))) == variables


def test_compose_mounts_and_builds_what_is_there() -> None:
    services = read_yaml("compose.yaml")["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (DEPLOY / volume.split(":")[0]).exists()
    gpu = read_yaml("compose.gpu.yaml")["services"]["server"]
    for build in (services["server"]["build"], gpu["build"]):
        assert (ROOT / build["dockerfile"]).is_file()
    assert (DEPLOY / services["server"]["build"]["context"]).resolve() == ROOT
    targets = read_yaml("prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [f"server:{value('Dockerfile.cpu', 'EXPOSE')}"]
    assert all((DEPLOY / name).is_file() for name in read_yaml("prometheus.yml")["rule_files"])


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfiles_copy_what_is_there(dockerfile: str) -> None:
    copied = [rest.split()[:-1] for word, rest in instructions(dockerfile) if word == "COPY"]
    sources = [source for sources in copied for source in sources]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    # Every package that pip builds, and what pyproject.toml reads while it does.
    assert {"gen_rerank", "train", "quant", "serve", "prompts", "pyproject.toml", "README.md", "LICENSE"} <= set(
        sources
    )


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfiles_start_a_command_that_exists(dockerfile: str) -> None:
    command = json.loads(value(dockerfile, "ENTRYPOINT"))
    assert command[:3] == ["gen-rerank", "serve", "/model"]
    serve = get_command(mounted()).commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    given = [part for part in command + read_yaml("compose.yaml")["services"]["server"]["command"] if part[:2] == "--"]
    assert set(given) <= known
    assert command[command.index("--port") + 1] == value(dockerfile, "EXPOSE")
    assert "/health" in value(dockerfile, "HEALTHCHECK")
    assert value(dockerfile, "USER") != "root"


def test_time_to_stop_is_longer_than_the_drain() -> None:
    serve = get_command(mounted()).commands["serve"]  # type: ignore[attr-defined]
    (drain,) = [parameter.default for parameter in serve.params if "--drain" in parameter.opts]
    grace = read_yaml("compose.yaml")["services"]["server"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > drain + 30  # the engine's own time to stop


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (it comes with Prometheus)")
@pytest.mark.parametrize("check", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_accepts_the_alerts_and_they_ring_as_the_made_up_series_say(check: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *check], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [*DOCKERFILES, "compose.yaml", "compose.gpu.yaml", "prometheus.yml", "alerts.yml"])
def test_what_was_not_tried_says_so_at_its_top(name: str) -> None:
    head = (DEPLOY / name).read_text(encoding="utf-8").split("\n\n")[0]
    assert head.startswith("#")
    assert NOT_TRIED.search(head)


def test_the_readme_says_so_too() -> None:
    assert "None of the images was built" in (DEPLOY / "README.md").read_text(encoding="utf-8")[:200]
    assert NOT_TRIED.search(json.loads(BOARD.read_text(encoding="utf-8"))["description"])
