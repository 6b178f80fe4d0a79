// The rules with their figures.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link, route } from '../router.js';
import { short } from '../format.js';
import { Filters, Refresh, Table, useAutoRefresh } from '../components/table.js';
import { EmptyState, Loaded, Num, PageHead } from '../components/states.js';
import { NeedsPlugin, notLoaded } from '../components/needs.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm } from '../components/dialog.js';
import { attempt } from '../components/toast.js';

/** Sum of a figure over the nodes. */
const sum = (row, name) => row.metrics.reduce((total, one) => total + (one[name] ?? 0), 0);

export default function Rules() {
  const [every, auto] = useAutoRefresh();
  const rules = useApi('rules', null, { every });
  const { query } = route.use();
  const wanted = (query.q ?? '').toLowerCase();
  const enable = async (row) => { await attempt(() => api.put(url`rules/${row.id}`, { enabled: !row.enabled }), row.enabled ? t('rules.disabled') : t('rules.enabled')); rules.reload(); };
  const remove = async (row) => {
    if (!await confirm({ title: t('rules.deleteTitle'), text: t('rules.deleteText', { id: shorten(row.id, 60) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`rules/${row.id}`), t('action.deleted'))) rules.reload();
  };
  if (notLoaded(rules.error)) return html`<${PageHead} title=${t('nav.rules')} note=${t('rules.note')} /><${NeedsPlugin} name="emqx_rule_engine" reload=${rules.reload} />`;
  return html`<${PageHead} title=${t('nav.rules')} note=${t('rules.note')}><a class="btn primary" href=${link(['rules', 'new'])}>${t('rules.create')}</a><//>
    <${Filters} query=${query} filters=${[{ name: 'q', label: t('table.search') }]}><${Refresh} reload=${rules.reload} ...${auto} /><//>
    <${Loaded} of=${rules}>${() => html`<${Table} label=${t('nav.rules')} rows=${rules.data.filter((row) => `${row.id} ${row.description} ${row.rawsql}`.toLowerCase().includes(wanted))} rowKey=${(row) => row.id} columns=${[
      { label: t('rules.rule'), className: 'lead', share: 28, value: (row) => html`<div class="setting"><${Copyable} text=${row.id} href=${link(['rules', row.id])} /><${Clip} text=${row.description} /></div>` },
      { label: 'SQL', share: 28, value: (row) => html`<${Clip} text=${row.rawsql.replace(/\s+/g, ' ')} className="lines muted mono" />` },
      { label: t('rules.matched'), className: 'num', value: (row) => html`<${Num} value=${sum(row, 'matched')} />` },
      { label: t('rules.passed'), className: 'num', value: (row) => html`<${Num} value=${sum(row, 'passed')} />` },
      { label: t('rules.exception'), className: 'num', value: (row) => html`<span class=${sum(row, 'exception') ? 'danger-text' : ''}><${Num} value=${sum(row, 'exception')} /></span>` },
      { label: t('rules.speed'), className: 'num nowrap', value: (row) => `${short(sum(row, 'speed'))}/s` },
      { label: t('rules.on'), value: (row) => html`<input type="checkbox" class="switch" aria-label=${t('rules.on')} checked=${row.enabled} onChange=${() => enable(row)} />` },
      { value: (row) => html`<a class="btn small" href=${link(['rules', row.id])}>${t('action.edit')}</a>
        <button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>` },
    ]} empty=${html`<${EmptyState} icon="branch" title=${t('rules.none')}><p>${t('rules.noneHint')}</p><p><a href=${link(['rules', 'new'])}>${t('rules.create')}</a></p><//>`} />`}<//>`;
}
