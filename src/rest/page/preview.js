// The picture of a stream: a player of the relay's media over HTTP, as any other, which runs while somebody looks.

// Pictures at a time: a browser opens some six connections to a port.
const MOST = 4;
// A picture that came to an end is tried again after this time, while its stream is live.
const AGAIN_MS = 3000;
// After this time without a picture the words say so.
const LATE_MS = 10000;
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const NAMES = { avc1: 'H.264', hvc1: 'HEVC', hev1: 'HEVC', av01: 'AV1', mp4a: 'AAC', opus: 'Opus', flac: 'FLAC', mp3: 'MP3' };
// What the form for browsers has.
const SENT = ['avc1', 'hvc1', 'av01', 'mp4a', 'Opus', 'fLaC', '.mp3'];

// All that are open, the one opened first before the others.
const open = new Set();
let blocked = false;
document.addEventListener('securitypolicyviolation', (event) => { blocked = blocked || event.effectiveDirective === 'connect-src'; });
document.addEventListener('visibilitychange', () => open.forEach((preview) => preview.look()));

// Loaded with the first picture, since it is ten times the page.
let loading = null;
function engine() {
  loading = loading || new Promise((done, failed) => {
    const script = document.createElement('script');
    script.src = '/page/mpegts.js';
    script.onload = () => { window.mpegts.LoggingControl.enableAll = false; done(window.mpegts); };
    script.onerror = () => { loading = null; failed(new Error('The player could not be loaded from the relay.')); };
    document.head.append(script);
  });
  return loading;
}

// Where players reach the relay from here; throws the words for people where they do not.
export function origin(listeners, page = location) {
  const ports = listeners.filter((one) => one.scheme.startsWith('http') && !one.proxy);
  if (!ports.length) {
    throw new Error('There is no picture, because the relay has no port for players over HTTP. Start it with one: rr_server --http 8000 (in C: RR_LISTEN_HTTP).');
  }
  const here = LOOPBACK.test(page.hostname);
  const literal = (address) => address.includes(':') ? `[${address}]` : address;
  const found = ports.map(({ scheme, address, port }) => {
    const near = LOOPBACK.test(literal(address));
    const all = address === '0.0.0.0' || address === '::';
    // A name is left as it is: it may be that of a certificate.
    const host = !here || all || page.hostname === 'localhost' && near ? page.hostname : literal(address);
    return { scheme, reached: here || !near, url: `${scheme}://${host}:${port}` };
  }).filter((one) => one.reached);
  if (!found.length) {
    throw new Error('There is no picture, because the port for players over HTTP is open to the relay’s own machine alone. Start it on an address that others reach: rr_server --http 0.0.0.0:8000.');
  }
  // Browsers let a page that came encrypted read nothing that does not, but from their own machine.
  const secure = page.protocol === 'https:';
  const right = found.find((one) => one.scheme === (secure ? 'https' : 'http')) || found.find(() => !secure || here);
  if (!right) {
    throw new Error('There is no picture, because this page came over HTTPS, and then players have to. Start the relay with rr_server --https 8443 --cert FILE --key FILE.');
  }
  return right.url;
}

export class Preview {
  // `card`: the stream's element in the page.
  constructor(card) {
    const part = (name) => card.querySelector(name);
    Object.assign(this, {
      card, button: part('.preview'), box: part('.picture'), video: part('video'), words: part('.picture-words'),
      again: part('.again'), sound: part('.sound'), full: part('.full'),
    });
    this.stream = null;
    this.listeners = [];
    this.wanted = false;
    this.player = null;
    // Counts attempts; what belongs to an earlier one is told by it.
    this.turn = 0;
    this.after = 0;
    this.button.addEventListener('click', () => this.wanted ? this.close() : this.open());
    this.again.addEventListener('click', () => {
      if (blocked) location.reload();
      else this.open();
    });
    this.sound.addEventListener('click', () => {
      this.video.muted = !this.video.muted;
      this.sound.setAttribute('aria-pressed', String(!this.video.muted));
    });
    this.full.hidden = !document.fullscreenEnabled;
    this.full.addEventListener('click', () => this.video.requestFullscreen().catch(() => {}));
    this.video.addEventListener('playing', () => this.shows());
  }

  // What is known of the stream now.
  update(stream, listeners) {
    this.stream = stream;
    this.listeners = listeners;
    this.video.setAttribute('aria-label', `Picture of ${stream.app}/${stream.key}`);
    this.look();
  }

