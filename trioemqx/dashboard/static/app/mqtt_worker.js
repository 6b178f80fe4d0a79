// One connection of the MQTT client tool, in a thread of its own: MQTT.js over WebSocket. A flood keeps this thread busy, and the page stays
// as it is: it is told the newest messages four times a second, at most so many, and how many there were.
import mqtt from '../vendor/mqtt-5.16.0/mqtt.esm.js';

const REDRAW = 250; // ms
const MOST_PER_REDRAW = 200;
const MOST_BYTES = 65536; // of a payload

let client = null;
let batch = { received: 0, skipped: 0, messages: [] };
let timer = null;
let since = 0;
let open = false; // whether the broker has answered this attempt

function flush() {
  clearTimeout(timer);
  timer = null;
  since = performance.now();
  if (!batch.received) return;
  postMessage(batch, batch.messages.map((message) => message.data.buffer));
  batch = { received: 0, skipped: 0, messages: [] };
}

/** Properties without the buffers that they are parts of, which would be sent along as a whole. */
const own = (properties) => properties && Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, value instanceof Uint8Array ? Uint8Array.from(value) : value]));

function arrived(topic, payload, packet) {
  batch.received += 1;
  if (batch.messages.length < MOST_PER_REDRAW) {
    batch.messages.push({ at: Date.now(), topic, data: Uint8Array.from(payload.subarray(0, MOST_BYTES)), size: payload.length, qos: packet.qos, retain: packet.retain, properties: own(packet.properties) });
  } else batch.skipped += 1;
  // A thread that has messages all the time may never get to its timers.
  if (performance.now() - since > REDRAW) flush();
  else timer ??= setTimeout(flush, REDRAW);
}

const said = (status, more) => { flush(); postMessage({ status, ...more }); };

const ACTS = {
  connect({ address, options }) {
    client = mqtt.connect(address, options);
    client.on('connect', () => { open = true; said('connected', { error: '' }); });
    client.on('reconnect', () => said('connecting'));
    client.on('close', () => { said('connecting', { silent: !open }); open = false; });
    client.on('error', (error) => said('failed', { error: error.message }));
    client.on('disconnect', (packet) => said('closed', { code: packet.reasonCode }));
    client.on('message', arrived);
  },
  subscribe: async ({ filter, options }) => (await client.subscribeAsync(filter, options))[0]?.qos,
  unsubscribe: async ({ filter }) => { await client.unsubscribeAsync(filter); },
  publish: async ({ topic, data, options }) => { await client.publishAsync(topic, data, options); },
  end() { client.end(); }, // with a DISCONNECT: the will is not published
};

addEventListener('message', async ({ data: { act, call, ...rest } }) => {
  try { postMessage({ call, result: await ACTS[act](rest) }); } catch (error) { postMessage({ call, error: error.message }); }
});
