// An MQTT client in the browser: several connections, MQTT 5 properties, payloads as text, JSON, hex or base64.
import { html, useMemo, useState } from '../lib.js';
import { t } from '../i18n.js';
import { useApi } from '../api.js';
import { full, short } from '../format.js';
import * as tool from '../mqtt_tool.js';
import { Badge, Card, EmptyState, Notice, PageHead, Skeleton } from '../components/states.js';
import { Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog, Drawer } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';
import { fromBase64, fromHex, Payload, textOf } from '../components/payload.js';
import { Icon } from '../components/icons.js';
import { TabList, TabPanel } from '../components/tabs.js';
import { TopicTree } from '../components/topic_tree.js';

const QOS = [[0, '0'], [1, '1'], [2, '2']];
const qosField = (name, label) => ({ name, label, kind: 'select', options: QOS, required: true, default: 0, half: true });
const lines = () => ({ name: 'user_properties', label: t('tool.userProperties'), kind: 'lines', rows: 2, help: t('tool.userPropertiesHelp') });

function connectFields(texts) {
  const v5 = texts.version === '5';
  return [
    { name: 'host', label: t('tool.host'), kind: 'string', required: true, half: true }, { name: 'port', label: t('tool.port'), kind: 'integer', required: true, half: true, min: 1, max: 65535 },
    { name: 'path', label: t('tool.path'), kind: 'string', half: true }, { name: 'version', label: t('clients.protocol'), kind: 'select', options: [[5, 'MQTT 5.0'], [4, 'MQTT 3.1.1']], required: true, half: true },
    { name: 'clientid', label: t('word.clientid'), kind: 'string', required: true, half: true }, { name: 'keepalive', label: t('clients.keepalive'), kind: 'integer', unit: 's', min: 0, max: 65535, half: true },
    { name: 'username', label: t('word.username'), kind: 'string', half: true }, { name: 'password', label: t('word.password'), kind: 'password', half: true },
    { name: 'tls', label: 'TLS (wss)', kind: 'boolean', half: true }, { name: 'clean', label: v5 ? t('client.cleanStart') : t('tool.cleanSession'), kind: 'boolean', half: true },
    { name: 'advanced', label: t('tool.more'), kind: 'boolean' },
    ...(texts.advanced ? [
      ...(v5 ? [{ name: 'session_expiry', label: t('client.expiry'), kind: 'integer', unit: 's', min: 0, max: 4294967295, half: true }, { name: 'receive_maximum', label: 'Receive Maximum', kind: 'integer', min: 1, max: 65535, half: true },
        { name: 'maximum_packet', label: 'Maximum Packet Size', kind: 'integer', unit: 'B', min: 1, half: true }, lines()] : []),
      { name: 'will_topic', label: t('tool.willTopic'), kind: 'string', half: true }, qosField('will_qos', t('tool.willQos')),
      { name: 'will_payload', label: t('tool.willPayload'), kind: 'text', rows: 2 }, { name: 'will_retain', label: t('tool.willRetain'), kind: 'boolean' }] : []),
  ];
}

function Connect({ doors, onClose, onDone }) {
  const tls = location.protocol === 'https:';
  const door = doors.find((one) => one.tls === tls) ?? doors[0] ?? { port: tls ? 8084 : 8083, path: '/mqtt', tls };
  const [values] = useState(() => ({ host: location.hostname, port: door.port, path: door.path, tls: door.tls, version: 5, clientid: `dashboard-${Math.random().toString(36).slice(2, 10)}`, keepalive: 60, clean: true }));
  const connect = async (options) => onDone(await tool.connect({ path: '', ...options }));
  return html`<${Dialog} title=${t('tool.connectTitle')} onClose=${onClose}><${Form} fields=${connectFields} values=${values} submit=${t('tool.connect')} onCancel=${onClose} onSubmit=${connect} /><//>`;
}

const wide = (filter) => /^(\$share\/[^/]+\/)?(\+\/)*#$/.test(filter);

