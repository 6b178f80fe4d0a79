// Plugins: load, unload, reload; what hooks they have and in which order.
import { html, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, useApi } from '../api.js';
import { link, route } from '../router.js';
import { full } from '../format.js';
import { Tabs } from '../components/tabs.js';
import { Filters, Refresh, Table } from '../components/table.js';
import { Badge, Card, EmptyState, Loaded, PageHead } from '../components/states.js';
import { Manage, StateBadge, Switching } from '../components/switching.js';
import { Removal, UploadButton } from '../components/upload.js';
import { toast } from '../components/toast.js';

const columns = (reload) => [
  { label: t('word.name'), className: 'lead nowrap', value: (row) => html`<a class="mono" href=${link(['plugins', row.name])}>${row.name}</a>` },
  { label: t('word.description'), className: 'text', value: (row) => html`${said(row.description)}${row.origin === 'uploaded' && html` <span title=${`sha256:${row.sha256}`}><${Badge} kind="info">${t('plugins.uploaded')}<//></span>`}${row.problem && html`<div class="danger-text">${said(row.problem)}</div>`}` },
  { label: t('word.type'), value: (row) => html`<${Badge}>${t(`pluginType.${row.type}`)}<//>` },
  { label: t('overview.version'), value: (row) => row.version },
  { label: t('word.status'), value: (row) => html`<${StateBadge} row=${row} />` },
  { value: (row) => html`<${Manage} row=${row} /><${Switching} kind="plugins" row=${row} node=${row.node} reload=${reload} /><${Removal} row=${row} reload=${reload} />` },
];

function List() {
  const plugins = useApi('plugins');
  const { query } = route.use();
  const wanted = (row) => !query.name || `${row.name} ${row.description} ${said(row.description)}`.toLowerCase().includes(query.name.toLowerCase());
  return html`<${Filters} query=${query} filters=${[{ name: 'name', label: t('table.search') }]}><${UploadButton} reload=${plugins.reload} /><${Refresh} reload=${plugins.reload} /><//>
    <${Loaded} of=${plugins}>${() => html`<${Table} label=${t('nav.plugins')} columns=${columns(plugins.reload)} rowKey=${(row) => row.node + row.name}
      rows=${plugins.data.flatMap((node) => node.plugins.map((row) => ({ ...row, node: node.node }))).filter(wanted)} empty=${html`<${EmptyState} icon="search" title=${t('table.nothing')} />`} />`}<//>`;
}

const SECONDS = 3; // that calls are measured for: without that, nobody counts them

function Hooks() {
  const hooks = useApi('hooks');
  const [measured, setMeasured] = useState(null);
  const [busy, setBusy] = useState(false);
  const measure = async () => {
    setBusy(true);
    try { setMeasured((await api.get('hooks', { _measure: SECONDS })).data); } catch (error) { toast.error(error); }
    setBusy(false);
  };
  const points = (measured ?? hooks.data ?? []).filter((hook) => hook.implementations.length);
  const cost = measured ? [
    { label: t('plugins.calls'), className: 'num', value: (row) => full(row.calls) },
    { label: t('plugins.cost'), className: 'num', value: (row) => (row.microseconds === null ? '–' : `${full(row.microseconds)} µs`) },
  ] : [];
  return html`<div class="filters"><span class="muted">${t('plugins.hooksNote')}</span><div class="grow" />
      <button class="btn" data-measure disabled=${busy} onClick=${measure}>${busy ? t('plugins.measuring', { seconds: SECONDS }) : t('plugins.measure')}</button><${Refresh} reload=${() => { setMeasured(null); hooks.reload(); }} /></div>
    <${Loaded} of=${hooks}>${() => html`<div class="stack">
    ${points.map((hook) => html`<${Card} key=${hook.point} title=${html`<span class="mono">${hook.point}</span>`} flush>
      <${Table} label=${hook.point} rows=${hook.implementations.map((row, n) => ({ ...row, n }))} columns=${[
        { label: '#', className: 'num narrow', value: (row) => row.n + 1 },
        { label: t('plugins.plugin'), className: 'lead', value: (row) => html`<span class="mono">${row.plugin}</span>` },
        { label: t('plugins.function'), value: (row) => html`<span class="mono">${row.function}</span>` },
        { label: t('plugins.priority'), className: 'num', value: (row) => row.priority },
        { label: t('plugins.errors'), className: 'num', value: (row) => html`<span class=${row.errors ? 'danger-text' : ''}>${row.errors === undefined || row.errors === null ? '–' : full(row.errors)}</span>` },
        ...cost,
      ]} /><//>`)}
    ${!points.length && html`<div class="table-box"><${EmptyState} icon="puzzle" title=${t('plugins.noHooks')} /></div>`}</div>`}<//>`;
}

export default function Plugins() {
  return html`<${PageHead} title=${t('nav.plugins')} note=${t('plugins.note')} />
    <${Tabs} tabs=${[['list', t('nav.plugins'), () => html`<${List} />`], ['hooks', t('plugins.hooks'), () => html`<${Hooks} />`]]} />`;
}
