// The connections of the MQTT client tool: MQTT.js over WebSocket. They outlive the page, so that one can look elsewhere meanwhile.
// A browser must survive a flood: messages kept, bytes kept of each, and redraws a second are limited.
import { store } from './lib.js';
import { t } from './i18n.js';

export const MOST_CONNECTIONS = 6;
export const MOST_MESSAGES = 500;
export const MOST_BYTES = 65536;
const REDRAW = 250; // ms
const MOST_PER_REDRAW = 200;

/** [{id, options, status, error, subs: [{filter, qos}], messages, received, skipped, sent}] */
export const connections = store([]);
let library = null;
let next = 1;
let timer = null;

const redraw = () => connections.set([...connections.get()]);
const soon = () => { timer ??= setTimeout(() => { timer = null; for (const one of connections.get()) one.taken = 0; redraw(); }, REDRAW); };

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

function keep(one, message) {
  one.messages.unshift({ key: next++, at: Date.now(), ...message });
  if (one.messages.length > MOST_MESSAGES) one.messages.length = MOST_MESSAGES;
  soon();
}

function arrived(one, topic, payload, packet) {
  one.received += 1;
  one.taken += 1;
  if (one.taken > MOST_PER_REDRAW) { one.skipped += 1; soon(); return; }
  keep(one, { way: 'in', topic, data: Uint8Array.from(payload.subarray(0, MOST_BYTES)), size: payload.length, qos: packet.qos, retain: packet.retain, properties: packet.properties });
}

function watch(one) {
  const set = (status, error) => { one.status = status; if (error !== undefined) one.error = error; soon(); };
  one.client.on('connect', () => set('connected', ''));
  one.client.on('reconnect', () => set('connecting'));
  one.client.on('close', () => set(one.ended ? 'closed' : 'connecting'));
  one.client.on('error', (error) => set('failed', error.message));
  one.client.on('disconnect', (packet) => set('closed', t('tool.byServer', { code: packet.reasonCode })));
  one.client.on('message', (topic, payload, packet) => arrived(one, topic, payload, packet));
}

/** Connect with options of the form; throws when there are too many. */
export async function connect(options) {
  if (connections.get().length >= MOST_CONNECTIONS) throw new Error(t('tool.tooMany', { most: MOST_CONNECTIONS }));
  library ??= (await import('../vendor/mqtt-5.16.0/mqtt.esm.js')).default;
  const v5 = options.version === 5;
  const client = library.connect(`${options.tls ? 'wss' : 'ws'}://${options.host}:${options.port}${options.path}`, {
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
  });
  const one = { id: next++, options, client, status: 'connecting', error: '', subs: [], messages: [], received: 0, skipped: 0, sent: 0, taken: 0, ended: false };
  watch(one);
  connections.set([...connections.get(), one]);
  return one.id;
}

/** End a connection and forget it. */
export function close(one) {
  one.ended = true;
  one.client.end(true);
  connections.set(connections.get().filter((other) => other !== one));
}

/** Subscribe; resolves when the broker has granted it, throws what it refused with. */
export async function subscribe(one, { filter, qos, nl, rap, rh, identifier }) {
  const v5 = one.options.version === 5;
  const granted = await one.client.subscribeAsync(filter, v5 ? { qos, nl: Boolean(nl), rap: Boolean(rap), rh, properties: given({ subscriptionIdentifier: identifier }) } : { qos });
  const code = granted[0]?.qos;
  if (code >= 128) throw new Error(t('tool.refused', { code }));
  one.subs = [...one.subs.filter((sub) => sub.filter !== filter), { filter, qos: code ?? qos }];
  redraw();
}

export async function unsubscribe(one, filter) {
  await one.client.unsubscribeAsync(filter);
  one.subs = one.subs.filter((sub) => sub.filter !== filter);
  redraw();
}

/** Publish bytes; resolves when a QoS of 1 or 2 is acknowledged. */
export async function publish(one, { topic, data, qos, retain, properties }) {
  await one.client.publishAsync(topic, data, { qos, retain, properties: one.options.version === 5 ? properties : undefined });
  one.sent += 1;
  keep(one, { way: 'out', topic, data: data.slice(0, MOST_BYTES), size: data.length, qos, retain, properties });
}

export function clear(one) { one.messages = []; one.skipped = 0; redraw(); }
