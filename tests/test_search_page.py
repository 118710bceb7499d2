"""The page of an answer: complete in one file or a folder, right and wrong marked, and alive in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import numpy as np
import pytest

from ssvid.evaluation.features import View
from ssvid.search.building import build
from ssvid.search.collection import Collection
from ssvid.search.encode import open_encoder
from ssvid.search.page import clock_time, similarity_figure, write_search_page
from ssvid.search.preview import preview, preview_span
from ssvid.video.reader import Video
from tests.footage import make_footage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<script>{
const all = [...document.querySelectorAll('.clip')], first = all[0].querySelector('video'), press = (clip, name) =>
  clip.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true, cancelable: true}));
const report = () => {
  const loaded = all.filter(clip => clip.querySelector('video').src).length;
  all[0].focus(); press(all[0], 'ArrowRight'); const moved = document.activeElement === all[1];
  press(all[0], ' '); const held = first.paused;
  press(all[1], 'Enter'); const large = all[1].classList.contains('large');
  const told = [document.documentElement.scrollWidth <= innerWidth, loaded > 0 && loaded < all.length, moved, held, large];
  new Image().src = 'http://127.0.0.1:PORT/' + told; };
const wait = () => first.currentTime > 0 ? report() : setTimeout(wait, 50);
onload = wait;
}</script>"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    listing = make_footage(tmp_path_factory.mktemp("footage"))
    view = View(clips=2, frames=8, stride=2, size=32)
    return build(tmp_path_factory.mktemp("c") / "c", [listing], open_encoder("baseline_mean_frame", "clip", view))


@pytest.fixture(scope="module")
def page(collection, tmp_path_factory) -> Path:
    video = collection.index.videos()[3]
    hits = collection.query(video, k=12)
    return write_search_page(
        tmp_path_factory.mktemp("page") / "page.html", collection, video, None, hits, ["it is <hard>"]
    )


def test_one_file_holds_all_and_marks_right_and_wrong(page, collection):
    text = page.read_text()
    assert text.count('data-src="data:video/mp4;base64,') == 13
    assert not re.search(r'(?:src|href|poster)="(?!data:)', text), "nothing is fetched from elsewhere"
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    hits = collection.query(collection.index.videos()[3], k=12)
    right = sum(hit.label == "b" for hit in hits)
    assert 0 < right < 12
    assert text.count('class="clip right"') == right
    assert text.count('class="clip wrong"') == 12 - right
    assert f"{right} of 12 show the query&#39;s class, b." in text
    assert "it is &lt;hard&gt;" in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_a_folder_holds_the_clips_beside_the_page(collection, tmp_path):
    video = replace(collection.index.videos()[3], label=None)
    path = write_search_page(tmp_path / "answer", collection, video, (0.2, 0.9), collection.query(video, k=3))
    text = path.read_text()
    assert path == tmp_path / "answer" / "index.html"
    sources = re.findall(r'data-src="([^"]+)"', text)
    assert len(sources) == 4
    for source in sources:
        movie = Video(tmp_path / "answer" / source)
        assert movie.info.codec == "h264"
        assert movie.info.frames > 1
    assert "same class" not in text  # the query's class is not known
    assert "0:00.2–0:00.9" in text


def test_moments_come_with_their_self_similarity(collection, tmp_path):
    video = collection.index.videos()[0]
    moments = collection.within(video, (0.1, 0.6))
    text = write_search_page(tmp_path / "p.html", collection, video, (0.1, 0.6), moments.hits, (), moments).read_text()
    assert "Self-similarity" in text
    assert "data:image/png" in text
    assert "same class" not in text
    image = similarity_figure(moments, (0.1, 0.6)).axes[0].images[0]
    assert np.array_equal(image.get_array(), moments.similarity)
    assert image.get_extent()[0] < moments.spans[0].mean() < image.get_extent()[1]


def test_a_clip_shows_its_seconds(collection):
    video = collection.index.videos()[0]
    made = preview(video, 0.2, 1.3)
    assert (made.start, made.end) == pytest.approx((0.2, 1.3))
    assert made.still[:2] == b"\xff\xd8"
    assert preview_span(2.0, 2.0, 10.0) == pytest.approx((1.5, 2.5))  # a moment, with what is around it
    assert preview_span(0.0, 0.1, 10.0) == pytest.approx((0.0, 1.0))
    assert preview_span(0.0, 60.0, 60.0) == pytest.approx((27.0, 33.0))  # the middle of a long one
    assert preview_span(0.0, 0.4, 0.4) == pytest.approx((0.0, 0.4))


def test_times_are_written_as_people_do():
    assert [clock_time(seconds) for seconds in (0, 62.54, 59.96, 3723.4)] == ["0:00.0", "1:02.5", "1:00.0", "1:02:03.4"]


class Listener(BaseHTTPRequestHandler):
    """Takes what the page in the browser tells."""

    told: Queue[str] = Queue()

    def do_GET(self):
        self.told.put(self.path[1:])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_is_alive_on_a_phone(page, tmp_path):
    probe = tmp_path / "probe.html"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,500"]
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = PROBE.replace("PORT", str(server.server_port))
        probe.write_text(page.read_text().replace("</body>", told + "</body>"))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([str(CHROMIUM), *flags, probe.as_uri()], **quiet) as browser:
            try:
                answer = Listener.told.get(timeout=60)  # a clip plays before the page tells anything
            finally:
                browser.terminate()
                server.shutdown()
    names = ("fits", "loads lazily", "arrow keys", "space holds", "enlarges")
    assert dict(zip(names, answer.split(","), strict=True)) == dict.fromkeys(names, "true")
