// Every setting: its value, where it comes from, its default; and what was saved here in place of the file.
import { html, useMemo, useState } from '../lib.js';
import { api, url, useApi } from '../api.js';
import { full } from '../format.js';
import { route } from '../router.js';
import { has, language, LANGUAGES, said, setLanguage, t } from '../i18n.js';
import { setTheme, theme, THEMES } from '../theme.js';
import { Tabs } from '../components/tabs.js';
import { Filters, Refresh, Table } from '../components/table.js';
import { Badge, Card, EmptyState, Loaded, Notice, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { outcome } from '../components/outcome.js';

const ORIGINS = ['saved', 'environment', 'file', 'default'];
const KINDS = { saved: 'info', environment: 'warn', file: 'ok', default: '' };
const STEP = 100;
const text = (value) => (value === null || value === undefined ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value));
/** Kinds of value, which a type may name beside a word: `integer | none` is no choice of two words. */
const OPEN = /^(integer|number|size|rate|path|address|list|text|duration|byte|any)\b/;
/** Choices of a type that is written `a | b`. */
const choices = (row) => (!OPEN.test(row.type ?? '') && /^[\w.-]+( \| [\w.-]+)+$/.test(row.type ?? '') ? row.type.split(' | ').map((value) => [value, value]) : undefined);
/** The form's kind of a setting. */
const kindOf = (row) => {
  const value = row.value ?? row.default;
  if (row.secret) return 'password';
  if (Array.isArray(value)) return value.every((one) => typeof one !== 'object') ? 'lines' : 'json';
  if (typeof value === 'boolean' || row.type === 'flag') return 'boolean';
  return row.type === 'integer' ? 'integer' : typeof value === 'object' && value ? 'json' : typeof value === 'number' ? 'any' : 'string';
};

function Edit({ row, onClose, reload }) {
  const options = choices(row);
  const save = async ({ value }) => {
    outcome((await api.put('configs', { [row.key]: value ?? null })).data);
    onClose();
    reload();
  };
  return html`<${Dialog} title=${html`<span class="mono">${row.key}</span>`} onClose=${onClose}>
    ${row.origin === 'environment' && html`<${Notice} kind="warn">${t('settings.environmentWins')}<//>`}
    <p class="muted above">${t('settings.defaultIs', { value: text(row.default) })} ${row.live === false ? t('settings.restart') : t('settings.live')}</p>
    <${Form} values=${{ value: row.value }} submit=${t('action.save')} onCancel=${onClose} onSubmit=${save} fields=${[{ name: 'value', label: t('settings.value'), kind: options ? 'select' : kindOf(row), options, help: said(row.description), unit: typeof row.value === 'number' ? said(row.unit) : '', autofocus: true }]} />
  <//>`;
}

function Keys() {
  const configs = useApi('configs');
  const { query } = route.use();
  const [edited, setEdited] = useState(null);
  const [shown, setShown] = useState(STEP);
  const wanted = (query.q ?? '').toLowerCase();
  const rows = useMemo(() => (configs.data ?? []).filter((row) => (!wanted || `${row.key} ${row.description ?? ''} ${said(row.description)}`.toLowerCase().includes(wanted))
    && (!query.origin || row.origin === query.origin) && (!query.group || row.key.split('.')[0] === query.group)), [configs.data, wanted, query.origin, query.group]);
  const groups = useMemo(() => [...new Set((configs.data ?? []).map((row) => row.key.split('.')[0]))].sort(), [configs.data]);
  const forget = async (row) => {
    if (!await confirm({ title: t('settings.forgetTitle'), text: t('settings.forgetText', { key: row.key, value: text(row.file ?? row.default) }), action: t('settings.forget'), danger: false })) return;
    if (await attempt(() => api.delete(url`configs/${row.key}`), t('action.deleted'))) configs.reload();
  };
  return html`<${Filters} query=${query} filters=${[{ name: 'q', label: t('table.search') }, { name: 'group', label: t('settings.group'), type: 'select', options: groups.map((name) => [name, name]) },
      { name: 'origin', label: t('settings.origin'), type: 'select', options: ORIGINS.map((name) => [name, t(`origin.${name}`)]) }]}><${Refresh} reload=${configs.reload} /><//>
    <${Loaded} of=${configs}>${() => html`<${Table} label=${t('settings.keys')} rows=${rows.slice(0, shown)} rowKey=${(row) => row.key} columns=${[
      { label: t('settings.key'), className: 'lead', share: 44, value: (row) => html`<div class="setting"><${Copyable} text=${row.key} /><div class="muted">${said(row.description)}</div></div>` },
      { label: t('settings.value'), value: (row) => html`<div><span class="mono setting-value">${text(row.value)}</span> ${typeof row.value === 'number' && row.unit && html`<span class="muted">${said(row.unit)}</span>`}</div>` },
      { label: t('settings.default'), value: (row) => html`<span class="mono muted setting-value">${text(row.default)}</span>` },
      { label: t('settings.origin'), value: (row) => html`<div><span title=${row.where}><${Badge} kind=${KINDS[row.origin]}>${has(`origin.${row.origin}`) ? t(`origin.${row.origin}`) : row.origin}<//></span>${row.pending && html` <${Badge} kind="warn">${t('settings.pending')}<//>`}</div>` },
      { value: (row) => row.fixed ? html`<span class="muted" title=${t('settings.fixedWhy')}>${t('settings.fixed')}</span>` : html`<button class="btn small" onClick=${() => setEdited(row)}>${t('action.edit')}</button>${row.origin === 'saved' && html`<button class="btn small ghost" onClick=${() => forget(row)}>${t('settings.forget')}</button>`}` },
    ]} empty=${html`<${EmptyState} icon="search" title=${t('table.nothing')} />`} />
    ${rows.length > shown && html`<p class="more"><button class="btn" onClick=${() => setShown(shown + STEP)}>${t('settings.more', { count: full(rows.length - shown) })}</button></p>`}`}<//>
    ${edited && html`<${Edit} row=${edited} onClose=${() => setEdited(null)} reload=${configs.reload} />`}`;
}

function Look() {
  const code = language.use();
  const name = theme.use();
  return html`<${Card} title=${t('settings.look')}><div class="stack">
    <div><h3>${t('settings.theme')}</h3><div class="btn-group" role="group" aria-label=${t('settings.theme')}>${THEMES.map((one) => html`<button class="btn" aria-pressed=${name === one} onClick=${() => setTheme(one)}>${t(`theme.${one}`)}</button>`)}</div></div>
    <div><h3>${t('settings.language')}</h3><div class="btn-group" role="group" aria-label=${t('settings.language')}>${LANGUAGES.map(([one, label]) => html`<button class="btn" lang=${one} aria-pressed=${code === one} onClick=${() => setLanguage(one)}>${label}</button>`)}</div></div>
    <p class="muted">${t('settings.lookNote')}</p>
  </div><//>`;
}

export default function Settings() {
  return html`<${PageHead} title=${t('nav.settings')} note=${t('settings.note')} />
    <${Tabs} tabs=${[['keys', t('settings.keys'), () => html`<${Keys} />`], ['look', t('settings.look'), () => html`<${Look} />`]]} />`;
}
