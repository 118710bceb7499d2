const clips = [...document.querySelectorAll('.clip')], still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const play = video => { if (!video.src) video.src = video.dataset.src; video.play().catch(() => {}); };
const press = video => video.paused ? (video.dataset.held = '', play(video)) : (video.dataset.held = '1', video.pause());
const eye = new IntersectionObserver(seen => seen.forEach(({target, isIntersecting}) => {
  if (!isIntersecting) target.pause(); else if (!still && !target.dataset.held) play(target); }), {rootMargin: '200px'});
clips.forEach((clip, place) => {
  const video = clip.querySelector('video'); eye.observe(video); video.onclick = () => press(video);
  clip.onkeydown = event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (step) clips[(place + step + clips.length) % clips.length].focus();
    else if (event.key === ' ') press(video);
    else if (event.key === 'Enter') clip.classList.toggle('large');
    else return;
    event.preventDefault(); }; });
