const track = JSON.parse(document.getElementById('track').textContent);
const $ = id => document.getElementById(id);
const video = $('overlay'), slider = $('frame'), cells = document.querySelectorAll('td.value');
const last = track.times.length - 1;
let shown = -1;

// The frame on screen at a time of the video: the last one that is not later.
function frameAt(seconds) {
  let low = 0, high = last;
  while (low < high) { const middle = low + high + 1 >> 1; if (track.times[middle] <= seconds + 1e-3) low = middle; else high = middle - 1; }
  return low;
}
function show(frame) {
  if (frame === shown) return;
  shown = frame;
  slider.value = frame;
  $('cursor').style.left = 100 * (frame + .5) / (last + 1) + '%';
  $('now').textContent = `${frame} · ${track.times[frame].toFixed(2)} s`;
  if ($('mask')) $('mask').src = track.masks[frame];
  track.values.forEach((values, row) => { cells[row].textContent = values[frame] === null ? '' : values[frame].toFixed(2); });
}
function go(frame) {
  frame = Math.min(Math.max(frame, 0), last);
  video.pause();
  const next = frame < last ? track.times[frame + 1] : track.times[frame] + .02;
  video.currentTime = (track.times[frame] + next) / 2;
  show(frame);
}
function tick() { if (!video.paused) show(frameAt(video.currentTime)); requestAnimationFrame(tick); }
const toggle = () => video.paused ? video.play() : video.pause();
slider.oninput = () => go(Number(slider.value));
$('play').onclick = toggle; video.onclick = toggle;
for (const event of ['play', 'pause', 'ended']) video.addEventListener(event, () => { $('play').textContent = video.paused ? 'Play' : 'Pause'; });
$('plot').onclick = event => {
  const box = $('plot').getBoundingClientRect();
  go(Math.floor((event.clientX - box.left) / box.width * (last + 1)));
};
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === slider) return;
  const act = { ' ': toggle, ArrowLeft: () => go(shown - 1), ArrowRight: () => go(shown + 1), Home: () => go(0), End: () => go(last) }[event.key];
  if (!act || (event.key === ' ' && event.target.tagName === 'BUTTON')) return;
  event.preventDefault(); act();
});
show(0); tick();
