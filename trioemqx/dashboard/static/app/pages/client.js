// One client: its connection, session, traffic, subscriptions, and the messages that wait for it.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link, go } from '../router.js';
import { bytes, duration, short } from '../format.js';
import { Tabs } from '../components/tabs.js';
import { Table, Refresh } from '../components/table.js';
import { Ago, Badge, Card, EmptyState, ErrorBox, Facts, Loaded, Num, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { Gone } from '../components/gone.js';
import { Form } from '../components/form.js';
import { confirm } from '../components/dialog.js';
import { attempt } from '../components/toast.js';
import { kick } from '../components/kick.js';
import { Inflight, Queue } from '../components/queue.js';
import { protocol, State } from './clients.js';

const of = (now, most) => html`<${Num} value=${now} /> <span class="muted">/ ${most ? html`<${Num} value=${most} />` : '∞'}</span>`;

const Overview = ({ row }) => html`<div class="stack">
  <div class="two">
    <${Card} title=${t('client.connection')}><${Facts} rows=${[
      [t('clients.state'), html`<${State} row=${row} />`], [t('word.username'), row.username && row.username !== 'undefined' ? html`<${Copyable} text=${row.username} mono=${false} />` : '–'],
      [t('word.address'), html`<span class="mono">${row.ip_address}:${row.port}</span>`], [t('clients.protocol'), protocol(row)], [t('clients.keepalive'), `${row.keepalive} s`],
      [t('client.zone'), row.zone], [t('client.mountpoint'), row.mountpoint === 'undefined' ? '–' : row.mountpoint], [t('client.bridge'), row.is_bridge ? t('word.yes') : t('word.no')],
      [t('client.connectedAt'), html`<${Ago} value=${row.connected_at} />`], row.disconnected_at && [t('client.disconnectedAt'), html`<${Ago} value=${row.disconnected_at} />`], [t('word.node'), row.node]]} /><//>
    <${Card} title=${t('client.session')}><${Facts} rows=${[
      [t('client.cleanStart'), row.clean_start ? t('word.yes') : t('word.no')], [t('client.expiry'), row.expiry_interval >= 4294967295 ? t('word.never') : duration(row.expiry_interval)],
      [t('client.sessionMade'), html`<${Ago} value=${row.created_at} />`], [t('client.subscriptions'), of(row.subscriptions_cnt, row.max_subscriptions)],
      [t('client.inflight'), of(row.inflight, row.max_inflight)], [t('client.queue'), of(row.mqueue_len, row.max_mqueue)],
      [t('client.awaiting'), of(row.awaiting_rel, row.max_awaiting_rel)], [t('client.droppedMessages'), html`<${Num} value=${row.mqueue_dropped} />`]]} /><//>
  </div>
  <${Card} title=${t('client.traffic')} flush><${Table} label=${t('client.traffic')} rows=${[['recv', t('client.received')], ['send', t('client.delivered')]]} columns=${[
    { label: t('client.way'), value: ([, name]) => html`<b>${name}</b>`, className: 'lead' },
    { label: t('client.packets'), className: 'num', value: ([way]) => html`<${Num} value=${row[`${way}_pkt`]} />` },
    { label: t('client.messages'), className: 'num', value: ([way]) => html`<${Num} value=${row[`${way}_msg`]} />` },
    ...[0, 1, 2].map((qos) => ({ label: `QoS ${qos}`, className: 'num', value: ([way]) => html`<${Num} value=${row[`${way}_msg.qos${qos}`]} />` })),
    { label: t('client.droppedMessages'), className: 'num', value: ([way]) => html`<${Num} value=${row[`${way}_msg.dropped`]} />` },
    { label: t('client.bytes'), className: 'num', value: ([way]) => bytes(row[`${way}_oct`]) },
  ]} /><//>
</div>`;

function Subscriptions({ id }) {
  const subs = useApi(url`subscriptions/${id}`);
  const [made, setMade] = useState(0);
  const add = async ({ topic, qos }) => {
    await api.post('mqtt/subscribe', { clientid: id, topic, qos });
    setMade((n) => n + 1);
    subs.reload();
  };
  const remove = async (topic) => {
    if (!await confirm({ title: t('client.unsubscribeTitle'), text: t('client.unsubscribeText', { id, topic }), action: t('client.unsubscribe') })) return;
    if (await attempt(() => api.post('mqtt/unsubscribe', { clientid: id, topic }), t('action.deleted'))) subs.reload();
  };
  return html`<div class="stack">
    <${Card}><${Form} key=${made} submit=${t('client.subscribe')} onSubmit=${add} fields=${[
      { name: 'topic', label: t('word.filter'), kind: 'string', required: true, placeholder: 'sensors/+/temperature', half: true },
      { name: 'qos', label: t('word.qos'), kind: 'select', options: [[0, '0'], [1, '1'], [2, '2']], default: 0, half: true }]} /><//>
    <${Loaded} of=${subs}>${() => html`<${Table} label=${t('client.subscriptions')} rows=${subs.data} rowKey=${(row) => row.topic} columns=${[
      { label: t('word.filter'), className: 'lead', share: 60, value: (row) => html`<${Copyable} text=${row.topic} />` },
      { label: t('word.qos'), className: 'num', value: (row) => row.qos },
      { value: (row) => html`<button class="btn small ghost danger-text" onClick=${() => remove(row.topic)}>${t('client.unsubscribe')}</button>` },
    ]} empty=${html`<${EmptyState} title=${t('client.noSubs')}>${t('client.noSubsHint')}<//>`} />`}<//>
  </div>`;
}

function AclCache({ id }) {
  const cache = useApi(url`clients/${id}/acl_cache`);
  const clear = async () => { if (await attempt(() => api.delete(url`clients/${id}/acl_cache`), t('client.clearedAcl'))) cache.reload(); };
  return html`<div><div class="filters"><div class="grow" /><button class="btn" onClick=${clear}>${t('client.clearAcl')}</button><${Refresh} reload=${cache.reload} /></div>
    <${Loaded} of=${cache}>${() => html`<${Table} label=${t('client.acl')} rows=${cache.data} columns=${[
      { label: t('word.topic'), className: 'lead', share: 50, value: (row) => html`<${Copyable} text=${row.topic} />` },
      { label: t('client.access'), value: (row) => row.access },
      { label: t('client.result'), value: (row) => html`<${Badge} kind=${row.result === 'allow' ? 'ok' : 'danger'}>${row.result}<//>` },
      { label: t('clients.since'), value: (row) => html`<${Ago} value=${row.updated_time} />` },
    ]} empty=${html`<${EmptyState} icon="key" title=${t('client.noAcl')}>${t('client.noAclHint')}<//>`} />`}<//></div>`;
}

export default function Client({ path: [, id] }) {
  const asked = useApi(url`clients/${id}`, null, { every: 10 });
  const row = asked.data?.[0];
  const gone = asked.data && !row;
  return html`<${PageHead} title=${html`<${Copyable} text=${id} most=${60} mono=${false} />`} note=${html`<a href=${link(['clients'])}>${t('nav.clients')}</a>`}>
      <${Refresh} reload=${asked.reload} />
      <a class="btn" href=${link(['bans'], { as: 'clientid', who: id })}>${t('clients.ban')}</a>
      ${row && html`<button class="btn danger" data-kick onClick=${() => kick(row, () => go(['clients']))}>${row.connected ? t('clients.kick') : t('clients.drop')}</button>`}
    <//>
    ${asked.error && html`<${ErrorBox} error=${asked.error} retry=${asked.reload} />`}
    ${gone && html`<${Gone} icon="plug" title=${t('client.gone')} text=${t('client.goneHint')} to=${['clients']} label=${t('nav.clients')} />`}
    ${row && html`<${Tabs} tabs=${[
      ['overview', t('client.overview'), () => html`<${Overview} row=${row} />`],
      ['subscriptions', `${t('client.subscriptions')} (${short(row.subscriptions_cnt)})`, () => html`<${Subscriptions} id=${id} />`],
      ['queue', `${t('client.queue')} (${short(row.mqueue_len)})`, () => html`<${Queue} id=${id} />`],
      ['inflight', `${t('client.inflight')} (${short(row.inflight)})`, () => html`<${Inflight} id=${id} />`],
      ['acl', t('client.acl'), () => html`<${AclCache} id=${id} />`],
    ]} />`}
    ${!asked.data && !asked.error && html`<${Loaded} of=${asked} lines=${8} />`}`;
}
