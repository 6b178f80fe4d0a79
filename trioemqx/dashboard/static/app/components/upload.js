// A plugin as a zip: chosen or dropped, looked at by the broker, and kept only after a second question.
import { html, useRef, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { bytes } from '../format.js';
import { confirm, Dialog } from './dialog.js';
import { ErrorBox, Facts, Loaded, Notice, Skeleton } from './states.js';
import { attempt, toast } from './toast.js';

/** What the broker has found in the archive: hash, content, and what is in the way. */
function Content({ report }) {
  const size = report.files.reduce((sum, file) => sum + file.size, 0);
  return html`<div class="stack">${report.in_the_way.length > 0 && html`<${Notice} kind="danger"><strong>${t('plugins.inTheWay')}</strong>${report.in_the_way.map((line) => html`<div>${said(line)}</div>`)}<//>`}
    <${Facts} rows=${[[t('word.name'), html`<span class="mono">${report.name}</span>`], [t('overview.version'), report.version]]} />
    <p>${report.description}</p>
    <p class="mono" data-hash>sha256:${report.sha256}</p>
    <details data-content><summary>${t('plugins.content', { count: report.files.length, size: bytes(size) })}</summary>
      <ul class="mono">${report.files.map((file) => html`<li>${file.path} <span class="muted">${bytes(file.size)}</span></li>`)}</ul></details>
    <${Notice} kind="warn">${t('plugins.rights')}<//></div>`;
}

function Choice({ max, busy, onFile }) {
  const input = useRef(null);
  const take = (files) => { if (files[0] && !busy) onFile(files[0]); };
  const chosen = (event) => { take([...event.target.files]); event.target.value = ''; };
  return html`<div class="drop" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => { event.preventDefault(); take(event.dataTransfer.files); }}>
    <input type="file" accept=".zip,application/zip" hidden ref=${input} onChange=${chosen} />
    <p class="muted">${t('plugins.uploadNote', { size: bytes(max) })}</p>
    <button type="button" class="btn primary" data-autofocus disabled=${busy} onClick=${() => input.current.click()}>${t('plugins.choose')}</button> <span class="muted">${t('plugins.drop')}</span>
  </div>`;
}

/** The window. `onKept` is called when there is a new plugin. */
function Upload({ onClose, onKept }) {
  const state = useApi('plugins/upload');
  const [found, setFound] = useState({});
  const look = async (file) => {
    setFound({ busy: true });
    try {
      const { data } = await api.post('plugins/upload', file, { params: { check: true, replace: true } });
      setFound({ file, report: data });
    } catch (error) { setFound({ error }); }
  };
  const { file, report } = found;
  const keep = async () => {
    const { name } = report;
    const text = [t('plugins.rights'), report.replaces && t('plugins.replaceText', { name }), report.active ? t('plugins.replaceLive', { name }) : t('plugins.keepText')].filter(Boolean).join(' ');
    if (!await confirm({ title: t('plugins.keepTitle', { name }), text, action: t('plugins.keep') })) return;
    const params = { sha256: report.sha256, ...(report.replaces ? { replace: true } : {}) };
    if (!await attempt(() => api.post('plugins/upload', file, { params }), t('plugins.kept', { name }))) return;
    onKept();
    onClose();
  };
  const ready = report && !report.in_the_way.length;
  return html`<${Dialog} title=${t('plugins.upload')} onClose=${onClose} footer=${ready && html`<button type="button" class="btn" onClick=${onClose}>${t('action.cancel')}</button>
      <button type="button" class="btn danger" data-keep onClick=${keep}>${t('plugins.keep')}</button>`}>
    <${Loaded} of=${state} lines=${2}>${() => (state.data.enabled ? html`<${Choice} max=${state.data.max_size} busy=${found.busy} onFile=${look} />
      ${found.busy && html`<p class="muted">${t('plugins.checking')}</p><${Skeleton} lines=${3} />`}
      ${found.error && html`<${ErrorBox} error=${found.error} />`}
      ${report && html`<${Content} report=${report} />`}`
    : html`<${Notice} kind="warn"><strong>${t('plugins.uploadOff')}</strong><div data-how>${said(state.data.reason)}</div><//>`)}<//>
  <//>`;
}

/** The button that opens it. */
export function UploadButton({ reload }) {
  const [open, setOpen] = useState(false);
  return html`<button class="btn" data-upload onClick=${() => setOpen(true)}>${t('plugins.upload')}</button>
    ${open && html`<${Upload} onClose=${() => setOpen(false)} onKept=${reload} />`}`;
}

/** The button that removes an uploaded plugin, once it is not loaded. */
export function Removal({ row, reload }) {
  const { name } = row;
  const remove = async () => {
    if (!await confirm({ title: t('plugins.removeTitle', { name }), text: t('plugins.removeText'), action: t('plugins.remove') })) return;
    try { await api.delete(url`plugins/${name}/uploaded`); toast.ok(t('plugins.removed', { name })); } catch (error) { toast.error(error); }
    reload();
  };
  if (row.origin !== 'uploaded' || row.active) return null;
  return html`<button class="btn small ghost danger-text" data-remove onClick=${remove}>${t('plugins.remove')}</button>`;
}
