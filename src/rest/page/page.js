import { Preview } from '/page/preview.js';

// The page: asks the REST side once a second and whenever it tells of something, and shows what it says. No framework, no
// network but the relay.
const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const HISTORY_MS = 120_000;
const LINES = 500;
// A connection can die without a word. An answer takes less than this, and of events something comes every ten seconds.
const ANSWER_MS = 10_000;
const SILENCE_MS = 25_000;
// The id of no event: the relay begins with the oldest event that it keeps.
const OLDEST = '0-begin';

// The address that the relay prints carries the token behind `#`, which no server and no log ever sees.
if (location.hash.startsWith('#token=')) {
  sessionStorage.setItem('rrelay-token', decodeURIComponent(location.hash.slice(7)));
  history.replaceState(null, '', location.pathname);
}
let token = sessionStorage.getItem('rrelay-token') || localStorage.getItem('rrelay-token') || '';
const cards = new Map(); // by stream id: {node, history, stream, preview}
const reasons = new Map(); // by target id: what its last event said of its failure
const labels = new Map(); // by target id: what it is called, for events
// Each accepted token begins a run, in which the page asks and listens; a refusal ends it.
let run = 0;
let asking = false;

// Also where an answer has begun: its time ends while its body is read.
const unanswered = () => { throw new Error('The relay does not answer.'); };

async function ask(method, path, body, more, signal = AbortSignal.timeout(ANSWER_MS)) {
  const headers = { Authorization: 'Bearer ' + token, ...more };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, {
    method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(unanswered);
  if (answer.status === 401) {
    const problem = new Error('The token is wrong.');
    problem.status = 401;
    throw problem;
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => signal.aborted ? unanswered() : {});
    const text = problem.detail || problem.title || 'HTTP ' + answer.status;
    throw Object.assign(new Error(text), { status: answer.status });
  }
  return answer;
}
const get = async (path) => (await ask('GET', path)).json().catch(unanswered);

// ---- words and numbers

const kbit = (kbps) => kbps >= 10000 ? (kbps / 1000).toFixed(1) + ' Mbit/s' : Math.round(kbps) + ' kbit/s';
const seconds = (ms) => ms >= 1000 ? (ms / 1000).toFixed(1) + ' s' : Math.round(ms) + ' ms';
const bytes = (n) => {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) { n /= 1000; at++; }
  return (at && n < 100 ? n.toFixed(1) : Math.round(n)) + ' ' + units[at];
};
const age = (us) => {
  const s = Math.max(0, Math.floor(Date.now() / 1000 - us / 1e6));
  const pad = (n) => String(n).padStart(2, '0');
  return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
};
const CODECS = { avc1: 'H.264', hvc1: 'HEVC', av01: 'AV1', vp09: 'VP9', vvc1: 'VVC', mp4a: 'AAC', 'Opus': 'Opus', '.mp3': 'MP3', fLaC: 'FLAC' };
const SERVER = { IDLE: 'listens nowhere', ACCEPTING: 'listens', IN_PROGRESS: 'running' };
const codec = (name) => CODECS[name] || name;
const tone = (state) => ({ IN_PROGRESS: 'good', RECOVERING: 'warn', CONNECTING: 'warn', HANDSHAKE: 'warn', WAITING: 'warn', STOPPING: 'warn', FAILED: 'bad' }[state] || '');
const words = (state) => ({ IN_PROGRESS: 'live', RECOVERING: 'recovering', IDLE: 'idle' }[state] || state.toLowerCase());

function facts(list, pairs) {
  list.replaceChildren(...pairs.map(([name, value, style]) => {
    const box = document.createElement('div');
    const dt = document.createElement('dt');
    const dd = document.createElement('dd');
    dt.textContent = name;
    dd.textContent = value;
    if (style) dd.className = style;
    box.append(dt, dd);
    return box;
  }));
}

// Writes only what differs, so that focus and selection stay. Narrow pages show the column's name in the cell.
function cells(row, values, names) {
  values.forEach((value, at) => {
    const cell = row.cells[at] || row.insertCell();
    cell.dataset.label = names[at].textContent;
    const [text, style, small] = Array.isArray(value) ? value : [value];
    if (typeof text === 'string' && (cell.dataset.text !== text || cell.dataset.small !== (small || ''))) {
      cell.textContent = text;
      cell.dataset.text = text;
      cell.dataset.small = small || '';
      if (small) {
        const line = document.createElement('small');
        line.textContent = small;
        cell.append(line);
      }
    }
    cell.className = style || '';
  });
}

