"""The table of what holds: client dialect × upstream dialect × feature, from the tests marked `feature`.

It is printed at the end of a run, and written as Markdown to the file that MATRIX_MD names.
"""

import os

import pytest

NAMES = {"chat": "OpenAI Chat", "responses": "OpenAI Responses", "anthropic": "Anthropic", "gemini": "Gemini"}

_cells = {}  # (client, upstream) -> feature -> whether all its tests passed
_features = []


def pytest_configure(config):
    config.addinivalue_line("markers", "feature(name): a cell of the matrix of clients, upstreams and features")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    marker = item.get_closest_marker("feature")
    if marker and (report.when == "call" or not report.passed):
        client, upstream = item.callspec.params["client"], item.callspec.params["upstream"]
        (name,) = marker.args
        if name not in _features:
            _features.append(name)
        row = _cells.setdefault((client, upstream), {})
        row[name] = row.get(name, True) and report.passed
    return report


def _rows():
    order = list(NAMES)
    for client, upstream in sorted(_cells, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))):
        marks = {True: "✓", False: "✗", None: "–"}
        row = _cells[client, upstream]
        yield [NAMES[client], NAMES[upstream], *(marks[row.get(feature)] for feature in _features)]


def markdown():
    lines = ["| client | upstream | " + " | ".join(_features) + " |", "| --- | --- |" + " :-: |" * len(_features)]
    lines += ["| " + " | ".join(row) + " |" for row in _rows()]
    return "\n".join(lines) + "\n"


def pytest_terminal_summary(terminalreporter):
    if not _cells:
        return
    terminalreporter.section("client × upstream × feature")
    for number, feature in enumerate(_features, 1):
        terminalreporter.write_line(f"  {number:2} {feature}")
    terminalreporter.write_line("")
    heads = "".join(f"{number:>3}" for number in range(1, len(_features) + 1))
    terminalreporter.write_line(f"{'client':<18}{'upstream':<18}{heads}")
    for client, upstream, *marks in _rows():
        terminalreporter.write_line(f"{client:<18}{upstream:<18}" + "".join(f"{mark:>3}" for mark in marks))
    if path := os.environ.get("MATRIX_MD"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(markdown())
