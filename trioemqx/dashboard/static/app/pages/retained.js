// Retained messages: look at them, delete one, delete all that match a filter.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link, route } from '../router.js';
import { bytes, duration, full } from '../format.js';
import { ServerTable } from '../components/table.js';
import { Ago, EmptyState, Loaded, PageHead, Facts } from '../components/states.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog, Drawer } from '../components/dialog.js';
import { fromBase64, Payload } from '../components/payload.js';
import { attempt, toast } from '../components/toast.js';
import { Form } from '../components/form.js';
import { Publish } from '../components/publish.js';
import { NeedsPlugin } from '../components/needs.js';

function Message({ topic, onClose, remove }) {
  const message = useApi(url`retained_messages/${topic}`);
  return html`<${Drawer} title=${t('nav.retained')} onClose=${onClose} footer=${html`<button class="btn danger" onClick=${remove}>${t('action.delete')}</button>`}>
    <${Loaded} of=${message}>${() => html`<div class="stack">
      <div><div class="muted">${t('word.topic')}</div><${Copyable} text=${topic} most=${300} /></div>
      <${Facts} rows=${[[t('word.qos'), message.data.qos], [t('retained.from'), html`<${Copyable} text=${message.data.from_clientid} href=${link(['clients', message.data.from_clientid])} />`],
        [t('retained.at'), html`<${Ago} value=${message.data.publish_at} />`]]} />
      <${Payload} data=${fromBase64(message.data.payload)} total=${message.data.payload_size} truncated=${message.data.truncated} />
    </div>`}<//>
  <//>`;
}

const DAY = 86400;
const PREVIEW = 10; // topics that are named before they are deleted

/** Ask how many a filter matches, say so, and delete them when that is wished. `days`: only those published that long ago. */
async function deleteBy(filter, days, done) {
  const wanted = { topic: filter, older_than: days ? Math.round(days * DAY) : undefined };
  const { data, meta } = await api.get('retained_messages', { ...wanted, count: true, _page: 1, _limit: PREVIEW });
  if (!data.length) { toast.warn(t('retained.nothingMatches', { filter })); return; }
  const shown = html`<ul class="preview mono">${data.map((row) => html`<li key=${row.topic}><${Clip} text=${row.topic} /> <span class="muted"><${Ago} value=${row.publish_at} /></span></li>`)}</ul>
    ${meta.count > data.length && html`<p class="muted">${t('retained.others', { count: full(meta.count - data.length) })}</p>`}`;
  if (!await confirm({ title: t('retained.deleteAllTitle'), text: t('retained.deleteAllText', { count: full(meta.count), filter }), action: t('action.delete'), children: shown })) return;
  const deleted = await api.delete('retained_messages', wanted);
  toast.ok(t('retained.deletedMany', { count: full(deleted.data?.deleted ?? data.length) }));
  done();
}

function DeleteByFilter({ reload }) {
  const [open, setOpen] = useState(false);
  const { query } = route.use();
  const close = () => setOpen(false);
  return html`<button class="btn" onClick=${() => setOpen(true)}>${t('retained.deleteAll')}</button>
    ${open && html`<${Dialog} title=${t('retained.deleteAll')} onClose=${close}>
      <${Form} values=${{ filter: query.topic ?? '' }} submit=${t('retained.count')} onCancel=${close} onSubmit=${({ filter, days }) => deleteBy(filter, days, () => { close(); reload(); })}
        fields=${[{ name: 'filter', label: t('word.filter'), kind: 'string', required: true, help: t('retained.deleteAllNote'), autofocus: true, placeholder: 'home/+/state' },
          { name: 'days', label: t('retained.age'), kind: 'number', unit: t('retained.days'), min: 0, help: t('retained.ageHelp') }]} />
    <//>`}`;
}

const filters = () => [
  { name: 'topic', label: t('retained.filter') },
  { name: 'older', label: t('retained.published'), type: 'select', options: [3600, DAY, 7 * DAY, 30 * DAY, 365 * DAY].map((seconds) => [String(seconds), t('retained.before', { time: duration(seconds) })]), params: (seconds) => ({ older_than: seconds }) },
];

export default function Retained() {
  const [open, setOpen] = useState(null);
  const remove = async (topic, reload) => {
    if (!await confirm({ title: t('retained.deleteTitle'), text: t('retained.deleteText', { topic: shorten(topic, 80) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`retained_messages/${topic}`), t('action.deleted'))) { setOpen(null); reload(); }
  };
  const columns = (reload) => [
    { label: t('word.topic'), className: 'lead', share: 45, value: (row) => html`<${Copyable} text=${row.topic} />` },
    { label: t('word.qos'), className: 'num', value: (row) => row.qos },
    { label: t('word.size'), className: 'num', value: (row) => bytes(row.payload_size) },
    { label: t('retained.from'), share: 18, value: (row) => html`<${Copyable} text=${row.from_clientid} href=${link(['clients', row.from_clientid])} />` },
    { label: t('retained.at'), className: 'nowrap', value: (row) => html`<${Ago} value=${row.publish_at} />` },
    { value: (row) => html`<button class="btn small" data-view onClick=${() => setOpen({ topic: row.topic, reload })}>${t('action.view')}</button>
      <button class="btn small ghost danger-text" data-delete onClick=${() => remove(row.topic, reload)}>${t('action.delete')}</button>` },
  ];
  return html`<${PageHead} title=${t('nav.retained')} note=${t('retained.note')} />
    <${ServerTable} path="retained_messages" needs=${(reload) => html`<${NeedsPlugin} name="emqx_retainer" reload=${reload} />`} label=${t('nav.retained')} columns=${columns} rowKey=${(row) => row.topic} filters=${filters()}
      empty=${html`<${EmptyState} icon="pin" title=${t('retained.none')}>${t('retained.noneHint')}<//>`}>${(asked) => html`<${Publish} done=${asked.reload} /><${DeleteByFilter} reload=${asked.reload} />`}<//>
    ${open && html`<${Message} topic=${open.topic} onClose=${() => setOpen(null)} remove=${() => remove(open.topic, open.reload)} />`}`;
}