function Subscribe({ one }) {
  const v5 = one.options.version === 5;
  const [made, setMade] = useState(0);
  const subscribe = async (values) => {
    if (wide(values.filter) && !await confirm({ title: t('tool.wideTitle'), text: t('tool.wideText', { filter: values.filter, most: full(tool.MOST_MESSAGES) }), action: t('client.subscribe'), danger: false })) return;
    await tool.subscribe(one, values);
    setMade((n) => n + 1);
  };
  const fields = (texts) => [
    { name: 'filter', label: t('word.filter'), kind: 'string', required: true, placeholder: 'testtopic/#' }, qosField('qos', t('word.qos')),
    ...(v5 ? [{ name: 'advanced', label: t('tool.more'), kind: 'boolean', half: true }] : []),
    ...(v5 && texts.advanced ? [{ name: 'nl', label: 'No Local', kind: 'boolean', half: true }, { name: 'rap', label: 'Retain As Published', kind: 'boolean', half: true },
      { name: 'rh', label: 'Retain Handling', kind: 'select', options: QOS, required: true, default: 0, half: true }, { name: 'identifier', label: 'Subscription Identifier', kind: 'integer', min: 1, max: 268435455, half: true }] : []),
  ];
  return html`<${Card} title=${t('nav.subscriptions')}>
    <${Form} key=${made} fields=${fields} submit=${t('client.subscribe')} onSubmit=${subscribe} />
    <ul class="sub-list">${one.subs.map((sub) => html`<li key=${sub.filter}><${Copyable} text=${sub.filter} most=${34} /> <${Badge}>QoS ${sub.qos}<//><span class="grow" />
      <button class="btn icon small ghost danger-text" aria-label=${`${t('client.unsubscribe')} ${sub.filter}`} onClick=${() => attempt(() => tool.unsubscribe(one, sub.filter))}><${Icon} name="close" size=${16} /></button></li>`)}</ul><//>`;
}

const FORMATS = { text: (text) => new TextEncoder().encode(text), json: (text) => new TextEncoder().encode(JSON.stringify(JSON.parse(text))), hex: fromHex, base64: fromBase64 };

function Publish({ one }) {
  const v5 = one.options.version === 5;
  const publish = async ({ topic, payload = '', format, qos, retain, ...props }) => {
    let data;
    try { data = FORMATS[format](payload); } catch (error) { throw new Error(t('tool.badPayload', { error: error.message })); }
    const properties = tool.given({ contentType: props.content_type, responseTopic: props.response_topic, messageExpiryInterval: props.expiry, payloadFormatIndicator: props.utf8 || undefined,
      correlationData: props.correlation ? new TextEncoder().encode(props.correlation) : undefined, userProperties: tool.userProperties(props.user_properties) });
    await tool.publish(one, { topic, data, qos, retain: Boolean(retain), properties });
    toast.ok(t('publish.done', { topic: shorten(topic, 60) }));
  };
  const fields = (texts) => [
    { name: 'topic', label: t('word.topic'), kind: 'string', required: true, default: 'testtopic/1' },
    { name: 'payload', label: t('word.payload'), kind: 'text', rows: 4, default: '{"msg": "hello"}' },
    { name: 'format', label: t('tool.format'), kind: 'select', required: true, default: 'text', options: [['text', t('payload.text')], ['json', 'JSON'], ['hex', 'Hex'], ['base64', 'Base64']], half: true }, qosField('qos', t('word.qos')),
    { name: 'retain', label: t('word.retain'), kind: 'boolean', half: true }, ...(v5 ? [{ name: 'advanced', label: t('tool.more'), kind: 'boolean', half: true }] : []),
    ...(v5 && texts.advanced ? [{ name: 'content_type', label: 'Content Type', kind: 'string', half: true }, { name: 'expiry', label: 'Message Expiry', kind: 'integer', unit: 's', min: 0, half: true },
      { name: 'response_topic', label: 'Response Topic', kind: 'string', half: true }, { name: 'correlation', label: 'Correlation Data', kind: 'string', half: true }, { name: 'utf8', label: t('tool.utf8'), kind: 'boolean' }, lines()] : []),
  ];
  return html`<${Card} title=${t('publish.title')}><${Form} fields=${fields} submit=${t('publish.title')} onSubmit=${publish} /><//>`;
}

const preview = (message) => (message.size === 0 ? '∅' : shorten((textOf(message.data, message.size > message.data.length) ?? `0x${[...message.data.subarray(0, 24)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`).slice(0, 200), 120));

