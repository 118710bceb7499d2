"""Style and script of the speed-up page; `page.py` fills them in."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --paper: #fbfaf7; --line: #d9d5cc; --soft: #5c6b78; --accent: #b4552d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --paper: #14181c; --line: #353c44; --soft: #9aa7b2; --accent: #e58e64; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1rem 3rem; max-width: 70rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: .3rem 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; max-width: 48rem; } .note { color: var(--soft); font-size: .9rem; }
a { color: var(--accent); }
.stage { display: flex; gap: 1rem; margin: .8rem 0; } .stage figure { flex: 1 1 0; min-width: 0; margin: 0; }
@media (max-width: 40rem) { .stage.wide { flex-direction: column; gap: .5rem; } }
.screen { position: relative; background: #000; border-radius: 6px; overflow: hidden; display: flex; justify-content: center; }
.screen video { display: block; max-width: 100%; width: 100%; max-height: 56vh; }
.screen video.over { position: absolute; inset: 0; height: 100%; opacity: 0; transition: opacity .15s; }
.screen video.over.shown { opacity: 1; }
.screen .broken { position: absolute; inset: auto 0 0; padding: .5rem .8rem; background: #000b; color: #fff; font-size: .85rem; }
figcaption { display: flex; justify-content: space-between; gap: .5rem; font-size: .9rem; color: var(--soft); padding-top: .25rem;
  font-variant-numeric: tabular-nums; } figcaption b { color: var(--ink); }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; margin: .5rem 0; }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 6px; min-height: 2.5rem;
  padding: .2rem .9rem; cursor: pointer; } button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); }
button:focus-visible, .chart:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.now { margin-left: auto; font-variant-numeric: tabular-nums; font-size: 1.5rem; font-weight: 600; color: var(--accent); }
.chart { position: relative; padding-left: 3rem; cursor: crosshair; touch-action: pan-y; user-select: none; -webkit-user-select: none; }
.chart h2 { font-size: .9rem; font-weight: 600; margin: .9rem 0 .25rem; color: var(--soft); }
.plot { position: relative; } .plot svg, .plot img { display: block; width: 100%; height: 100%; }
.curves { height: 11rem; border-bottom: 1px solid var(--line); } .heat { height: calc(var(--rows) * .8rem); min-height: 2rem; }
.heat img { border-radius: 3px; }
.plot .y { position: absolute; right: 100%; margin-right: .4rem; transform: translateY(-50%); font-size: .75rem; color: var(--soft);
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.xs { position: relative; height: 1.4rem; font-size: .75rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.xs span { position: absolute; transform: translateX(-50%); } .xs span:first-child { transform: none; }
.grid { stroke: var(--line); stroke-width: 1; } .natural { fill: none; stroke: var(--soft); stroke-width: 1.25; opacity: .8; }
.speed { fill: none; stroke: var(--accent); stroke-width: 2.25; }
.cut { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 3 3; opacity: .55; }
.speed, .natural, .grid, .cut { vector-effect: non-scaling-stroke; }
.tracker { position: absolute; left: 3rem; right: 0; top: 0; bottom: 1.4rem; pointer-events: none; z-index: 1; }
.cursor { position: absolute; inset: 0 auto; width: 2px; margin-left: -1px; background: var(--ink); box-shadow: 0 0 0 1px var(--paper); }
.key { display: inline-block; width: 1.4rem; border-top: 2.5px solid var(--accent); vertical-align: middle; margin-right: .35rem; }
.key.n { border-top: 1.5px solid var(--soft); margin-left: 1rem; } .key.c { border-top: 1px dashed var(--ink); margin-left: 1rem; }
.ramp { display: inline-block; width: 5rem; height: .6rem; border-radius: 3px; vertical-align: middle; margin: 0 .4rem; }
kbd { border: 1px solid var(--line); border-radius: 4px; padding: 0 .35em; font-size: .85em; }
"""