function button(text, label, act) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'quiet';
  node.textContent = text;
  node.relabel = () => node.setAttribute('aria-label', label());
  node.addEventListener('click', () => act().catch(complain));
  return node;
}

// Rows that stay are neither taken out nor moved: a button in them may have the focus.
function rows(body, items, fill, actions, none) {
  const names = body.parentNode.tHead.rows[0].cells;
  const known = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const wanted = items.length ? items : [{ id: 'none' }];
  // What can be done with a session depends on its role.
  const keyOf = (item) => item.id + (item.role || '');
  const keys = new Set(wanted.map(keyOf));
  known.forEach((row, key) => { if (!keys.has(key)) row.remove(); });
  wanted.forEach((item, at) => {
    const key = keyOf(item);
    let row = known.get(key);
    if (!row) {
      row = document.createElement('tr');
      row.dataset.id = key;
      if (item.id !== 'none') {
        row.actions = document.createElement('td');
        row.actions.append(...actions(item, row));
      }
    }
    row.item = item;
    if (row.actions) [...row.actions.children].forEach((node) => node.relabel());
    row.className = item.id === 'none' ? 'none' : '';
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
    if (item.id === 'none') {
      if (!row.cells.length) { row.insertCell().colSpan = 7; row.cells[0].textContent = none; }
      return;
    }
    cells(row, fill(item), names);
    if (row.actions.parentNode !== row) row.append(row.actions);
  });
}

// ---- one stream

function card(stream) {
  const node = $('stream-template').content.firstElementChild.cloneNode(true);
  const found = { node, history: [], stream, preview: new Preview(node) };
  node.querySelector('.end').addEventListener('click', async () => {
    const name = found.stream.app + '/' + found.stream.key;
    if (await sure('End ' + name + '?', 'Its publisher is closed. Players and targets get what has been sent.', 'End stream')) {
      await ask('DELETE', '/v1/streams/' + found.stream.path).catch(complain);
      refresh();
    }
  });
  node.querySelector('.add').addEventListener('click', () => editTarget(found.stream));
  return found;
}

// Targets of one server differ by their keys, of which the end is shown; those that are still alike are numbered.
function label(targets) {
  const named = new Map();
  targets.forEach((one) => {
    const name = one.url + (one.key ? '/' + one.key : '');
    if (!named.has(name)) named.set(name, []);
    named.get(name).push(one);
  });
  named.forEach((alike, name) => alike.forEach((one, at) => {
    one.label = name + (alike.length > 1 ? ` (${at + 1})` : '');
    labels.set(one.id, one.label);
  }));
}

