// The page: asks the REST side once a second and shows what it says. No framework, no network but the relay.
const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const HISTORY = 120;

// The address that the relay prints carries the token behind `#`, which no server and no log ever sees.
if (location.hash.startsWith('#token=')) {
  sessionStorage.setItem('rrelay-token', decodeURIComponent(location.hash.slice(7)));
  history.replaceState(null, '', location.pathname);
}
let token = sessionStorage.getItem('rrelay-token') || localStorage.getItem('rrelay-token') || '';
const cards = new Map(); // by stream id: {node, history, stream}
let polling = 0;

async function ask(method, path, body, signal) {
  const headers = { Authorization: 'Bearer ' + token };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, {
    method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 401) {
    const problem = new Error('The token is wrong.');
    problem.status = 401;
    throw problem;
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || problem.title || 'HTTP ' + answer.status);
  }
  return answer;
}
const get = async (path) => (await ask('GET', path)).json();

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

// Writes only what differs, so that focus and selection stay.
function cells(row, values) {
  values.forEach((value, at) => {
    const cell = row.cells[at] || row.insertCell();
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
  node.setAttribute('aria-label', label);
  node.addEventListener('click', () => act().catch(complain));
  return node;
}

function rows(body, items, fill, actions, none) {
  const known = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const wanted = items.length ? items : [{ id: 'none' }];
  wanted.forEach((item, at) => {
    let row = known.get(item.id);
    known.delete(item.id);
    if (!row) {
      row = document.createElement('tr');
      row.dataset.id = item.id;
      if (item.id !== 'none') {
        row.actions = document.createElement('td');
        row.actions.append(...actions(item, row));
      }
    }
    row.item = item;
    row.className = item.id === 'none' ? 'none' : '';
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
    if (item.id === 'none') {
      if (!row.cells.length) { row.insertCell().colSpan = 7; row.cells[0].textContent = none; }
      return;
    }
    if (row.actions.isConnected) row.actions.remove();
    cells(row, fill(item));
    row.append(row.actions);
  });
  known.forEach((row) => row.remove());
}

// ---- one stream

function card(stream) {
  const node = $('stream-template').content.firstElementChild.cloneNode(true);
  const found = { node, history: [], stream };
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

function show(found, stream) {
  const { node, history } = found;
  found.stream = stream;
  const stats = stream.stats;
  history.push([stats.kbps_in, stats.kbps_out]);
  if (history.length > HISTORY) history.shift();
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
  plot(node.querySelector('.plot'), history);
  const order = { publisher: 0, standby: 1, player: 2, none: 3 };
  const sessions = [...stream.sessions].sort((a, b) => order[a.role] - order[b.role]);
  rows(node.querySelector('.sessions tbody'), sessions, (one) => [
    one.role, one.addr + (one.tls ? ' (TLS)' : ''), one.agent || '–',
    [String(one.role === 'player' ? one.stats.kbps_out : one.stats.kbps_in), 'n'],
    [one.role === 'player' ? seconds(one.stats.queue_ms) : '–', 'n'], [one.role === 'player' ? String(one.stats.dropped_msgs) : '–', 'n'],
  ], (one, row) => [button('Kick', 'Kick ' + one.addr, async () => {
    if (await sure('Kick ' + row.item.addr + '?', 'Its connection is closed. It may come back.', 'Kick')) {
      await ask('DELETE', '/v1/sessions/' + row.item.id + '?text=' + encodeURIComponent('kicked by an operator'));
      refresh();
    }
  })], 'nobody');
  const base = '/v1/streams/' + stream.path + '/targets/';
  rows(node.querySelector('.targets tbody'), stream.targets, (one) => {
    const wait = one.state === 'RECOVERING' && one.retry_in_ms ? ', next try in ' + seconds(one.retry_in_ms) : '';
    const live = one.state === 'IN_PROGRESS';
    return [
      [words(one.state) + wait, '', live ? '' : one.error_text], (one.role === 'source' ? 'from ' : '') + one.url,
      [String(one.role === 'source' ? one.stats.kbps_in : one.stats.kbps_out), 'n'], [seconds(one.stats.queue_ms), 'n'], [String(one.stats.dropped_msgs), 'n'],
    ];
  }, (one, row) => [
    button('Change', 'Change ' + one.url, async () => editTarget(stream, row.item)),
    ' ',
    button('Retry', 'Retry ' + one.url, async () => { await ask('POST', base + row.item.id + '/retry'); refresh(); }),
    ' ',
    button('Remove', 'Remove ' + one.url, async () => {
      if (await sure('Remove this target?', row.item.url, 'Remove')) {
        await ask('DELETE', base + row.item.id + '?deadline_ms=1000');
        refresh();
      }
    }),
  ], 'none');
}

// The last two minutes, in and out, on one scale.
function plot(canvas, history) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  const top = Math.max(100, ...history.flat()) * 1.1;
  pen.strokeStyle = style.getPropertyValue('--line');
  pen.lineWidth = 1;
  pen.strokeRect(.5, .5, width - 1, height - 1);
  ['--in', '--out'].forEach((name, which) => {
    pen.strokeStyle = style.getPropertyValue(name);
    pen.lineWidth = 1.5;
    pen.beginPath();
    history.forEach((point, at) => {
      const x = width - (history.length - 1 - at) * (width / (HISTORY - 1));
      const y = height - 2 - point[which] / top * (height - 4);
      if (at) pen.lineTo(x, y); else pen.moveTo(x, y);
    });
    pen.stroke();
  });
  pen.fillStyle = style.getPropertyValue('--muted');
  pen.font = '10px system-ui, sans-serif';
  pen.fillText(kbit(top / 1.1), 5, 12);
  const [, last] = [history.length, history[history.length - 1] || [0, 0]];
  canvas.setAttribute('aria-label', `Rates of the last two minutes: now ${kbit(last[0])} in, ${kbit(last[1])} out`);
}

// ---- dialogs

function sure(title, text, yes) {
  const dialog = $('sure-dialog');
  $('sure-title').textContent = title;
  $('sure-text').textContent = text;
  $('sure-yes').textContent = yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
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
  if (!$('token-dialog').open) $('token-dialog').showModal();
}
$('token-dialog').addEventListener('cancel', (event) => event.preventDefault());
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
  $('token-dialog').close();
  begin();
});
$('forget').addEventListener('click', () => {
  sessionStorage.removeItem('rrelay-token');
  localStorage.removeItem('rrelay-token');
  location.reload();
});

