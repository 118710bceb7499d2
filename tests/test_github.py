"""The workflow calls what the README's commands call, and forms for reports are valid and ask for what `ssvid doctor` prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TYPES = {"textarea", "input", "dropdown", "checkboxes", "markdown"}


def test_the_workflow_only_calls_targets_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflow = OmegaConf.to_container(OmegaConf.load(ROOT / ".github" / "workflows" / "test.yml"))
    calls = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert calls == ["make test"]
    assert {call.split()[1] for call in calls} <= targets


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_have_what_is_asked_of_them(path):
    form = OmegaConf.to_container(OmegaConf.load(path))
    assert {"name", "description", "body"} <= form.keys()
    assert all(field["type"] in TYPES and field["attributes"]["label"] for field in form["body"])


def test_a_report_of_a_fault_comes_with_what_doctor_says():
    assert "ssvid doctor --json" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text()