function show(found, stream) {
  const { node, history } = found;
  found.stream = stream;
  const stats = stream.stats;
  // Events are a reason to ask, too, but the plot has a point a second.
  const now = performance.now();
  if (!history.length || now - history[history.length - 1].at > POLL_MS / 2) history.push({ at: now, in: stats.kbps_in, out: stats.kbps_out });
  while (now - history[0].at > HISTORY_MS) history.shift();
  node.querySelector('h3').textContent = stream.app + '/' + stream.key;
  const badge = node.querySelector('.badge');
  badge.textContent = words(stream.state);
  badge.className = 'badge ' + tone(stream.state);
  const media = stream.codecs.map(codec);
  if (stream.width) media.splice(1, 0, `${stream.width}×${stream.height}`);
  if (stats.fps_milli) media.push((stats.fps_milli / 1000).toFixed(1).replace('.0', '') + ' fps');
  if (stats.key_interval_ms) media.push('key frame every ' + seconds(stats.key_interval_ms));
  node.querySelector('.media').textContent = media.join(' · ') || 'no media yet';
  facts(node.querySelector('.figures'), [
    ['in', kbit(stats.kbps_in), 'in'], ['out', kbit(stats.kbps_out), 'out'],
    ['lag', seconds(stats.queue_ms)], ['dropped', String(stats.dropped_msgs)], ['memory', bytes(stats.queue_bytes)],
    ['since', age(stats.started_us)],
  ]);
  node.querySelector('.plot').hidden = !history.some((point) => point.in || point.out);
  plot(node.querySelector('.plot'), history);
  const order = { publisher: 0, standby: 1, player: 2, none: 3 };
  const sessions = [...stream.sessions].sort((a, b) => order[a.role] - order[b.role]);
  rows(node.querySelector('.sessions tbody'), sessions, (one) => [
    one.role, one.addr + (one.tls ? ' (TLS)' : ''), one.agent || '–',
    [String(one.role === 'player' ? one.stats.kbps_out : one.stats.kbps_in), 'n'],
    [one.role === 'player' ? seconds(one.stats.queue_ms) : '–', 'n'], [one.role === 'player' ? String(one.stats.dropped_msgs) : '–', 'n'],
  ], (one, row) => [...(one.role === 'standby' ? [button('Make live', () => 'Make ' + one.addr + ' live', async () => {
    await ask('POST', '/v1/streams/' + found.stream.path + '/switch', { source: one.id });
    refresh();
  })] : []), button('Kick', () => 'Kick ' + one.addr, async () => {
    const bans = one.role !== 'none';
    if (await sure('Kick ' + row.item.addr + '?', 'Its connection is closed.', 'Kick', bans)) {
      const ban = bans ? '&ban_ms=' + $('ban').value : '';
      await ask('DELETE', '/v1/sessions/' + row.item.id + '?text=' + encodeURIComponent('kicked by an operator') + ban);
      refresh();
    }
  })], 'nobody');
  const base = '/v1/streams/' + stream.path + '/targets/';
  label(stream.targets);
  rows(node.querySelector('.targets tbody'), stream.targets, (one) => {
    const wait = one.state === 'RECOVERING' && one.retry_in_ms ? ', next try in ' + seconds(one.retry_in_ms) : '';
    const live = one.state === 'IN_PROGRESS';
    return [
      [words(one.state) + wait, 'is-' + tone(one.state), live ? '' : reasons.get(one.id) || one.error_text], (one.role === 'source' ? 'from ' : '') + one.label,
      [String(one.role === 'source' ? one.stats.kbps_in : one.stats.kbps_out), 'n'], [seconds(one.stats.queue_ms), 'n'], [String(one.stats.dropped_msgs), 'n'],
    ];
  }, (one, row) => [
    button('Change', () => 'Change ' + row.item.label, async () => editTarget(stream, row.item)),
    button('Retry', () => 'Retry ' + row.item.label, async () => { await ask('POST', base + row.item.id + '/retry'); refresh(); }),
    button('Remove', () => 'Remove ' + row.item.label, async () => {
      if (await sure('Remove this target?', `${row.item.label}: ${words(row.item.state)}`, 'Remove')) {
        await ask('DELETE', base + row.item.id + '?deadline_ms=1000');
        refresh();
      }
    }),
  ], 'none');
}

// The last two minutes on one scale: what comes in as an area, what goes out as a line.
function plot(canvas, history) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext('2d');
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name);
  const last = history[history.length - 1];
  const most = Math.max(100, ...history.map((point) => Math.max(point.in, point.out)));
  const left = (point) => width - 1 - (last.at - point.at) / HISTORY_MS * width;
  const top = (kbps) => height - 1 - kbps / most * (height - 18);
  const trace = (which) => history.forEach((point) => pen.lineTo(left(point), top(point[which])));
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.strokeStyle = color('--line');
  pen.lineWidth = 1;
  pen.beginPath();
  for (const part of [0, .5, 1]) { pen.moveTo(0, Math.round(top(most * part)) - .5); pen.lineTo(width, Math.round(top(most * part)) - .5); }
  pen.stroke();
  pen.fillStyle = color('--in');
  pen.globalAlpha = .18;
  pen.beginPath();
  pen.moveTo(left(history[0]), height);
  trace('in');
  pen.lineTo(width, height);
  pen.fill();
  pen.globalAlpha = 1;
  ['in', 'out'].forEach((which) => {
    pen.strokeStyle = color('--' + which);
    pen.lineWidth = 1.5;
    pen.beginPath();
    trace(which);
    pen.stroke();
  });
  pen.fillStyle = color('--muted');
  pen.font = '11px system-ui, sans-serif';
  pen.textAlign = 'left';
  pen.fillText(kbit(most), 1, 11);
  pen.textAlign = 'right';
  pen.fillText('two minutes', width - 1, 11);
  canvas.setAttribute('aria-label', `Rates of the last two minutes: now ${kbit(last.in)} in, ${kbit(last.out)} out`);
}

// ---- dialogs

// Takes the answer to the question that is open.
let answer = () => {};
// The event comes a moment after the close: another question may be open by then.
$('sure-dialog').addEventListener('close', ({ target }) => { if (!target.open) answer(target.returnValue === 'yes'); });
function sure(title, text, yes, bans) {
  const dialog = $('sure-dialog');
  answer(false);
  $('sure-title').textContent = title;
  $('sure-text').textContent = text;
  $('sure-yes').textContent = yes;
  $('ban-line').hidden = !bans;
  $('ban').value = '0';
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => { answer = done; });
}

