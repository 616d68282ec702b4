"""A real Prometheus reads the metrics, every query of the dashboard finds something, and the alerts hold."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from fixtures import start, upstream  # noqa: F401

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DEADLINE = 60


def tool(name):
    """Returns the path of a program of Debian's package `prometheus`."""
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install prometheus"
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """A Prometheus that scrapes one address every half second."""

    def __init__(self, folder, target):
        config = folder / "prometheus.yml"
        config.write_text(
            "global: { scrape_interval: 500ms, scrape_timeout: 500ms }\n"
            f"rule_files: ['{DEPLOY}/prometheus/alerts.yml']\n"
            "scrape_configs:\n"
            f"  - {{ job_name: tokenrill, static_configs: [{{ targets: ['{target}'] }}] }}\n"
        )
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = (folder / "prometheus.log").open("w+")
        self.process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def get(self, path, **query):
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, query):
        return self.get("/api/v1/query", query=query)["result"]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def until(what, check):
    end = time.monotonic() + DEADLINE
    while True:
        try:
            found = check()
        except OSError as error:
            found, what = None, f"{what}: {error}"
        if found:
            return found
        assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def scraped(start, tmp_path):  # noqa: F811
    """Returns a server, and a Prometheus that scrapes it."""
    server = start('[metrics]\nenabled = true\n[admin]\nlisten = "127.0.0.1:0"\n[mock]\ntokens_per_second = 500\n')
    [line] = server.wait_records("listening for operators", 1)
    prometheus = Prometheus(tmp_path, line["address"])
    yield server, prometheus
    prometheus.stop()


def stream(server, model):
    query = urllib.parse.urlencode({"prompt": "Hello", "model": model})
    with urllib.request.urlopen(f"{server.url}/stream?{query}", timeout=30) as answer:
        try:
            answer.read()
        except http.client.IncompleteRead:
            assert "break" in model, "only what broke ends like that"


def test_prometheus_reads_all_and_every_panel_shows_something(scraped):
    server, prometheus = scraped
    until("a first scrape", lambda: prometheus.query("up == 1"))
    asked = {"mock": 0, "mock-break": 0}

    def ask_again():
        for model in asked:
            stream(server, model)
            asked[model] += 1
        return True

    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    panels = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(panels) >= 12
    for title, expr in panels:
        query = expr.replace("$__rate_interval", "30s").replace("$model", ".*")
        assert "$" not in query, f"{title}: {query}"

        def shows(query=query):
            return ask_again() and [
                point for point in prometheus.query(query) if point["value"][1] not in ("NaN", "0")
            ]

        # Nothing runs between two of the requests.
        found = prometheus.query(query) if "running" in query else until(f"{title}: {query}", shows)
        assert found, title
    [target] = prometheus.get("/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    total = 'sum(tokenrill_generations_total{model="mock",outcome="done"})'
    until("all that was asked", lambda: prometheus.query(total)[0]["value"][1] == str(asked["mock"]))
    broken = 'sum(tokenrill_generations_total{model="mock-break",outcome="upstream_error"})'
    until("what broke", lambda: prometheus.query(broken)[0]["value"][1] == str(asked["mock-break"]))
    variable = next(one for one in dashboard["templating"]["list"] if one["name"] == "model")
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
    models = prometheus.get(f"/api/v1/label/{label}/values", **{"match[]": metric})
    assert "mock" in models and "other" in models


def test_the_alerts_are_valid_and_do_what_their_tests_say():
    for arguments in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            [tool("promtool"), *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_an_alert_and_a_panel_is_in_the_docs(scraped):
    server, prometheus = scraped
    stream(server, "mock")
    page = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text()
    texts = [(DEPLOY / "prometheus/alerts.yml").read_text(), (DEPLOY / "grafana/dashboard.json").read_text()]
    names = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for text in texts
        for name in re.findall(r"\b(?:tokenrill|process)_[a-z_]+", text)
    }
    assert len(names) > 8
    assert {name for name in names if f"`{name}" not in page} == set()
    until("a first scrape", lambda: prometheus.query("up == 1"))
    shown = set(prometheus.get("/api/v1/label/__name__/values"))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {name for name in families if name.startswith(("tokenrill_", "process_"))}
    assert {name for name in ours if f"`{name}" not in page} == set()
