"""The transfer table's command: what is told when its data, models, protocols or options are not right."""

from __future__ import annotations

import sys

import pytest

from ssvid.cli import main
from ssvid.errors import ConfigError
from ssvid.evaluation import adapter
from ssvid.evaluation.tables.jobs import parse_options
from tests.test_index import noise


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Data that cannot be used, each in its own way."""
    folder = tmp_path_factory.mktemp("odd")
    for name in (
        "split/train/run/a.mp4",
        "split/test/walk/b.mp4",
        "plain/run/a.mp4",
        "one/train/run/a.mp4",
        "one/test/run/b.mp4",
        "bare/a.mp4",
        "ucf/Run/v_Run_g01_c01.avi",
    ):
        noise(folder / name)
    (folder / "theirs.pt").write_bytes(b"weights")
    (folder / "folder").mkdir()
    return folder


@pytest.mark.parametrize(
    ("model", "data", "words", "code", "message"),
    [
        ("resnet18_tiny", "nowhere", [], 3, "does not exist"),
        ("resnet18_tiny", "ucf101:{}/nowhere", [], 3, "is not a folder"),
        ("resnet18_tiny", "ucf101:{}/ucf", [], 3, "no split files"),
        ("resnet18_tiny", "{}/split", [], 3, "class 'walk' has 1 test videos but no training video"),
        ("resnet18_tiny", "{}/plain", [], 3, "no way to split"),
        ("resnet18_tiny", "{}/one", [], 3, "all 2 labelled videos are of the class 'run'"),
        ("resnet18_tiny", "{}/bare", [], 3, "none of the 1 videos"),
        ("{}/theirs.pt", "{}/split", [], 3, "does not say of which network"),
        ("{}/folder", "{}/split", [], 3, "not a run folder"),
        ("resnet19_tiny", "{}/split", [], 2, "neither a run folder nor a backbone"),
        ("resnet18_tiny", "{}/split", ["--protocol", "lineal"], 2, "Did you mean linear"),
        ("resnet18_tiny", "{}/split", ["--option", "linear.strength=1"], 2, "Did you mean strengths"),
        ("resnet18_tiny", "{}/split", ["--option", "knn.k"], 2, "PROTOCOL.OPTION=VALUE"),
        ("resnet18_tiny", "{}/split", ["--option", "svm.k=1"], 2, "not part of the table"),
        ("s3dg_tiny", "{}/split", ["--size", "4"], 2, "give --frames and --size"),
        ("resnet18_tiny", "{}/split", ["--published", "nowhere"], 3, "configs/published.yaml"),
    ],
)
def test_errors_say_what_to_do(model, data, words, code, message, odd, monkeypatch, capsys):
    monkeypatch.chdir(odd)
    monkeypatch.setattr(sys, "argv", ["ssvid", "transfer", model.format(odd), "--data", data.format(odd), *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_options_are_read_as_their_type():
    known = {name: adapter.find_protocol(name) for name in ("linear", "few")}
    assert parse_options(["few.draws=2", "few.shots=[1,5]"], known) == {
        "linear": {},
        "few": {"draws": 2, "shots": [1, 5]},
    }
    with pytest.raises(ConfigError, match="draws"):
        parse_options(["few.draws=many"], known)