let edited = null;
function editTarget(stream, target) {
  edited = { stream, target };
  $('target-title').textContent = target ? 'Change the target' : 'Add a target';
  $('target-url').value = '';
  $('target-url').required = !target;
  $('target-url').placeholder = target ? target.url + ' (as it is)' : 'rtmps://ingest.example.net/app';
  $('target-key').value = '';
  $('target-key').placeholder = target ? 'as it is' : "the stream's own, if empty";
  $('target-kbps').value = '';
  $('target-kbps').placeholder = target ? 'as it is' : 'no limit';
  $('target-error').textContent = '';
  $('target-dialog').showModal();
}
$('target-cancel').addEventListener('click', () => $('target-dialog').close());
$('target-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const body = {};
  if ($('target-url').value.trim()) body.url = $('target-url').value.trim();
  if ($('target-key').value) body.key = $('target-key').value;
  if ($('target-kbps').value) body.max_kbps = Number($('target-kbps').value);
  const base = '/v1/streams/' + edited.stream.path + '/targets';
  try {
    if (edited.target) await ask('PATCH', base + '/' + edited.target.id, body);
    else await ask('POST', base, body);
    $('target-dialog').close();
    refresh();
  } catch (problem) {
    $('target-error').textContent = problem.message;
  }
});

function askToken(text) {
  $('token-error').textContent = text || '';
  $('token-dialog').returnValue = '';
  if (!$('token-dialog').open) $('token-dialog').showModal();
}
// Without a token there is nothing to see. Browsers let a second Escape close any dialog.
$('token-dialog').addEventListener('close', ({ target }) => { if (!target.returnValue && !target.open) target.showModal(); });
$('token-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  try {
    await get('/v1/server');
  } catch (problem) {
    askToken(problem.message);
    return;
  }
  sessionStorage.setItem('rrelay-token', token);
  if ($('remember').checked) localStorage.setItem('rrelay-token', token);
  $('token-dialog').close('accepted');
  begin();
});
$('forget').addEventListener('click', () => {
  sessionStorage.removeItem('rrelay-token');
  localStorage.removeItem('rrelay-token');
  location.reload();
});

// ---- the whole

function complain(problem) {
  note(Date.now(), '', problem.message, 'bad');
}

function note(time, who, text, style) {
  const line = document.createElement('li');
  const when = document.createElement('time');
  const name = document.createElement('b');
  const what = document.createElement('span');
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  when.textContent = today ? at.toLocaleTimeString([], { hour12: false }) : at.toLocaleString([], { hour12: false });
  name.textContent = who;
  what.textContent = text;
  line.className = style || '';
  line.append(when, ...(who ? [name] : []), what);
  $('log').prepend(line);
  while ($('log').children.length > LINES) $('log').lastChild.remove();
}

// What an event says, for people; nothing for those that others say better.
function said(kind, event) {
  const why = event.error ? event.text || event.error_text : '';
  const state = words(event.state);
  switch (kind) {
    case 'server': return why || state;
    case 'stream': return why ? state + ': ' + why : state;
    case 'target': {
      const next = event.state === 'RECOVERING' && event.value > 0 ? ', next try in ' + seconds(event.value) : '';
      return state + next + (why ? ': ' + why : '');
    }
    case 'session': {
      if (event.last) return why && event.state === 'FAILED' ? 'lost: ' + why : why ? 'closed: ' + why : 'left';
      return event.state === 'IN_PROGRESS' && event.prev !== 'IN_PROGRESS' ? 'has begun' : '';
    }
    case 'connect_ask': case 'publish_ask': case 'play_ask': return 'asks to ' + kind.replace('_ask', '');
    case 'wanted': return 'somebody waits for its publisher';
    case 'unwatched': return 'nobody watches it';
    case 'tracks': return 'tracks ' + event.text;
    case 'slow': return event.value > 0 ? event.value + ' messages skipped: it takes too little' : 'takes enough again';
    case 'clock': return `its timestamps jumped by ${event.value} ms`;
    case 'reconnect': return 'asks us to connect elsewhere';
    default: return '';
  }
}

// `known`: the page has had events before.
function tell(kind, event, known) {
  if (kind === 'lost') {
    if (event.count) note(Date.now(), '', event.count + ' events were missed', 'warn');
    else if (known) note(Date.now(), '', 'The relay was started anew', 'warn');
    reasons.clear();
    labels.clear();
    return;
  }
  if (event.last) reasons.delete(event.target);
  else if (kind === 'target' && event.error && event.text) reasons.set(event.target, event.text);
  const text = said(kind, event);
  if (!text) return;
  const name = event.key ? event.app + '/' + event.key : '';
  const peer = event.target !== '0' ? event.role + ' ' + (labels.get(event.target) || event.url)
    : event.session !== '0' ? (event.role === 'none' ? 'connection' : event.role) + ' ' + event.addr : '';
  const style = event.state === 'FAILED' && kind !== 'session' ? 'bad' : event.error || kind === 'clock' || (kind === 'slow' && event.value > 0) ? 'warn' : '';
  if (event.last) labels.delete(event.target);
  note(event.time_us / 1000, name || (peer ? '' : 'server'), (peer ? peer + ': ' : '') + text, style);
}

