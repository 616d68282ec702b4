"""Coding agents, as they come, do a real task in a folder of their own, in front of every dialect."""

import pytest

from model import AFTER, DONE
from trials import WORDS, all_trials

# These don't send their thoughts back as they were sealed, whatever they are told.
FORGETFUL = {"Qwen Code", "opencode", "aider", "Cline"}


def of(*kinds):
    trials = [trial for trial in all_trials() if trial.kind in kinds]
    return pytest.mark.parametrize("trial", trials, ids=str)


def is_mindful(trial):
    # Claude Code drops the thoughts of an answer that names another model than it has asked for.
    is_renamed = (trial.agent, trial.dialect) == ("Claude Code", "anthropic")
    return trial.agent not in FORGETFUL and not is_renamed


@of("task")
def test_an_agent_does_its_task(trial, outcomes):
    outcome = outcomes[trial].result()
    told = f"{trial}: {outcome.output[-2000:]}"
    assert (outcome.problems, outcome.code) == ([], 0), told
    assert outcome.file == AFTER, told
    assert DONE in outcome.output, told
    if trial.agent != "aider":  # it edits, and calls no tools
        assert outcome.proof == AFTER, told
        assert outcome.steps == ["read", "edit", "run", "answer"], told
    assert (outcome.thoughts > 0) == is_mindful(trial), told
    assert outcome.refused == []
    if "WebSocket" in trial.agent:  # and fell back to nothing else
        assert outcome.routes == {"GET /v1/responses"}, outcome.routes
    assert set(outcome.generations) == {"complete"}
    # A line per request would hide the one that matters.
    assert len(outcome.warnings) <= 2, outcome.warnings


@of("error")
def test_an_agent_tells_why_it_was_refused(trial, outcomes):
    outcome = outcomes[trial].result()
    assert WORDS in outcome.output.replace("\n", " "), outcome.output[-2000:]


@of("cut")
def test_an_agent_does_not_take_a_broken_answer_for_whole(trial, outcomes):
    outcome = outcomes[trial].result()
    assert outcome.requests > 1 or outcome.code != 0, outcome.output[-2000:]
    assert "complete" not in outcome.generations


@of("cancel")
def test_an_agent_that_leaves_ends_its_request_upstream(trial, outcomes):
    outcome = outcomes[trial].result()
    assert "client_left" in outcome.generations, outcome
