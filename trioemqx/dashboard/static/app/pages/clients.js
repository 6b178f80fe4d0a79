// Who is connected. The filters are the API's; a click leads to one client.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { duration } from '../format.js';
import { link } from '../router.js';
import { ServerTable } from '../components/table.js';
import { Ago, Badge, EmptyState, Num, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { kick } from '../components/kick.js';

const PROTOCOLS = [['3', 'MQTT 3.1'], ['4', 'MQTT 3.1.1'], ['5', 'MQTT 5.0']];
export const protocol = (row) => PROTOCOLS.find(([version]) => version === String(row.proto_ver))?.[1] ?? `${row.proto_name} ${row.proto_ver}`;
export const State = ({ row }) => html`<${Badge} kind=${row.connected ? 'ok' : ''}>${row.connected ? t('clients.connected') : t('clients.disconnected')}<//>`;

const TIMES = [['300', 'clients.within', 300], ['3600', 'clients.within', 3600], ['86400', 'clients.within', 86400], ['-86400', 'clients.longer', 86400], ['-604800', 'clients.longer', 604800]];
/** Connected within so many seconds, or for longer; in whole minutes, or each look at the page would be another question. */
const range = (value) => {
  const at = Math.floor(Date.now() / 60000) * 60 - Math.abs(value);
  return value > 0 ? { _gte_connected_at: at } : { _lte_connected_at: at };
};

const filters = () => [
  { name: '_like_clientid', label: t('clients.likeId') },
  { name: '_like_username', label: t('clients.likeUser') },
  { name: 'conn_state', label: t('clients.state'), type: 'select', options: [['connected', t('clients.connected')], ['disconnected', t('clients.disconnected')]] },
  { name: 'proto_ver', label: t('clients.protocol'), type: 'select', options: PROTOCOLS },
  { name: 'ip_address', label: t('clients.ip') },
  { name: 'since', label: t('clients.since'), type: 'select', options: TIMES.map(([value, label, seconds]) => [value, t(label, { time: duration(seconds) })]), params: range },
  { name: '_gte_mqueue_len', label: t('clients.queued'), type: 'number' },
];

const columns = (reload) => [
  { label: t('word.clientid'), className: 'lead', share: 24, value: (row) => html`<${Copyable} text=${row.clientid} href=${link(['clients', row.clientid])} />` },
  { label: t('word.username'), share: 16, value: (row) => (row.username && row.username !== 'undefined' ? html`<${Copyable} text=${row.username} mono=${false} />` : html`<span class="muted">–</span>`) },
  { label: t('clients.state'), value: (row) => html`<${State} row=${row} />` },
  { label: t('word.address'), className: 'nowrap', value: (row) => html`<span class="mono" title="${row.ip_address}:${row.port}">${row.ip_address}</span>` },
  { label: t('clients.protocol'), className: 'nowrap', value: protocol },
  { label: t('clients.subs'), className: 'num', value: (row) => html`<${Num} value=${row.subscriptions_cnt} />` },
  { label: t('clients.queue'), className: 'num', value: (row) => html`<span><${Num} value=${row.mqueue_len} />${row.mqueue_dropped > 0 && html` <span class="danger-text nowrap">−<${Num} value=${row.mqueue_dropped} /></span>`}</span>` },
  { label: t('clients.since'), className: 'since', value: (row) => html`<${Ago} value=${row.connected ? row.connected_at : row.disconnected_at ?? row.connected_at} />` },
  { value: (row) => html`<button class="btn small ghost danger-text" data-kick onClick=${() => kick(row, reload)}>${row.connected ? t('clients.kick') : t('clients.drop')}</button>` },
];

export default function Clients() {
  return html`<${PageHead} title=${t('nav.clients')} note=${t('clients.note')} />
    <${ServerTable} path="clients" label=${t('nav.clients')} filters=${filters()} columns=${columns} rowKey=${(row) => row.clientid} empty=${html`
      <${EmptyState} icon="plug" title=${t('clients.none')}><p>${t('clients.noneHint')}</p><p><a href=${link(['mqtt-client'])}>${t('clients.openTool')}</a></p><//>`} />`;
}
