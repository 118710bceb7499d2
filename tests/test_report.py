"""Tables, figures and pages by hand: what is bold, what is escaped, what leads where."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.page import Page
from ssvid.evaluation.plots import class_bars, confusion, panels, score_figure, score_panels
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.published import published_rows, read_published
from ssvid.evaluation.tables.table import Kind, Row, Table, score, write


def table(**rows):
    made = [Row(name, {}, {"linear": values}) for name, values in rows.items()]
    return Table("T", "P", {"linear": 12.5}, made, mark_best=True)


def test_scores_as_text():
    assert score([]) == "–"
    assert score([33.333]) == "33.3"
    assert score([10.0, 20.0]) == "15.0 ± 7.1"  # sd with n - 1: 5 * sqrt(2)
    assert score([0.5], "Kendall's tau") == "0.500"


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ({"a": [50.0, 52.0], "b": [40.0, 42.0]}, "a"),  # 10 apart, spread sqrt(2 + 2) = 2
        ({"a": [50.0, 52.0], "b": [48.5, 50.5]}, None),  # 1.5 apart
        ({"a": [50.0, 52.0], "b": [48.9, 48.9]}, "a"),  # 2.1 apart, spread sqrt(2)
        ({"a": [90.0], "b": [40.0, 42.0]}, None),  # one seed: no spread to lead by
        ({"a": [90.0, 91.0]}, None),  # nothing to be better than
    ],
)
def test_bold_is_what_leads_by_more_than_the_spread(rows, best):
    found = table(**rows).best()
    assert (found["linear"].name if found else None) == best


def test_a_single_run_has_no_known_spread():
    made = table(a=[60.0, 60.0], b=[50.0, 52.0], c=[40.0, 42.0])
    assert made.best()["linear"].name == "a"
    made.rows[0].alone = True
    assert not made.best()
    assert [row[-1] for row in made.cells()] == ["60.0", "51.0 ± 1.4", "41.0 ± 1.4"]
    made.rows[0].scores["linear"] = [59.0, 61.0]  # draws of the protocol that differ
    assert made.cells()[0][-1] == "60.0 ± 1.4"
    made.rows[0].scores["linear"] = [10.0, 10.0]  # and where it is not among the first two
    assert made.best()["linear"].name == "b"


def test_published_rows_do_not_compete():
    made = table(a=[50.0, 52.0], b=[40.0, 42.0])
    made.rows.append(Row("c", {}, {"linear": [99.0]}, kind=Kind.PUBLISHED, source="https://example.org/c"))
    assert made.best()["linear"].name == "a"
    lines = made.markdown().splitlines()
    assert "| **51.0 ± 1.4** |" in lines[6]
    assert lines[8] == "| [c](https://example.org/c), published | 99.0 |"
    assert "Bold" in lines[-1]


def test_rule_of_the_bold_print_stands_only_where_it_is_used():
    assert "Bold" not in Table("T", "P", {"linear": 1.0}, [Row("a", {}, {"linear": [1.0, 2.0]})]).markdown()


def test_each_data_set_is_a_part_of_the_markdown_with_clean_numbers():
    chance = {"x: linear": 25.0, "x: tau": None, "y: linear": 50.0}
    rows = [
        Row(
            "a",
            {"seeds": "2"},
            {"x: linear": [50.0, 52.0], "x: tau": [0.5], "y: linear": [60.0]},
            {"x: linear": ["k", "l"]},
        ),
        Row("b", {}, {"y: linear": [99.0]}, kind=Kind.PUBLISHED, source="p. 3"),
    ]
    made = Table("T", "P", chance, rows, notes=["n"], data_sets={name: name[0] for name in chance})
    assert made.markdown().splitlines() == [
        *("### T", "", "P", "", "#### x", ""),
        *(
            "| model | seeds | linear (chance 25.0) | tau |",
            "| --- | --- | --- | --- |",
            "| a | 2 | 51.0 ± 1.4 | 0.500 |",
        ),
        *("", "#### y", "", "| model | seeds | linear (chance 50.0) |", "| --- | --- | --- |", "| a | 2 | 60.0 |"),
        *("| b, published |  | 99.0 |", "", "- n"),
    ]
    assert made.csv().splitlines()[0] == "model,seeds,x: linear (chance 25.0),x: tau,y: linear (chance 50.0)"


def test_facts_that_only_some_rows_state():
    made = Table("T", "P", {"x": None}, [Row("a", {"steps": "3"}, {"x": [1.0]}), Row("b", {"data": "d"}, {})])
    assert made.header() == ["model", "steps", "data", "x"]
    assert made.cells() == [["a", "3", "", "1.0"], ["b", "", "d", "–"]]
    assert made.csv().splitlines() == ["model,steps,data,x", "a,3,,1.0", "b,,d,–"]


def test_latex_is_escaped_and_whole():
    made = Table("50 % of A_B & C", "x # y", {"few@5": 7.7}, [Row("r_1", {"n": "10^2 ~ {z}"}, {"few@5": [1.0, 3.0]})])
    text = made.latex()
    assert r"\caption{50 \% of A\_B \& C. x \# y}" in text
    assert r"model & n & \shortstack[r]{few@5\\chance 7.7} \\" in text
    assert r"r\_1 & 10\textasciicircum{}2 \textasciitilde{} \{z\} & 2.0 $\pm$ 1.4 \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert r"\textbf{" not in text
    assert r"\textbf{51.0 $\pm$ 1.4}" in table(a=[50.0, 52.0], b=[40.0, 42.0]).latex()


def test_files_of_a_table(tmp_path):
    write(table(a=[1.0]), tmp_path / "deep" / "t")
    assert {path.suffix for path in (tmp_path / "deep").iterdir()} == {".md", ".csv", ".tex", ".json"}
    assert json.loads((tmp_path / "deep" / "t.json").read_text())["rows"][0]["scores"] == {"linear": [1.0]}


PUBLISHED = """
- {model: VCOP, backbone: R3D, dataset: ucf101, protocol: finetune, value: 64.9, source: "https://example.org"}
- {model: VCOP, backbone: R3D, dataset: hmdb51, protocol: finetune, value: 29.5, source: "https://example.org"}
- {model: VCOP, backbone: C3D, dataset: ucf101, protocol: finetune, value: 65.6, source: "a paper, table 3"}
"""


def test_published_scores_fall_into_their_columns(tmp_path):
    (tmp_path / "p.yaml").write_text(PUBLISHED)
    (tmp_path / "p.csv").write_text(
        "model,backbone,dataset,protocol,value,source\nVCOP,R3D,ucf101,finetune,64.9,https://example.org\n"
    )
    anchors = read_published(tmp_path / "p.yaml")
    assert read_published(tmp_path / "p.csv") == anchors[:1]
    rows = published_rows(anchors, [("ucf101: finetune", "ucf101", "finetune"), ("ucf101: linear", "ucf101", "linear")])
    assert [(row.name, row.facts["backbone"], row.scores, row.source) for row in rows] == [
        ("VCOP", "R3D", {"ucf101: finetune": [64.9]}, "https://example.org"),
        ("VCOP", "C3D", {"ucf101: finetune": [65.6]}, "a paper, table 3"),
    ]


def test_the_published_scores_that_come_along_can_be_read_and_have_an_address():
    anchors = read_published(Path(__file__).parents[1] / "configs" / "published.yaml")
    assert len(anchors) > 20
    assert all(re.match("https://", anchor.source) and 0 < anchor.value < 100 for anchor in anchors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {model: a, dataset: d, protocol: p, value: 1}", "entry 1 lacks source"),
        ("- {model: a, dataset: d, protocol: p, value: high, source: s}", "value must be a number"),
        ("- {model: a, dataset: d, protocol: p, value: 1, source: s, sauce: t}", "unknown fields sauce"),
        ("- a", "must have the fields model"),
        ("model: a", "must be a list"),
        ("- {model: a", "cannot be read"),
    ],
)
def test_published_scores_that_cannot_be_used_are_told(text, message, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_published(tmp_path / "p.yaml")
    with pytest.raises(DataError, match=r"configs/published\.yaml"):
        read_published(tmp_path / "nothing.yaml")


def test_figures_show_means_spread_and_chance():
    made = Table(
        "T",
        "P",
        {"a: linear": 25.0, "tau": None},
        [Row("random init", {}, {"a: linear": [20.0, 40.0]}), Row("x", {}, {"tau": [0.5]})],
    )
    figure = score_figure(made)
    first, second = figure.axes
    assert [bar.get_width() for bar in first.patches] == [0.0, 30.0]  # the first row stands on top
    assert first.get_lines()[-1].get_xdata()[0] == 25.0
    assert first.get_xlim() == (0, 100)
    assert second.get_xlim() == (0, 1)
    assert [text.get_text() for text in first.get_yticklabels()] == ["x", "random init"]


def test_only_what_did_not_learn_is_grey():
    kinds = (Kind.RANDOM, Kind.FIXED, Kind.SUPERVISED, Kind.PRETRAINED, Kind.PRETRAINED)
    rows = [Row(f"row {number}", {}, {"linear": [50.0]}, kind=kind) for number, kind in enumerate(kinds)]
    made = Table("T", "P", {"linear": 25.0}, rows)
    colors = [bar.get_facecolor() for bar in score_figure(made).axes[0].patches][::-1]
    assert colors[0] == colors[1]
    assert colors[3] == colors[4]
    assert len(set(colors)) == 3


def test_scores_of_a_growing_number_of_labels_are_a_curve():
    chance = dict.fromkeys(("few@1", "few@5", "few@20", "linear"), 10.0)
    rows = [
        Row(name, {}, {"few@1": [10.0], "few@5": [20.0, 40.0], "few@20": []})
        for name in ("random init", "supervised", "x", "y")
    ]
    table = Table("T", "P", chance, rows)
    assert panels(table) == [["linear"], ["few@1", "few@5", "few@20"]]
    bars, curve = score_figure(table).axes
    assert bars.get_title(loc="left") == "linear"
    lines = [line for line in curve.get_lines() if list(line.get_xdata()) == [1, 5]]
    assert [list(line.get_ydata()) for line in lines] == [[10.0, 30.0]] * 4
    assert len({line.get_color() for line in lines}) == 4
    assert len(score_panels(table)) == 2


def test_runs_that_differ_in_steps_are_a_curve_over_them():
    rungs = [Row(f"pace ({n})", {}, {"svm": [n / 10, n / 10 + 2]}, task="pace", steps=n) for n in (300, 100, 850)]
    rows = [Row("random init", {}, {"svm": [20.0]}, kind=Kind.RANDOM), *rungs]
    (axis,) = score_figure(Table("t", "p", {"svm": 12.5}, rows)).axes
    curve = next(line for line in axis.get_lines() if len(line.get_xdata()) == 3)
    assert list(curve.get_xdata()) == [100, 300, 850]
    assert list(curve.get_ydata()) == [11, 31, 86]
    assert sorted(line.get_ydata()[0] for line in axis.get_lines() if len(line.get_xdata()) == 2) == [12.5, 20.0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("steps of pretraining", "accuracy, %")
    assert [text.get_text() for text in axis.get_xticklabels()] == ["100", "300", "850"]
    for unlike in (
        rungs[:2],
        [*rungs, replace(rungs[0], name="pace, other data")],
        [replace(rungs[0], task="dpc"), *rungs[1:]],
    ):
        assert score_figure(Table("t", "p", {"svm": 12.5}, unlike)).axes[0].get_xlabel() == "accuracy, %"


def test_what_a_figure_counts_is_named():
    columns = [f"ut: video R@{k}" for k in (1, 5, 10)] + ["ut: video mAP"]
    row = Row("pace", {}, {name: [50.0] for name in columns})
    bars, curve = score_figure(Table("t", "p", dict.fromkeys(columns, 10.0), [row], [], {})).axes
    assert (curve.get_xlabel(), curve.get_ylabel()) == ("neighbours looked at", "queries answered, %")
    assert bars.get_xlabel() == "mean average precision, %"


def test_confusion_is_in_percent_of_the_true_class():
    figure = confusion(np.array([[3, 1], [0, 0]]), ["run", "walk"], "t")
    assert [(text.get_text(), text.get_position()) for text in figure.axes[0].texts] == [("75", (0, 0)), ("25", (1, 0))]
    assert [bar.get_width() for bar in class_bars(["run", "walk"], [75.0, 0.0], 50.0, "t").axes[0].patches] == [
        75.0,
        0.0,
    ]


def test_numbers_on_a_page_lead_to_their_cells(tmp_path):
    made = table(a=[50.0, 52.0], b=[40.0, 42.0])
    made.rows[0].cells = {"linear": ["a0", '"a1"']}
    made.rows[1].source = "javascript:alert(1)"
    page = Page("p")
    page.table(made)
    assert "href" not in page.write(tmp_path / "p.html").read_text()
    page.table(made, links=True)
    page.records("r", {"a0": {"seed": 0, "row": "<a>"}, '"a1"': {}})
    page.folded("<i>", [(class_bars(["x"], [1.0], None, "t"), "c")])
    text = page.write(tmp_path / "p.html").read_text()
    links = re.findall('href="#([^"]*)"', text)
    assert links == ["a0", "&#34;a1&#34;"]
    assert re.findall('<pre id="([^"]*)">', text) == links
    assert "{&#34;seed&#34;: 0, &#34;row&#34;: &#34;&lt;a&gt;&#34;}" in text
    assert "<summary>&lt;i&gt;</summary>" in text
    assert "javascript" not in text


def test_two_writers_of_cells_never_mix_and_a_cut_line_is_no_cell(tmp_path):
    path = tmp_path / "t.cells.jsonl"
    assert CellFile(path).read() == {}
    CellFile(path).add("a", {"value": 1})
    with path.open("a") as file:
        file.write('{"key": "b", "val')  # a kill in the middle of a line
    assert CellFile(path).read() == {"a": {"value": 1}}
    CellFile(path).add("c", {"value": 3})
    CellFile(path).add("a", {"value": 2})
    assert CellFile(path).read() == {"a": {"value": 2}, "c": {"value": 3}}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: CellFile(path).add(str(number), {"text": "ä" * 5000}), range(64)))
    assert len(CellFile(path).read()) == 66
    CellFile(path).write([("z", {"value": 0})])
    assert path.read_text() == '{"key": "z", "value": 0}\n'
