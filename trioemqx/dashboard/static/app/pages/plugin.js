// One plugin or module: its settings as a form, its log, its hooks.
import { html, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link } from '../router.js';
import { full, time } from '../format.js';
import { Readme } from '../components/readme.js';
import { Tabs } from '../components/tabs.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, Card, EmptyState, ErrorBox, Loaded, Notice, PageHead, Skeleton } from '../components/states.js';
import { Form } from '../components/form.js';
import { flatten, fromSchema, nest } from '../components/fields.js';
import { Manage, StateBadge, Switching } from '../components/switching.js';
import { outcome } from '../components/outcome.js';
import { confirm } from '../components/dialog.js';
import { attempt, toast } from '../components/toast.js';

const HIDDEN = '******';

function Settings({ kind, name }) {
  const config = useApi(url`${kind}/${name}/config`);
  const [made, setMade] = useState(0);
  if (config.error?.status === 404) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.noConfig')} /></div>`;
  if (config.error?.code === 111) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.loadFirst')} /></div>`;
  const again = async () => { await config.reload(); setMade((n) => n + 1); };
  const save = async (fields, written) => {
    // Secrets that nobody touched, and values that are as they were, stay where they come from.
    const before = flatten(fields, config.data.values);
    const changed = Object.fromEntries(Object.entries(written).filter(([key, value]) => value !== HIDDEN && !(value === '' && before[key] === undefined) && JSON.stringify(value) !== JSON.stringify(before[key])));
    if (!Object.keys(changed).length) { toast.ok(t('plugin.unchanged')); return; }
    outcome((await api.put(url`${kind}/${name}/config`, { values: nest(changed, config.data.values) })).data);
    await again();
  };
  const forget = async () => {
    if (!await confirm({ title: t('plugin.forgetTitle'), text: t('plugin.forgetText', { name }), action: t('plugin.forget') })) return;
    if (await attempt(() => api.delete(url`${kind}/${name}/config`), t('action.deleted'))) await again();
  };
  return html`<${Loaded} of=${config}>${() => {
    const fields = fromSchema(config.data.schema, config.data.origins);
    if (!fields.length) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.noConfig')} /></div>`;
    const saved = Object.values(config.data.origins ?? {}).includes('saved');
    return html`<${Card} title=${t('plugin.settings')} actions=${saved && html`<button class="btn small" onClick=${forget}>${t('plugin.forget')}</button>`}>
      <${Form} key=${made} fields=${fields} values=${flatten(fields, config.data.values)} submit=${t('action.save')} onSubmit=${(written) => save(fields, written)} /><//>`;
  }}<//>`;
}

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
    ${all.data && !row && html`<div class="table-box"><${EmptyState} icon="puzzle" title=${t('plugin.unknown', { name })} /></div>`}
    ${row?.problem && html`<${Notice} kind="danger"><strong>${t('plugins.problem')}</strong><div>${said(row.problem)}</div><//>`}
    ${row && html`<${Tabs} tabs=${tabs} />`}`;
}