// ---- the whole

function complain(problem) {
  note(Date.now(), problem.message);
}

function note(time, text) {
  const line = document.createElement('li');
  const when = document.createElement('time');
  when.textContent = new Date(time).toLocaleTimeString();
  line.append(when, text);
  $('log').prepend(line);
  while ($('log').children.length > 300) $('log').lastChild.remove();
}

async function refresh() {
  try {
    const [server, streams] = await Promise.all([get('/v1/server'), get('/v1/streams')]);
    $('state').className = 'ok';
    $('state-text').textContent = `${server.state.toLowerCase().replace('_', ' ')}, version ${server.version}`;
    facts($('totals'), [
      ['streams', String(server.streams)], ['sessions', String(server.stats.sessions)], ['targets', String(server.stats.targets)],
      ['in', kbit(server.stats.kbps_in), 'in'], ['out', kbit(server.stats.kbps_out), 'out'],
    ]);
    const filter = $('filter').value.toLowerCase();
    const gone = new Set(cards.keys());
    streams.sort((a, b) => a.path < b.path ? -1 : 1).forEach((stream) => {
      gone.delete(stream.id);
      if (!cards.has(stream.id)) {
        const made = card(stream);
        cards.set(stream.id, made);
        $('streams').append(made.node);
      }
      const found = cards.get(stream.id);
      found.node.hidden = !(stream.app + '/' + stream.key).toLowerCase().includes(filter);
      show(found, stream);
    });
    gone.forEach((id) => {
      cards.get(id).node.remove();
      cards.delete(id);
    });
    $('empty').hidden = streams.length > 0;
    $('publish-hint').textContent = `ffmpeg -re -i FILE -c copy -f flv rtmp://${location.hostname}/live/show`;
  } catch (problem) {
    if (problem.status === 401) { clearTimeout(polling); askToken(problem.message); return; }
    $('state').className = 'down';
    $('state-text').textContent = 'the relay does not answer';
  }
}

function begin() {
  $('forget').hidden = false;
  const round = async () => {
    await refresh();
    polling = setTimeout(round, document.hidden ? 5 * POLL_MS : POLL_MS);
  };
  round();
}

$('filter').addEventListener('input', refresh);
if (token) begin(); else askToken();
