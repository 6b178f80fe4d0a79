// The messages that wait for a client, and those it has not acknowledged.
import { html, useMemo, useState } from '../lib.js';
import { t } from '../i18n.js';
import { url } from '../api.js';
import { bytes } from '../format.js';
import { ServerTable } from './table.js';
import { Ago, EmptyState } from './states.js';
import { Copyable } from './copyable.js';
import { Drawer } from './dialog.js';
import { fromBase64, Payload } from './payload.js';

/** A message in a drawer: topic and payload. `row`: {topic, payload (base64), size, truncated}. */
export function MessageDrawer({ row, onClose, children }) {
  const data = useMemo(() => fromBase64(row.payload), [row]);
  return html`<${Drawer} title=${t('word.payload')} onClose=${onClose}><div class="stack">
    <div><div class="muted">${t('word.topic')}</div><${Copyable} text=${row.topic} most=${200} /></div>
    ${children}
    <${Payload} data=${data} truncated=${row.truncated} total=${row.size} />
  </div><//>`;
}

const common = (open) => [
  { label: t('word.topic'), className: 'lead', share: 35, value: (row) => html`<${Copyable} text=${row.topic} />` },
  { label: t('word.qos'), className: 'num', value: (row) => row.qos },
  { label: t('client.from'), share: 18, value: (row) => (row.from_clientid ? html`<${Copyable} text=${row.from_clientid} />` : '–') },
  { label: t('client.queuedAt'), value: (row) => html`<${Ago} value=${row.queued_at} />` },
  { label: t('word.size'), className: 'num', value: (row) => bytes(row.size) },
  { value: (row) => html`<button class="btn small" onClick=${() => open(row)}>${t('action.view')}</button>` },
];

function Messages({ path, extra = [], empty, label }) {
  const [open, setOpen] = useState(null);
  const columns = common(setOpen);
  return html`<${ServerTable} path=${path} label=${label} columns=${[...extra, ...columns]} empty=${empty} />
    ${open && html`<${MessageDrawer} row=${open} onClose=${() => setOpen(null)} />`}`;
}

export const Queue = ({ id }) => html`<${Messages} path=${url`clients/${id}/mqueue`} label=${t('client.queue')} empty=${html`<${EmptyState} title=${t('client.emptyQueue')}>${t('client.emptyQueueHint')}<//>`} />`;

export const Inflight = ({ id }) => html`<${Messages} path=${url`clients/${id}/inflight`} label=${t('client.inflight')} extra=${[
  { label: t('client.packetId'), className: 'num', value: (row) => row.packet_id },
  { label: t('client.state'), value: (row) => row.state },
]} empty=${html`<${EmptyState} icon="send" title=${t('client.emptyInflight')}>${t('client.emptyInflightHint')}<//>`} />`;
