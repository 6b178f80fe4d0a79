// Exports of what the broker was told at run time: make one, download, upload, import.
import { html, useRef } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { bytes, time } from '../format.js';
import { Refresh, Table } from '../components/table.js';
import { EmptyState, Loaded, Notice, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { confirm } from '../components/dialog.js';
import { attempt, toast } from '../components/toast.js';
import { save } from '../components/payload.js';

async function download(name) {
  const { file } = await api.get(url`data/file/${name}`); // EMQX answers without code and data
  save(file, name, 'application/json');
}

export default function Backup() {
  const files = useApi('data/export');
  const chosen = useRef(null);
  const make = async () => { if (await attempt(() => api.post('data/export'), t('backup.made'))) files.reload(); };
  const upload = async (event) => {
    const [file] = event.target.files;
    event.target.value = '';
    if (!file) return;
    const text = await file.text();
    try { JSON.parse(text); } catch (error) { toast.error(new Error(t('form.json', { error: error.message }))); return; }
    if (await attempt(() => api.post('data/file', { filename: file.name, file: text }), t('backup.uploaded', { name: file.name }))) files.reload();
  };
  const restore = async (row) => {
    if (!await confirm({ title: t('backup.importTitle'), text: t('backup.importText', { name: row.filename }), action: t('backup.import') })) return;
    await attempt(() => api.post('data/import', { filename: row.filename, node: row.node }), t('backup.imported'));
  };
  const remove = async (row) => {
    if (!await confirm({ title: t('backup.deleteTitle'), text: t('backup.deleteText', { name: row.filename }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`data/file/${row.filename}`), t('action.deleted'))) files.reload();
  };
  return html`<${PageHead} title=${t('nav.backup')} note=${t('backup.note')}>
      <input type="file" accept=".json,application/json" hidden ref=${chosen} onChange=${upload} />
      <button class="btn" onClick=${() => chosen.current.click()}>${t('action.upload')}</button><button class="btn primary" onClick=${make}>${t('backup.make')}</button><${Refresh} reload=${files.reload} /><//>
    <${Notice}>${t('backup.secrets')}<//>
    <${Loaded} of=${files}>${() => html`<${Table} label=${t('nav.backup')} rows=${files.data} rowKey=${(row) => row.node + row.filename} columns=${[
      { label: t('backup.file'), className: 'lead', share: 50, value: (row) => html`<${Copyable} text=${row.filename} />` },
      { label: t('word.created'), className: 'nowrap', value: (row) => time(row.created_at) },
      { label: t('word.size'), className: 'num', value: (row) => bytes(row.size) },
      { label: t('word.node'), value: (row) => row.node },
      { value: (row) => html`<button class="btn small" onClick=${() => attempt(() => download(row.filename))}>${t('action.download')}</button>
        <button class="btn small ghost" onClick=${() => restore(row)}>${t('backup.import')}</button>
        <button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>` },
    ]} empty=${html`<${EmptyState} icon="archive" title=${t('backup.none')}>${t('backup.noneHint')}<//>`} />`}<//>`;
}
