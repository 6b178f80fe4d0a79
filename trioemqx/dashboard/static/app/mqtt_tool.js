// The connections of the MQTT client tool. They outlive the page, so that one can look elsewhere meanwhile. Each is a thread of its own,
// mqtt_worker.js. A browser must survive a flood: messages kept, bytes kept of each, and redraws a second are limited.
import { store } from './lib.js';
import { t } from './i18n.js';

export const MOST_CONNECTIONS = 6;
export const MOST_MESSAGES = 500;
const MOST_BYTES = 65536; // of what was published here
const REDRAW = 100; // ms
const GOODBYE = 2000; // ms that a connection has for its DISCONNECT

/** [{id, options, status, error, subs: [{filter, qos}], messages, received, skipped, sent}] */
export const connections = store([]);
let next = 1;
let timer = null;

const redraw = () => connections.set([...connections.get()]);
const soon = () => { timer ??= setTimeout(() => { timer = null; redraw(); }, REDRAW); };

/** `name=value` in lines as the user properties of MQTT 5: {name: value or [values]}. */
export function userProperties(lines) {
  const found = {};
  for (const line of lines ?? []) {
    const [name, ...rest] = line.split('=');
    const value = rest.join('=').trim();
    if (name.trim() in found) found[name.trim()] = [].concat(found[name.trim()], value);
    else found[name.trim()] = value;
  }
  return Object.keys(found).length ? found : undefined;
}

/** Members that are undefined or empty left out; undefined when none is left. */
export function given(members) {
  const kept = Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== ''));
  return Object.keys(kept).length ? kept : undefined;
}

function keep(one, messages, way) {
  for (const message of messages) one.messages.unshift({ key: next++, way, ...message });
  if (one.messages.length > MOST_MESSAGES) one.messages.length = MOST_MESSAGES;
  soon();
}

/** What a thread says: the answer to a call, how the connection is, or what has arrived. */
function heard(one, { call, result, status, error, code, silent, received, skipped, messages }) {
  if (call !== undefined) {
    const [resolve, reject] = one.calls.get(call);
    one.calls.delete(call);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  } else if (status) {
    one.status = status;
    if (code !== undefined) one.error = t('tool.byServer', { code });
    else if (error !== undefined) one.error = error;
    else if (silent && !one.error) one.error = t('tool.noAnswer');
    soon();
  } else {
    one.received += received;
    one.skipped += skipped;
    keep(one, messages, 'in');
  }
}

/** Have the thread do something; resolves to what came of it. */
const call = (one, act, rest) => new Promise((resolve, reject) => {
  one.calls.set(next, [resolve, reject]);
  one.worker.postMessage({ act, call: next, ...rest });
  next += 1;
});

/** Connect with options of the form; throws when there are too many. */
export async function connect(options) {
  if (connections.get().length >= MOST_CONNECTIONS) throw new Error(t('tool.tooMany', { most: MOST_CONNECTIONS }));
  const v5 = options.version === 5;
  const worker = new Worker(new URL('./mqtt_worker.js', import.meta.url), { type: 'module' });
  const one = { id: next++, options, worker, calls: new Map(), status: 'connecting', error: '', subs: [], messages: [], received: 0, skipped: 0, sent: 0 };
  worker.onmessage = ({ data }) => heard(one, data);
  worker.onerror = (event) => heard(one, { status: 'failed', error: event.message || t('shell.noPage') });
  call(one, 'connect', { address: `${options.tls ? 'wss' : 'ws'}://${options.host}:${options.port}${options.path}`, options: {
    clientId: options.clientid,
    username: options.username || undefined,
    password: options.password || undefined,
    keepalive: options.keepalive,
    protocolVersion: options.version,
    clean: options.clean,
    reconnectPeriod: 3000,
    connectTimeout: 10000,
    resubscribe: true,
    timerVariant: 'native',
    will: options.will_topic ? { topic: options.will_topic, payload: options.will_payload ?? '', qos: options.will_qos, retain: Boolean(options.will_retain) } : undefined,
    properties: v5 ? given({ sessionExpiryInterval: options.session_expiry, receiveMaximum: options.receive_maximum, maximumPacketSize: options.maximum_packet, userProperties: userProperties(options.user_properties) }) : undefined,
  } }).catch((error) => heard(one, { status: 'failed', error: error.message }));
  connections.set([...connections.get(), one]);
  return one.id;
}

/** End a connection and forget it. */
export function close(one) {
  one.worker.onmessage = null;
  one.worker.postMessage({ act: 'end' });
  setTimeout(() => one.worker.terminate(), GOODBYE);
  connections.set(connections.get().filter((other) => other !== one));
}

/** Subscribe; resolves when the broker has granted it, throws what it refused with. */
export async function subscribe(one, { filter, qos, nl, rap, rh, identifier }) {
  const v5 = one.options.version === 5;
  const options = v5 ? { qos, nl: Boolean(nl), rap: Boolean(rap), rh, properties: given({ subscriptionIdentifier: identifier }) } : { qos };
  const code = await call(one, 'subscribe', { filter, options });
  if (code >= 128) throw new Error(t('tool.refused', { code }));
  one.subs = [...one.subs.filter((sub) => sub.filter !== filter), { filter, qos: code ?? qos }];
  redraw();
}

export async function unsubscribe(one, filter) {
  await call(one, 'unsubscribe', { filter });
  one.subs = one.subs.filter((sub) => sub.filter !== filter);
  redraw();
}

/** Publish bytes; resolves when a QoS of 1 or 2 is acknowledged. */
export async function publish(one, { topic, data, qos, retain, properties }) {
  await call(one, 'publish', { topic, data, options: { qos, retain, properties: one.options.version === 5 ? properties : undefined } });
  one.sent += 1;
  keep(one, [{ at: Date.now(), topic, data: data.slice(0, MOST_BYTES), size: data.length, qos, retain, properties }], 'out');
}

export function clear(one) { one.messages = []; one.skipped = 0; redraw(); }
