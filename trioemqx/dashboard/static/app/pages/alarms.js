// What is wrong now, and what was.
import { html } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, useApi } from '../api.js';
import { duration, time } from '../format.js';
import { Tabs } from '../components/tabs.js';
import { Refresh, Table } from '../components/table.js';
import { Ago, EmptyState, Loaded, PageHead } from '../components/states.js';
import { Clip, Copyable } from '../components/copyable.js';
import { confirm } from '../components/dialog.js';
import { attempt } from '../components/toast.js';

const flat = (data) => data.flatMap((node) => node.alarms.map((alarm) => ({ ...alarm, node: node.node })));
/** EMQX tells the duration in microseconds. */
const lasted = (row) => duration(row.duration / 1e6);

const details = (row) => Object.entries(row.details ?? {}).map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ') || '–';

const common = () => [
  { label: t('word.name'), className: 'lead', share: 20, value: (row) => html`<${Copyable} text=${row.name} />` },
  { label: t('alarms.message'), className: 'text', value: (row) => html`<${Clip} text=${said(row.message)} className="lines" />` },
  { label: t('alarms.details'), value: (row) => html`<${Clip} text=${details(row)} className="lines muted mono alarm-details" />` },
  { label: t('alarms.since'), className: 'nowrap', value: (row) => html`<${Ago} value=${row.activate_at} />` },
  { label: t('alarms.lasted'), className: 'nowrap', value: lasted },
];

function Current() {
  const alarms = useApi('alarms/activated', null, { every: 5 });
  const clear = async (row) => {
    if (!await confirm({ title: t('alarms.clearTitle'), text: t('alarms.clearText', { name: row.name }), action: t('alarms.clear'), danger: false })) return;
    if (await attempt(() => api.post('alarms/deactivated', { node: row.node, name: row.name }), t('alarms.cleared'))) alarms.reload();
  };
  return html`<div class="filters"><div class="grow" /><${Refresh} reload=${alarms.reload} /></div>
    <${Loaded} of=${alarms}>${() => html`<${Table} label=${t('alarms.current')} rows=${flat(alarms.data)} rowKey=${(row) => row.name} columns=${[...common(),
      { value: (row) => html`<button class="btn small" onClick=${() => clear(row)}>${t('alarms.clear')}</button>` }]}
      empty=${html`<${EmptyState} icon="check" title=${t('alarms.none')}>${t('alarms.noneHint')}<//>`} />`}<//>`;
}

function Past() {
  const alarms = useApi('alarms/deactivated');
  const clear = async () => {
    if (!await confirm({ title: t('alarms.forgetTitle'), text: t('alarms.forgetText'), action: t('alarms.forget') })) return;
    if (await attempt(() => api.delete('alarms/deactivated'), t('action.deleted'))) alarms.reload();
  };
  return html`<div class="filters"><div class="grow" /><button class="btn" onClick=${clear}>${t('alarms.forget')}</button><${Refresh} reload=${alarms.reload} /></div>
    <${Loaded} of=${alarms}>${() => html`<${Table} label=${t('alarms.past')} rows=${flat(alarms.data)} columns=${[...common(), { label: t('alarms.until'), className: 'nowrap', value: (row) => time(row.deactivate_at) }]}
      empty=${html`<${EmptyState} icon="bell" title=${t('alarms.noPast')} />`} />`}<//>`;
}

export default function Alarms() {
  return html`<${PageHead} title=${t('nav.alarms')} note=${t('alarms.note')} />
    <${Tabs} tabs=${[['current', t('alarms.current'), () => html`<${Current} />`], ['past', t('alarms.past'), () => html`<${Past} />`]]} />`;
}
