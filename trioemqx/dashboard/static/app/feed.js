// The charts' figures: one WebSocket that brings two hours at first, then a sample a second.
import { store } from './lib.js';

const RECENT = 300; // samples of one second
const HISTORY = 720;
const SESSION_ENDED = 1008;
const LONGEST_WAIT = 10; // seconds between two attempts

/** {status: 'connecting'|'live'|'lost', last: {name: number}, alarms}; `history` and `recent` are columns: {t: [], name: []}. */
export const feed = store({ status: 'connecting', last: null });
export const columns = { history: { t: [], interval: 10 }, recent: { t: [], interval: 1 } };
let socket = null;
let wanted = false;
let wait = 1;
let timer = null;
let onRefused = () => {};
let heard = false; // whether the socket has brought anything

const addressOf = () => {
  const address = new URL('feed', document.baseURI);
  address.protocol = address.protocol.replace('http', 'ws');
  address.hash = '';
  return address;
};

const table = ({ t, interval, columns: named }) => ({ t: [...t], ...named, interval });

function take(frame) {
  if (frame.type === 'sample') return sample(frame);
  columns.history = table(frame);
  if (frame.recent) columns.recent = table(frame.recent);
  return feed.set({ ...feed.get(), status: 'live' });
}

function append(into, t, values, most) {
  into.t.push(t);
  for (const [name, value] of Object.entries(values)) {
    into[name] ??= new Array(into.t.length - 1).fill(null);
    into[name].push(value);
  }
  for (const name of Object.keys(into)) {
    if (name === 'interval') continue;
    while (into[name].length < into.t.length) into[name].push(null);
    if (into[name].length > most) into[name].splice(0, into[name].length - most);
  }
}

function sample({ t, values }) {
  append(columns.recent, t, values, RECENT);
  const { history } = columns;
  if (!history.t.length || t - history.t[history.t.length - 1] >= history.interval * 0.95) append(history, t, values, HISTORY);
  feed.set({ status: 'live', last: values });
}

function again(event) {
  socket = null;
  feed.set({ ...feed.get(), status: 'lost' });
  if (!wanted) return;
  if (!heard || event.code === SESSION_ENDED) onRefused();
  timer = setTimeout(open, wait * 1000);
  wait = Math.min(LONGEST_WAIT, wait * 2);
}

function open() {
  socket = new WebSocket(addressOf());
  heard = false;
  socket.onmessage = (event) => { wait = 1; heard = true; take(JSON.parse(event.data)); };
  socket.onclose = again;
}

/** Start to listen, for as long as somebody is logged in. `refused` is called when the socket is not let in, or ended with its session: a
 *  browser is not told which; a broker that has started anew knows no sessions, and another tab may have a new one. */
export function startFeed(refused) {
  onRefused = refused;
  if (!wanted) { wanted = true; open(); }
}

/** Stop, on logging out. */
export function stopFeed() {
  wanted = false;
  clearTimeout(timer);
  if (socket) { socket.onclose = null; socket.close(); socket = null; }
  columns.history = { t: [], interval: 10 };
  columns.recent = { t: [], interval: 1 };
  feed.set({ status: 'connecting', last: null });
}