SCRIPT = """
const data = JSON.parse(document.getElementById('plan').textContent);
const $ = id => document.getElementById(id);
const result = $('result'), followers = [$('original'), $('map')].filter(Boolean);
const last = list => list[list.length - 1];

// The plan's map of time, piecewise linear between its knots.
function to_device(from, x) {
  let low = 0, high = from.length - 1;
  while (high - low > 1) { const middle = low + high >> 1; if (from[middle] <= x) low = middle; else high = middle; }
  return low;
}
function mapped(from, to, x) {
  const i = to_device(from, x), width = from[i + 1] - from[i];
  return width > 0 ? to[i] + (to[i + 1] - to[i]) * Math.min(Math.max((x - from[i]) / width, 0), 1) : to[i + 1];
}
const toSource = x => mapped(data.result, data.source, x), toResult = x => mapped(data.source, data.result, x);
function speedAt(x) {
  const i = to_device(data.result, x), out = data.result[i + 1] - data.result[i];
  return out > 0 ? (data.source[i + 1] - data.source[i]) / out : 1;
}
const clock = x => `${Math.floor(x / 60)}:${(x % 60).toFixed(1).padStart(4, '0')}`;

// The result drives; the original plays at the speed of the moment, nudged where it strays and set where it is far off.
function follow(now) {
  const wanted = toSource(now), speed = speedAt(now) * result.playbackRate;
  for (const video of followers) {
    if (!video.duration) continue;
    const goal = Math.min(wanted, video.duration - .001), off = goal - video.currentTime;
    if (result.paused || result.seeking || Math.abs(off) > .3) {
      if (!video.paused && result.paused) video.pause();
      if (!video.seeking && Math.abs(off) > .02) video.currentTime = goal;
    } else {
      video.playbackRate = Math.min(Math.max(speed + 2 * off, .0625), 16);
    }
    if (!result.paused && video.paused && !video.ended && !video.seeking) video.play().catch(() => {});
  }
}
function draw(now) {
  const at = toSource(now), share = at / last(data.source);
  $('cursor').style.left = 100 * share + '%';
  $('now').textContent = speedAt(now).toFixed(2) + '\\u00d7';
  $('there').textContent = clock(at); $('here').textContent = clock(now);
  $('chart').setAttribute('aria-valuenow', at.toFixed(1));
}
function frame() { draw(result.currentTime); requestAnimationFrame(frame); }
if (result.requestVideoFrameCallback) {
  const onFrame = (_, shown) => { follow(shown.mediaTime); result.requestVideoFrameCallback(onFrame); };
  result.requestVideoFrameCallback(onFrame);
} else result.addEventListener('timeupdate', () => follow(result.currentTime));
const listen = (video, events, act) => events.forEach(event => video.addEventListener(event, act));
const now = () => follow(result.currentTime);
listen(result, ['seeking', 'seeked', 'pause', 'play', 'loadeddata'], now);
for (const video of followers) listen(video, ['loadedmetadata', 'seeked'], now);

const seek = x => { result.currentTime = Math.min(Math.max(x, 0), last(data.result)); draw(result.currentTime); };
const toggle = () => result.paused ? result.play() : result.pause();
const chart = $('chart');
let dragged = false;
function seekTo(event) {
  const box = $('tracker').getBoundingClientRect();
  seek(toResult(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * last(data.source)));
}
chart.addEventListener('pointerdown', event => { dragged = true; seekTo(event); });
addEventListener('pointermove', event => { if (dragged) seekTo(event); });
listen(window, ['pointerup', 'pointercancel'], () => dragged = false);
$('play').onclick = toggle; result.onclick = toggle;
listen(result, ['play', 'pause', 'ended'], () => $('play').textContent = result.paused ? 'Play' : 'Pause');
function press(button, on) { button.setAttribute('aria-pressed', on); }
if ($('mute')) $('mute').onclick = () => { result.muted = !result.muted; press($('mute'), result.muted); };
if ($('look')) $('look').onclick = () => press($('look'), $('map').classList.toggle('shown'));
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = event.shiftKey ? .1 : 1;
  const act = { ' ': toggle, ArrowLeft: () => seek(result.currentTime - step), ArrowRight: () => seek(result.currentTime + step),
    Home: () => seek(0), End: () => seek(last(data.result)), m: () => $('mute')?.click(), a: () => $('look')?.click() }[event.key];
  if (!act || (event.key === ' ' && event.target.tagName === 'BUTTON')) return;
  event.preventDefault(); act();
});
for (const video of [result, ...followers]) video.addEventListener('error', () => {
  const told = document.createElement('div'); told.className = 'broken';
  told.textContent = 'This browser cannot play ' + (video.dataset.name || 'this file') + '.';
  video.parentNode.append(progress);
});
draw(0); follow(0); requestAnimationFrame(frame);
"""
