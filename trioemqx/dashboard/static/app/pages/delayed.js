// Delayed messages that wait for their time.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link } from '../router.js';
import { bytes } from '../format.js';
import { ServerTable } from '../components/table.js';
import { Ago, EmptyState, Facts, Loaded, PageHead } from '../components/states.js';
import { Copyable, shorten } from '../components/copyable.js';
import { confirm, Drawer } from '../components/dialog.js';
import { fromBase64, Payload } from '../components/payload.js';
import { attempt } from '../components/toast.js';
import { NeedsModule } from '../components/needs.js';

const due = (row) => row.due_at ?? row.expected_at ?? row.publish_at;

function Message({ id, onClose }) {
  const message = useApi(url`delayed/${id}`);
  return html`<${Drawer} title=${t('nav.delayed')} onClose=${onClose}><${Loaded} of=${message}>${() => html`<div class="stack">
    <div><div class="muted">${t('word.topic')}</div><${Copyable} text=${message.data.topic} most=${300} /></div>
    <${Facts} rows=${[[t('word.qos'), message.data.qos], [t('delayed.due'), html`<${Ago} value=${due(message.data)} />`], message.data.from_clientid && [t('client.from'), html`<${Copyable} text=${message.data.from_clientid} />`]]} />
    <${Payload} data=${fromBase64(message.data.payload)} total=${message.data.size ?? message.data.payload_size} truncated=${message.data.truncated} />
  </div>`}<//><//>`;
}

export default function Delayed() {
  const [open, setOpen] = useState(null);
  const remove = async (row, reload) => {
    if (!await confirm({ title: t('delayed.deleteTitle'), text: t('delayed.deleteText', { topic: shorten(row.topic, 80) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`delayed/${row.id}`), t('action.deleted'))) reload();
  };
  const columns = (reload) => [
    { label: t('word.topic'), className: 'lead', share: 45, value: (row) => html`<${Copyable} text=${row.topic} />` },
    { label: t('delayed.due'), className: 'nowrap', value: (row) => html`<${Ago} value=${due(row)} />` },
    { label: t('word.qos'), className: 'num', value: (row) => row.qos },
    { label: t('client.from'), share: 18, value: (row) => (row.from_clientid ? html`<${Copyable} text=${row.from_clientid} href=${link(['clients', row.from_clientid])} />` : '–') },
    { label: t('word.size'), className: 'num', value: (row) => bytes(row.size ?? row.payload_size) },
    { value: (row) => html`<button class="btn small" onClick=${() => setOpen(row.id)}>${t('action.view')}</button>
      <button class="btn small ghost danger-text" onClick=${() => remove(row, reload)}>${t('action.delete')}</button>` },
  ];
  return html`<${PageHead} title=${t('nav.delayed')} note=${t('delayed.note')} />
    <${ServerTable} path="delayed" needs=${(reload) => html`<${NeedsModule} name="emqx_mod_delayed" reload=${reload} />`} label=${t('nav.delayed')} columns=${columns} rowKey=${(row) => row.id} empty=${html`<${EmptyState} icon="clock" title=${t('delayed.none')}>${t('delayed.noneHint')}<//>`} />
    ${open && html`<${Message} id=${open} onClose=${() => setOpen(null)} />`}`;
}
