// One plugin or module: its settings as a form, its log, its hooks.
import { html } from '../lib.js';
import { said, t } from '../i18n.js';
import { url, useApi } from '../api.js';
import { link } from '../router.js';
import { full, time } from '../format.js';
import { Gone } from '../components/gone.js';
import { Readme } from '../components/readme.js';
import { Tabs } from '../components/tabs.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, EmptyState, ErrorBox, Loaded, Notice, PageHead, Skeleton } from '../components/states.js';
import { Settings } from '../components/plugin_settings.js';
import { Manage, StateBadge, Switching } from '../components/switching.js';

const KINDS = { ERROR: 'danger', CRITICAL: 'danger', WARNING: 'warn', INFO: 'info' };

function Log({ kind, name }) {
  const log = useApi(url`${kind}/${name}/log`, null, { every: 5 });
  return html`<div class="filters"><div class="grow" /><${Refresh} reload=${log.reload} /></div><${Loaded} of=${log}>${() => (log.data.length ? html`<div class="card flush"><ol class="log">${log.data.map((line, n) => html`
    <li key=${n}><time class="muted mono">${time(line.time)}</time> <${Badge} kind=${KINDS[line.level?.toUpperCase()] ?? ''}>${line.level}<//> <span class="mono">${line.message}</span></li>`)}</ol></div>`
    : html`<div class="table-box"><${EmptyState} icon="list" title=${t('plugin.noLog')} /></div>`)}<//>`;
}

function Hooks({ name }) {
  const hooks = useApi('hooks');
  return html`<${Loaded} of=${hooks}>${() => html`<${Table} label=${t('plugins.hooks')} rows=${hooks.data.flatMap((hook) => hook.implementations.map((row, n) => ({ ...row, point: hook.point, place: n + 1, of: hook.implementations.length }))).filter((row) => row.plugin === name)} columns=${[
    { label: t('plugins.point'), className: 'lead', value: (row) => html`<span class="mono">${row.point}</span>` },
    { label: t('plugins.function'), value: (row) => html`<span class="mono">${row.function}</span>` },
    { label: t('plugins.place'), className: 'num', value: (row) => `${row.place} / ${row.of}` },
    { label: t('plugins.priority'), className: 'num', value: (row) => row.priority },
    { label: t('plugins.errors'), className: 'num', value: (row) => (row.errors === undefined || row.errors === null ? '–' : full(row.errors)) },
  ]} empty=${html`<${EmptyState} icon="puzzle" title=${t('plugins.noHooks')} />`} />`}<//>`;
}

export default function Plugin({ path: [kind, name] }) {
  const all = useApi(kind);
  const row = all.data?.flatMap((node) => (node[kind] ?? []).map((one) => ({ ...one, node: node.node }))).find((one) => one.name === name);
  const tabs = [['settings', t('plugin.settings'), () => html`<${Settings} key=${name + row?.active} kind=${kind} name=${name} />`],
    ['log', t('plugin.log'), () => html`<${Log} kind=${kind} name=${name} />`], ['hooks', t('plugins.hooks'), () => html`<${Hooks} name=${name} />`]];
  return html`<${PageHead} title=${html`<span class="mono">${name}</span>`} note=${html`<a href=${link([kind])}>${kind === 'plugins' ? t('nav.plugins') : t('nav.modules')}</a>${row && ` · ${said(row.description)}${row.version ? ` · ${row.version}` : ''}`}`}>
      ${row && kind === 'plugins' && html`<${Readme} key=${name + row.sha256} name=${name} />`}
      ${row && html`<${StateBadge} row=${row} /><${Manage} row=${row} small=${false} /><${Switching} kind=${kind} row=${row} node=${row.node} reload=${all.reload} small=${false} />`}<//>
    ${all.error && html`<${ErrorBox} error=${all.error} retry=${all.reload} />`}
    ${!all.data && !all.error && html`<${Skeleton} />`}
    ${all.data && !row && html`<${Gone} icon="puzzle" title=${t('plugin.unknown', { name })} to=${[kind]} label=${kind === 'plugins' ? t('nav.plugins') : t('nav.modules')} />`}
    ${row?.problem && html`<${Notice} kind="danger"><strong>${t('plugins.problem')}</strong><div>${said(row.problem)}</div><//>`}
    ${row && html`<${Tabs} tabs=${tabs} />`}`;
}
