"""The page that says which backbone suits which task has the numbers of the zoo and of the tasks, and answers every question."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvid.cli.backbone_page import encoder_table, head_table, named_encoders, rendered, task_table
from ssvid.errors import ConfigError
from ssvid.plugins import list_tasks, load_task
from ssvid.zoo import list_models, model_info
from ssvid.zoo.registry import HEADS, catalogue

PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_tables_are_what_the_sources_say(text):
    assert rendered(text) == text, f"python -m ssvid.cli.backbone_page {PAGE}"


def test_a_table_that_is_wrong_is_written_anew():
    page = "`resnet18_tiny`\n<!-- encoders: how -->\n| `resnet18_tiny` | 3 G |\n<!-- end -->\nwords"
    assert (
        rendered(page)
        == f"`resnet18_tiny`\n<!-- encoders: how -->\n{encoder_table(['resnet18_tiny'])}\n<!-- end -->\nwords"
    )
    assert "| `resnet18_tiny` | 16 x 48 px | 0.08 M | 0.06 G | 1 frame | 8 px | 1 frame |" in rendered(page)


def test_every_question_is_answered_with_an_encoder(text):
    sections = {part.partition("\n")[0]: part for part in text.split("\n### ")[1:]}
    assert list(sections) == [
        "A CPU only", "A small GPU", "Tracking", "Retrieval", "Streams", "Long video", "Tasks about motion alone"
    ]  # fmt: skip
    assert all(named_encoders(part.partition("\n## ")[0]) for part in sections.values())
    for name in named_encoders(sections["Streams"])[:2]:
        assert model_info(name).streams
    for name in named_encoders(sections["Tasks about motion alone"].partition("speednet must")[0]):
        assert model_info(name).order == "aware"


def test_an_encoder_is_said_to_be_refused_by_whom_it_is_refused(text):
    for name in named_encoders(text):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        said = row.split(" | ")[-1].removesuffix(" |")
        assert said == ("all" if not model_info(name).learns else ", ".join(refusing(name)) or "none")


def refusing(name: str) -> list[str]:
    """Tasks whose own check refuses an encoder, with the options they would build it with."""
    found = []
    for task in list_tasks():
        maker, options = load_task(task), model_info(name).options
        wishes = {key: value for key, value in maker.backbone_options.items() if key in options}
        try:
            maker.check(model_info(name, **wishes))
        except ConfigError:
            found.append(task)
    return found


def test_every_head_is_there_with_what_it_makes_of_a_map():
    rows = {line.split("`")[1]: line.split(" | ") for line in head_table().splitlines()[2:]}
    assert list(rows) == list(catalogue(HEADS))
    assert rows["convlstm"][2:6] == ["all", "yes", "aware", "yes"]
    assert rows["netvlad"][2:6] == ["one", "no", "blind", "yes"]
    assert rows["local_pooling"][2:6] == ["one in 5", "no", "aware", "yes"]


def test_every_task_is_there_with_its_needs():
    lines = task_table().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(list_tasks())
    learners = len([name for name in list_models() if model_info(name).learns])
    assert f"| `dpc` | nothing | {learners} of {learners} |" in lines
    whole = len([name for name in list_models() if model_info(name).learns and model_info(name).isolation != "motion"])
    assert f"| `tcc` | frames that can be encoded alone, without a motion stream | {whole} of {learners} |" in lines
    aware = len([name for name in list_models() if model_info(name).learns and model_info(name).order == "aware"])
    assert any(
        line.startswith("| `pace` | an order of frames") and f"| {aware} of {learners} |" in line for line in lines
    )


def test_encoders_are_found_in_words_and_not_in_tables():
    words = (
        "`r3d_18@kinetics400` and `resnet18+lstm` and `--frames` <!-- encoders: x -->\n| `s3d` |\n<!-- end --> `r3d_18`"
    )
    assert named_encoders(words) == ["r3d_18", "resnet18"]
    assert "one cell" in encoder_table(["baseline_difference"])
