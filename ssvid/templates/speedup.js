const data = JSON.parse(document.getElementById('plan').textContent);
const $ = id => document.getElementById(id);
const result = $('result'), followers = [$('original'), $('map')].filter(Boolean);
const last = list => list[list.length - 1];

// The plan's map of time, piecewise linear between its knots.
function indexAt(from, x) {
  let low = 0, high = from.length - 1;
  while (high - low > 1) { const middle = low + high >> 1; if (from[middle] <= x) low = middle; else high = middle; }
  return low;
}
function mapped(from, to, x) {
  const i = indexAt(from, x), width = from[i + 1] - from[i];
  return width > 0 ? to[i] + (to[i + 1] - to[i]) * Math.min(Math.max((x - from[i]) / width, 0), 1) : to[i + 1];
}
const toSource = x => mapped(data.result, data.source, x), toResult = x => mapped(data.source, data.result, x);
function speedAt(x) {
  const i = indexAt(data.result, x), out = data.result[i + 1] - data.result[i];
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
  $('now').textContent = speedAt(now).toFixed(2) + '×';
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
  const notice = document.createElement('div'); notice.className = 'broken';
  notice.textContent = 'This browser cannot play ' + (video.dataset.name || 'this file') + '.';
  video.parentNode.append(progress);
});
draw(0); follow(0); requestAnimationFrame(frame);
