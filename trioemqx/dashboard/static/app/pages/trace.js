// Log traces: everything that happens to one client, topic or address, written to a file for a while.
import { html, useEffect, useRef, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { bytes, time } from '../format.js';
import { setQuery } from '../router.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, EmptyState, ErrorBox, Loaded, PageHead } from '../components/states.js';
import { Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog, Drawer } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';
import { save } from '../components/payload.js';
import { NeedsModule, notLoaded } from '../components/needs.js';

const KINDS = { clientid: 'word.clientid', topic: 'word.filter', ip_address: 'clients.ip' };
const CHUNK = 50000;
const MOST = 400000; // characters of a log that are kept on the page

function Log({ name, onClose }) {
  const [log, setLog] = useState({ text: '', position: 0, more: true });
  const [error, setError] = useState(null);
  const end = useRef(null);
  const next = async () => {
    try {
      const { data } = await api.get(url`trace/${name}/log`, { position: log.position, bytes: CHUNK });
      const text = data.items ?? '';
      setError(null);
      setLog({ text: `${log.text}${text}${text && !text.endsWith('\n') ? '\n' : ''}`.slice(-MOST), position: data.meta.position, more: data.meta.position > log.position && text.length > 0 });
    } catch (failure) { setError(failure); }
  };
  useEffect(() => { next(); }, []);
  return html`<${Drawer} title=${name} onClose=${onClose} footer=${html`<button class="btn" onClick=${next}>${t('trace.more')}</button>`}>
    ${error && html`<${ErrorBox} error=${error} retry=${next} />`}
    ${log.text ? html`<pre class="block trace-log" tabindex="0" ref=${end}>${log.text}</pre>` : !error && html`<${EmptyState} icon="search" title=${t('trace.empty')} />`}
  <//>`;
}

/** RFC 3339 of a field for day and time. */
const rfc = (text) => (text ? new Date(text).toISOString() : undefined);

async function download(name) {
  const answer = await fetch(url`api/v4/trace/${name}/download`, { credentials: 'same-origin' });
  if (!answer.ok) { toast.error(new Error(t('error.http', { status: answer.status }))); return; }
  save(await answer.arrayBuffer(), `${name}.zip`, 'application/zip');
}

export default function Trace({ query }) {
  const list = useApi('trace', null, { every: 5 });
  const [adding, setAdding] = useState(false);
  const fields = (texts) => [
    { name: 'name', label: t('word.name'), kind: 'string', required: true, help: t('trace.nameHelp'), autofocus: true },
    { name: 'type', label: t('trace.what'), kind: 'select', options: Object.entries(KINDS).map(([value, label]) => [value, t(label)]), default: 'clientid', half: true },
    { name: texts.type ?? 'clientid', label: t(KINDS[texts.type] ?? KINDS.clientid), kind: 'string', required: true, half: true },
    { name: 'start_at', label: t('trace.from'), kind: 'datetime', help: t('trace.fromHelp'), half: true },
    { name: 'end_at', label: t('trace.until'), kind: 'datetime', help: t('trace.untilHelp'), half: true },
  ];
  const create = async ({ start_at: from, end_at: until, ...rest }) => {
    await api.post('trace', { ...rest, start_at: rfc(from), end_at: rfc(until) });
    setAdding(false);
    list.reload();
  };
  const stop = (row) => attempt(() => api.put(url`trace/${row.name}/stop`), t('trace.stopped')).then(list.reload);
  const remove = async (row) => {
    if (!await confirm({ title: t('trace.deleteTitle'), text: t('trace.deleteText', { name: shorten(row.name, 60) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`trace/${row.name}`), t('action.deleted'))) list.reload();
  };
  if (notLoaded(list.error)) return html`<${PageHead} title=${t('nav.trace')} note=${t('trace.note')} /><${NeedsModule} name="emqx_mod_trace" reload=${list.reload} />`;
  return html`<${PageHead} title=${t('nav.trace')} note=${t('trace.note')}><button class="btn primary" onClick=${() => setAdding(true)}>${t('trace.create')}</button><${Refresh} reload=${list.reload} /><//>
    <${Loaded} of=${list}>${() => html`<${Table} label=${t('nav.trace')} rows=${list.data} rowKey=${(row) => row.name} columns=${[
      { label: t('word.name'), className: 'lead', share: 18, value: (row) => html`<${Copyable} text=${row.name} />` },
      { label: t('trace.what'), share: 22, value: (row) => html`<span class="row"><span class="muted">${t(KINDS[row.type] ?? KINDS.clientid)}</span> <${Copyable} text=${row[row.type]} /></span>` },
      { label: t('word.status'), value: (row) => html`<${Badge} kind=${row.status === 'running' ? 'ok' : ''}>${row.status === 'running' ? t('word.running') : row.status === 'waiting' ? t('trace.waiting') : t('word.stopped')}<//>` },
      { label: `${t('trace.from')} – ${t('trace.until')}`, className: 'nowrap', value: (row) => html`<span>${time(row.start_at)} –<br />${time(row.end_at)}</span>` },
      { label: t('word.size'), className: 'num', value: (row) => bytes(Object.values(row.log_size ?? {}).reduce((sum, one) => sum + one, 0)) },
      { value: (row) => html`<button class="btn small" onClick=${() => setQuery({ log: row.name })}>${t('action.view')}</button>
        <button class="btn small ghost" onClick=${() => download(row.name)}>${t('action.download')}</button>
        ${row.status === 'running' && html`<button class="btn small ghost" onClick=${() => stop(row)}>${t('action.stop')}</button>`}
        <button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>` },
    ]} empty=${html`<${EmptyState} icon="search" title=${t('trace.none')}>${t('trace.noneHint')}<//>`} />`}<//>
    ${adding && html`<${Dialog} title=${t('trace.create')} onClose=${() => setAdding(false)}><${Form} fields=${fields} submit=${t('action.start')} onCancel=${() => setAdding(false)} onSubmit=${create} /><//>`}
    ${query.log && html`<${Log} key=${query.log} name=${query.log} onClose=${() => setQuery({ log: '' })} />`}`;
}