// Reads server-sent events with `fetch`, which can send the token; comes back when the connection is lost.
let last = OLDEST;
async function listen(mine) {
  while (mine === run) {
    const known = last !== OLDEST;
    const silent = new AbortController();
    let timer;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => silent.abort(), SILENCE_MS); };
    heard();
    try {
      const answer = await ask('GET', '/v1/events', undefined, { 'Last-Event-ID': last }, silent.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = '';;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard();
        const blocks = (rest + value).split('\n\n');
        rest = blocks.pop();
        blocks.forEach((block) => {
          const field = (name) => (block.split('\n').find((line) => line.startsWith(name + ': ')) || '').slice(name.length + 2);
          if (field('data')) tell(field('event'), JSON.parse(field('data')), known);
          last = field('id') || last;
        });
        if (blocks.length) soon();
      }
    } catch (problem) {
      if (problem.status === 401) return;
    } finally {
      clearTimeout(timer);
    }
    await new Promise((done) => setTimeout(done, 2 * POLL_MS));
  }
}

// Something has happened: the streams are asked for anew, a few times a second at most.
let due = 0;
function soon() {
  if (!due) due = setTimeout(() => { due = 0; refresh(); }, 150);
}

async function refresh() {
  if (asking) return;
  asking = true;
  const mine = run;
  try {
    const [server, streams] = await Promise.all([get('/v1/server'), get('/v1/streams')]);
    $('state').className = 'ok';
    $('state-text').textContent = SERVER[server.state] || words(server.state);
    $('version').textContent = 'version ' + server.version;
    facts($('totals'), [
      ['streams', String(server.streams)], ['sessions', String(server.stats.sessions)], ['targets', String(server.stats.targets)],
      ['in', kbit(server.stats.kbps_in), 'in'], ['out', kbit(server.stats.kbps_out), 'out'],
    ]);
    const filter = $('filter').value.toLowerCase();
    const there = new Set(streams.map((stream) => stream.id));
    cards.forEach(({ node, preview }, id) => {
      if (there.has(id)) return;
      preview.close();
      node.remove();
      cards.delete(id);
    });
    streams.sort((a, b) => a.path < b.path ? -1 : 1).forEach((stream, at) => {
      if (!cards.has(stream.id)) cards.set(stream.id, card(stream));
      const found = cards.get(stream.id);
      const before = $('streams').children[at];
      if (before !== found.node) $('streams').insertBefore(found.node, before || null);
      found.node.hidden = !(stream.app + '/' + stream.key).toLowerCase().includes(filter);
      show(found, stream);
      found.preview.update(stream, server.listeners);
    });
    $('empty').hidden = streams.length > 0;
    $('publish-hint').textContent = `ffmpeg -re -i FILE -c copy -f flv ${publishAt(server.listeners)}/live/show`;
  } catch (problem) {
    if (problem.status === 401) {
      // A late refusal of the token before does not end the run of this one.
      if (mine === run) { run += 1; askToken(problem.message); }
      return;
    }
    $('state').className = 'down';
    // A status is an answer, in words.
    $('state-text').textContent = problem.status ? problem.message : 'the relay does not answer';
  } finally {
    asking = false;
  }
}

// Where publishers reach the relay from here.
function publishAt(listeners) {
  const one = listeners.find(({ scheme }) => scheme === 'rtmp') || listeners.find(({ scheme }) => scheme === 'rtmps');
  if (!one) return 'rtmp://' + location.hostname;
  const usual = { rtmp: 1935, rtmps: 443 }[one.scheme];
  return `${one.scheme}://${location.hostname}` + (one.port === usual ? '' : ':' + one.port);
}

function begin() {
  $('forget').hidden = false;
  const mine = ++run;
  const round = async () => {
    await refresh();
    if (mine === run) setTimeout(round, document.hidden ? 5 * POLL_MS : POLL_MS);
  };
  round();
  listen(mine);
}

$('filter').addEventListener('input', refresh);
$('only-problems').addEventListener('change', (event) => $('log').classList.toggle('problems', event.target.checked));
if (token) begin(); else askToken();