function Messages({ one }) {
  const [way, setWay] = useState('');
  const [open, setOpen] = useState(null);
  const [tree, setTree] = useState(false);
  const shown = useMemo(() => one.messages.filter((message) => !way || message.way === way).slice(0, 200), [one.messages.length, one.received, one.sent, way]);
  const properties = open?.properties && JSON.stringify(open.properties, (_, value) => (value instanceof Uint8Array ? textOf(value) ?? [...value] : value), 2);
  return html`<${Card} className="messages" title=${t('tool.messages')} actions=${html`
      <span class="muted">${t('tool.counts', { received: short(one.received), sent: short(one.sent) })}</span>
      <div class="btn-group" role="group" aria-label=${t('tool.messages')}>${[['', t('tool.all')], ['in', t('tool.in')], ['out', t('tool.out')]].map(([key, label]) => html`<button class="btn small" aria-pressed=${way === key} onClick=${() => setWay(key)}>${label}</button>`)}</div>
      <button class="btn small" data-tree aria-pressed=${tree} onClick=${() => setTree(!tree)}>${t('tool.tree')}</button>
      <button class="btn small" data-clear onClick=${() => tool.clear(one)}>${t('tool.clear')}</button>`}>
    ${one.skipped > 0 && html`<${Notice} kind="warn">${t('tool.skipped', { count: full(one.skipped) })}<//>`}
    ${shown.length === 0 ? html`<${EmptyState} icon="send" title=${t('tool.noMessages')}>${t('tool.noMessagesHint')}<//>` : tree ? html`<${TopicTree} messages=${one.messages.filter((message) => !way || message.way === way)} changes=${`${way} ${one.received} ${one.sent} ${one.messages.length}`} show=${setOpen} preview=${preview} />` : html`<ol class="stream">${shown.map((message) => html`
      <li key=${message.key} class=${message.way}><button onClick=${() => setOpen(message)}>
        <span class="row"><${Badge} kind=${message.way === 'in' ? 'info' : 'ok'}>${message.way === 'in' ? t('tool.in') : t('tool.out')}<//><b class="mono grow">${shorten(message.topic, 60)}</b><span class="muted">QoS ${message.qos}${message.retain ? ` · ${t('word.retain')}` : ''} · ${new Date(message.at).toLocaleTimeString('en-GB')}</span></span>
        <span class="mono stream-text">${preview(message)}</span></button></li>`)}</ol>`}
    ${open && html`<${Drawer} title=${t('word.payload')} onClose=${() => setOpen(null)}><div class="stack"><div><div class="muted">${t('word.topic')}</div><${Copyable} text=${open.topic} most=${200} /></div>
      ${properties && html`<div><div class="muted">${t('tool.properties')}</div><pre class="block">${properties}</pre></div>`}<${Payload} data=${open.data} truncated=${open.size > open.data.length} total=${open.size} /></div><//>`}<//>`;
}

const STATUS = { connected: 'ok', connecting: 'warn', failed: 'danger', closed: 'danger' };

export default function MqttClient() {
  const all = tool.connections.use();
  const doors = useApi('settings/listener');
  const [chosen, setChosen] = useState(null);
  const [adding, setAdding] = useState(false);
  const one = all.find((other) => other.id === chosen) ?? all[0];
  const done = (id) => { setChosen(id); setAdding(false); };
  return html`<${PageHead} title=${t('nav.mqttClient')} note=${t('tool.note')}><button class="btn primary" data-connect disabled=${all.length >= tool.MOST_CONNECTIONS} onClick=${() => setAdding(true)}><${Icon} name="plus" size=${16} /> ${t('tool.new')}</button><//>
    ${one && html`<${TabList} id="connection" label=${t('tool.connections')} open=${one.id} choose=${setChosen} items=${all.map((other) => [other.id, html`
      <span class="row nowrap"><i class="dot ${STATUS[other.status]}" /><span class="hidden">${t(`tool.${other.status}`)}</span>${shorten(other.options.clientid, 24)}</span>`])} />`}
    ${!one && html`<div class="table-box"><${EmptyState} icon="send" title=${t('tool.none')}><p>${t('tool.noneHint')}</p><p><button class="btn primary" onClick=${() => setAdding(true)}>${t('tool.new')}</button></p><//></div>`}
    ${one && html`<${TabPanel} key=${one.id} id="connection" open=${one.id}><div class="stack">
      <div class="row card"><${Badge} kind=${STATUS[one.status]}>${t(`tool.${one.status}`)}<//><span class="mono muted grow">${one.options.tls ? 'wss' : 'ws'}://${one.options.host}:${one.options.port}${one.options.path} · ${one.options.version === 5 ? 'MQTT 5.0' : 'MQTT 3.1.1'}</span>
        ${one.error && html`<span class="danger-text">${one.error}</span>`}<button class="btn" onClick=${() => tool.close(one)}>${t('tool.disconnect')}</button></div>
      <div class="tool"><div class="stack"><${Subscribe} one=${one} /><${Publish} one=${one} /></div><${Messages} one=${one} /></div></div><//>`}
    ${adding && (doors.data || doors.error ? html`<${Connect} doors=${doors.data?.websocket ?? []} onClose=${() => setAdding(false)} onDone=${done} />` : html`<${Skeleton} />`)}`;
}