  open() {
    if (open.size >= MOST && !open.has(this)) [...open][0].close();
    open.add(this);
    this.wanted = true;
    this.after = 0;
    this.button.textContent = 'Close preview';
    this.button.setAttribute('aria-expanded', 'true');
    this.box.hidden = false;
    this.say('');
    this.look();
  }

  close() {
    open.delete(this);
    this.wanted = false;
    this.stop();
    this.box.hidden = true;
    this.button.textContent = 'Preview';
    this.button.setAttribute('aria-expanded', 'false');
  }

  // Starts or stops: nothing is played that nobody sees.
  look() {
    const seen = !document.hidden && !this.card.hidden;
    if (!this.wanted) return;
    if (!seen) this.stop();
    else if (!this.player && Date.now() >= this.after) {
      if (this.stream.state === 'IN_PROGRESS') this.start();
      else this.say('Nobody publishes it just now.');
    }
  }

  async start() {
    this.stop();
    const turn = this.turn;
    // Until it has failed or ended, look() leaves it alone.
    this.after = Infinity;
    let url;
    try {
      url = `${origin(this.listeners)}/${this.stream.path}.flv?for=browser`;
    } catch (problem) {
      this.ends(problem.message);
      return;
    }
    try {
      const { codecs } = this.stream;
      if (codecs.length && !codecs.some((codec) => SENT.includes(codec))) {
        throw new Error(`There is no picture: players in pages do not know ${codecs.join(', ')}.`);
      }
      this.say('Connecting…');
      const mpegts = await engine();
      if (turn !== this.turn) return;
      if (!mpegts.isSupported()) throw new Error('There is no picture: this browser has no Media Source Extensions.');
      this.player = mpegts.createPlayer({ type: 'flv', isLive: true, url }, {
        enableStashBuffer: false, liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 3, referrerPolicy: 'no-referrer',
        autoCleanupSourceBuffer: true, autoCleanupMaxBackwardDuration: 30, autoCleanupMinBackwardDuration: 10,
      });
      // The player is not ended while it tells something, and what the policy has blocked is known a moment later.
      const later = (act) => setTimeout(() => { if (turn === this.turn) act(); }, 50);
      this.player.on(mpegts.Events.ERROR, (type, detail, info) => later(() => this.went(type, detail, info || {})));
      this.player.on(mpegts.Events.LOADING_COMPLETE, () => later(() => this.ends('The stream has ended.')));
      this.player.attachMediaElement(this.video);
      this.player.load();
      this.video.play().catch(() => {});
      this.late = setTimeout(() => this.say('Nothing to show has come yet: the next key frame may be far away.'), LATE_MS);
    } catch (problem) {
      if (turn === this.turn) this.fails(problem.message);
    }
  }

  stop() {
    this.turn += 1;
    this.after = 0;
    clearTimeout(this.late);
    if (this.player) this.player.destroy();
    this.player = null;
    this.box.classList.remove('shows');
  }

  say(words) {
    // Words that stay are read aloud once.
    if (this.words.textContent !== words) this.words.textContent = words;
    this.again.hidden = true;
  }

  shows() {
    clearTimeout(this.late);
    this.box.classList.add('shows');
    this.say(this.video.videoWidth ? '' : 'Sound alone.');
  }

  // It is over for now, and may mend by itself.
  ends(words) {
    this.stop();
    this.say(words);
    this.after = Date.now() + AGAIN_MS;
  }

  // It is over until somebody wants it again.
  fails(words) {
    this.stop();
    this.say(words);
    this.after = Infinity;
    this.again.textContent = blocked ? 'Reload the page' : 'Try again';
    this.again.hidden = false;
  }

  went(type, detail, info) {
    const played = this.box.classList.contains('shows');
    if (type === 'MediaError') {
      const name = /codecs=(\w+)/.exec(info.msg || '');
      if (name) this.fails(`This browser does not play ${NAMES[name[1].toLowerCase()] || name[1]}.`);
      else this.fails(`The player does not take this stream: ${info.msg || info}`);
    } else if (blocked) this.fails('The relay listens elsewhere since this page was loaded.');
    else if (info.code === 404) this.ends('Nothing comes from this stream just now.');
    else if (info.code === 403) this.fails('The relay refuses this player (403): here it is asked who may play, and the preview is a player as any other.');
    else if (info.code >= 300) this.fails(`The relay answers ${info.code}.`);
    else if (played) this.ends('The connection was lost.');
    else this.fails(`${origin(this.listeners)} cannot be reached from here: the way is closed, or this browser does not trust its certificate.`);
  }
}
