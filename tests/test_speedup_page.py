"""The page of a speed-up: complete, linked or self-contained, safe, and in a real browser the original follows the result."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import io
import json
import queue
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from ssvid.speedup import page as module
from ssvid.speedup.page import write_speedup_page
from ssvid.speedup.plan import make_plan
from ssvid.speedup.render import render_plan
from ssvid.video.writer import write_video
from tests.speedups import curve_of, tone, uneven, write_film
from tests.videos import numbers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"]  # the latter keeps it open


def explained(frames: int):
    """Evidence with answers at four rates, and a cut."""
    rates = (1.0, 1.25, 1.5625, 1.953125)
    faster = np.random.default_rng(0).random((4, frames))
    return dataclasses.replace(uneven(frames), rates=rates, faster=faster, by="model", cuts=(frames // 2,))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    source = write_film(folder / "a film <b> & #1.mp4", frames=180, sounds=[tone(6)], size=(90, 160))
    plan = make_plan(source, explained(180), speed=2, smooth=0.3)
    return plan, render_plan(plan, folder / "o.mp4"), folder


def test_page_is_one_file_with_all_it_needs(made):
    plan, result, folder = made
    text = write_speedup_page(plan, result, folder / "p.html", cam=result).read_text()
    assert text.count("data:video/mp4;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', text), "nothing is fetched from elsewhere"
    assert text.count('class="cut"') == 1
    assert "a film &lt;b&gt; &amp; #1.mp4" in text
    assert "<b> &" not in text
    stored = json.loads(re.search(r'id="plan">(.*?)</script>', text)[1])
    assert np.interp(1.5, stored["result"], stored["source"]) == pytest.approx(
        plan.to_source(np.array([1.5]))[0], abs=0.001
    )


def heat_of(faster: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Colours (R,T,3) of the picture of some probabilities, the slowest rate first, and what the ends of its scale say."""
    curve = dataclasses.replace(
        uneven(faster.shape[1]), rates=tuple(1.25 ** np.arange(len(faster))), faster=faster, by="model"
    )
    heat = module.heat_picture(curve)
    png = base64.b64decode(heat["image"].split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)[::-1], heat["ends"]


def test_the_picture_of_probabilities_has_shades_where_all_are_high():
    faster = 1 / (
        1 + np.exp(-np.linspace(0.5, 3.5, 400).reshape(4, 100))
    )  # 62 to 97 %: all red, if colours were even in it
    colours, ends = heat_of(faster)
    strongest = (np.abs(colours - module.RAMP[2]).max(-1) <= 1).mean()
    assert strongest < 0.1
    assert (np.diff(colours.reshape(-1, 3)[:, 1]) <= 0).all()  # the likelier, the less green
    assert colours[0, 0, 1] - colours[-1, -1, 1] > 100
    assert ends == ["3 %", "97 %"]
    undecided, ends = heat_of(np.full((4, 100), 0.5))
    assert np.abs(undecided - module.RAMP[1]).max() <= 1
    assert ends == ["27 %", "73 %"]  # the scale does not blow up what is nothing
    certain, ends = heat_of(np.tile([0.0, 1.0], (4, 50)))
    assert ends == ["2 %", "98 %"]
    assert np.abs(certain[0, :2] - module.RAMP[[0, 2]]).max() <= 1


def test_large_videos_are_linked_to_relatively(made, monkeypatch):
    plan, result, folder = made
    monkeypatch.setattr(module, "EMBEDDED", 0)
    text = write_speedup_page(plan, result, folder / "sub" / "p.html").read_text()
    assert 'src="../o.mp4"' in text
    assert 'src="../a%20film%20%3Cb%3E%20%26%20%231.mp4"' in text


def test_what_browsers_do_not_play_is_copied(tmp_path):
    write_video(tmp_path / "a.avi", numbers(20), codec="mpeg4")
    plan = make_plan(tmp_path / "a.avi", curve_of(np.arange(20) / 30), speed=2)
    result = render_plan(plan, tmp_path / "o.mp4")
    write_speedup_page(plan, result, tmp_path / "p.html")
    assert (tmp_path / "o.original.mp4").exists()


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_videos_have_a_page(tmp_path, frames):
    source = write_film(tmp_path / "a.mp4", frames=frames)
    plan = make_plan(source, curve_of(np.arange(frames) / 30), speed=2)
    assert "nan" not in write_speedup_page(plan, render_plan(plan, tmp_path / "o.mp4"), tmp_path / "p.html").read_text()


def told_by(page, profile) -> dict:
    """What a page in a browser posts to `http://127.0.0.1:PORT`, in place of whose PORT the server's stands."""
    posted: queue.Queue[bytes] = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posted.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        page.write_text(page.read_text().replace("PORT", str(server.server_port)))
        listening = threading.Thread(target=server.serve_forever)
        listening.start()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--window-size=500,900", page.as_uri()]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return json.loads(posted.get(timeout=90))
            finally:
                browser.terminate()
                server.shutdown()
                listening.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_the_original_follows_and_the_page_fits_a_phone(made, tmp_path):
    plan, result, folder = made
    text = write_speedup_page(plan, result, folder / "p.html", cam=result).read_text()
    # seeks by a click in the middle of the curves and by a key, and waits until all three videos stand there; then plays
    check = """<script>
    const errors = []; addEventListener('error', event => errors.push(event.message));
    const pause = time => new Promise(done => setTimeout(done, time));
    async function still() {
      do await pause(300); while (![result, ...followers].every(video => video.readyState >= 2 && !video.seeking));
    }
    async function probe() {
      await still();
      const box = $('tracker').getBoundingClientRect();
      chart.dispatchEvent(new PointerEvent('pointerdown', { clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true }));
      dispatchEvent(new PointerEvent('pointerup'));
      await still();
      const clicked = [result.currentTime, followers[0].currentTime, parseFloat($('cursor').style.left)];
      dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }));
      dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
      await still();
      const pressed = [result.currentTime, followers[0].currentTime];
      result.muted = true; $('look').click(); $('play').click();
      while (result.currentTime < 2 && !result.ended) await pause(20);
      const playing = toSource(result.currentTime) - followers[0].currentTime;
      const map = getComputedStyle($('map')).opacity;
      const fits = document.documentElement.scrollWidth <= innerWidth;
      const body = JSON.stringify({ clicked, pressed, playing, map, fits, errors });
      fetch('http://127.0.0.1:PORT', { method: 'POST', mode: 'no-cors', body });
    }
    probe();</script>"""
    probe = tmp_path / "probe.html"
    probe.write_text(text.replace("</body>", check + "</body>"))
    found = told_by(probe, tmp_path / "profile")
    assert found["fits"]
    assert found["errors"] == []
    middle = float(plan.to_result(np.array([3.0]))[0])
    assert found["clicked"] == pytest.approx([middle, 3.0, 50], abs=0.05)
    assert found["pressed"] == pytest.approx([1.0, float(plan.to_source(np.array([1.0]))[0])], abs=0.05)
    assert abs(found["playing"]) < 0.5, "a busy machine may hold it up, but it follows"
    assert found["map"] == "1"
