"""ssvid retrieve: from videos to answers, as data and as a page; errors and exit codes."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.cli.retrieve import parse_span
from ssvid.errors import ConfigError
from tests.footage import COUNT, make_footage
from tests.test_cli import called

COMMANDS = ["index", "add", "remove", "query", "evaluate", "export"]
VIEW = ["--clips", "2", "--frames", "8", "--stride", "2", "--size", "32"]
MODEL = ["--model", "baseline_mean_frame", "--workers", "0", *VIEW]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return make_footage(tmp_path_factory.mktemp("footage"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = CliRunner().invoke(app, ["retrieve", command, "-h"])
    assert result.exit_code == 0
    assert re.search(rf"Example:\s+ssvid retrieve {command} ", result.output)
    assert command in CliRunner().invoke(app, ["retrieve", "-h"]).output


def test_from_videos_to_an_answer(listing, tmp_path, monkeypatch, capsys):
    folder, query = str(tmp_path / "c"), str(listing.parent / "2.mp4")
    code, out, _ = called(
        monkeypatch, capsys, "retrieve", "index", str(listing), "-o", folder, "--unit", "clip", *MODEL, "--json"
    )
    facts = json.loads(out)
    assert code == 0
    assert (facts["videos"], facts["unit"], facts["kind"], facts["bad"]) == (COUNT, "clip", "exact", [])
    asked = ["retrieve", "query", folder, query, "--at", "0:00.2-0:00.8", "-k", "3"]
    code, out, _ = called(monkeypatch, capsys, *asked, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["at"], found["label"], found["notes"]) == ([0.2, 0.8], "b", [])
    assert [set(hit) for hit in found["hits"]] == [{"path", "start", "end", "score", "label", "group"}] * 3
    assert found["hits"][0]["path"] == query
    code, out, err = called(
        monkeypatch, capsys, *asked, "--exclude-self", "--group", "--html", str(tmp_path / "p.html")
    )
    assert code == 0
    assert query not in out
    assert out.splitlines()[0].split("\t") == ["rank", "score", "time", "class", "path"]
    assert "p.html" in err
    assert (tmp_path / "p.html").stat().st_size > 10_000
    code, out, _ = called(monkeypatch, capsys, *asked, "--within", "--matrix", str(tmp_path / "m.png"), "--json")
    assert {hit["path"] for hit in json.loads(out)["hits"]} == {query}
    assert (tmp_path / "m.png").exists()
    code, out, _ = called(monkeypatch, capsys, "retrieve", "remove", folder, query)
    assert f"{COUNT - 1} videos" in out
    code, out, err = called(monkeypatch, capsys, *asked[:-4], "--at", "0.1-0.2")
    assert query not in out
    assert "note: the query lasts 0.10 s" in err
    code, out, _ = called(monkeypatch, capsys, "retrieve", "add", folder, query)
    assert f"{COUNT} videos" in out


def test_evaluate_prints_chance_and_writes_the_table(listing, tmp_path, monkeypatch, capsys):
    arguments = ["retrieve", "evaluate", "baseline_mean_frame", "--data", str(listing), "--workers", "0", *VIEW]
    code, out, _ = called(monkeypatch, capsys, *arguments, "-o", str(tmp_path / "r"), "--protocol", "loo", "--json")
    table = json.loads(out)
    assert code == 0
    assert table["chance"]["loo R@1"] == pytest.approx(100 / 7)
    assert table["rows"][0]["scores"]["loo R@1"]
    assert {path.suffix for path in tmp_path.glob("r.*")} == {".md", ".csv", ".tex", ".json", ".jsonl"}
    assert "chance 14.3" in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["index", "LIST", "--model", "nowhere", "-o", "c"], 2, "nowhere"),
        (["index", "nowhere", "--model", "baseline_histogram", "-o", "c"], 3, "does not exist"),
        (
            ["index", "LIST", "--model", "baseline_histogram", "-o", "c", "--unit", "pixel"],
            2,
            "video, concat, clip, frame",
        ),
        (["index", "LIST", "--model", "baseline_histogram", "-o", "c", "--kind", "lsh"], 2, "exact, hnsw, ivfpq"),
        (["query", "nowhere", "clip.mp4"], 3, "is not a collection"),
        (["query", "nowhere", "clip.mp4", "--matrix", "m.png"], 2, "--within"),
        (["add", "nowhere", "LIST"], 3, "is not a collection"),
        (["evaluate", "resnet18_tiny", "--data", "LIST", "--protocol", "knn"], 2, "no protocol of retrieval"),
        (["evaluate", "resnet18_tiny", "--data", "LIST", "--option", "video.spaces=raw"], 2, "Did you mean space"),
    ],
)
def test_errors_have_their_code_and_one_line(arguments, code, message, listing, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = [str(listing) if word == "LIST" else word for word in arguments]
    found, out, err = called(monkeypatch, capsys, "retrieve", *given)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_stretches_are_read_as_people_write_them():
    read = {"00:12-00:15": (12, 15), "12.5": (12.5, 12.5), "1:02:03.5 - 1:02:04": (3723.5, 3724), "2-61": (2, 61)}
    assert {text: parse_span(text) for text in read} == read
    for wrong in ("12:", "a-b", "5-", "-3"):
        with pytest.raises(ConfigError, match="00:12-00:15"):
            parse_span(wrong)
    with pytest.raises(ConfigError, match="before it begins"):
        parse_span("5-3")
