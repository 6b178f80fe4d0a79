// A table of listeners: for their page and for that of a node.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { api, url } from '../api.js';
import { full, short } from '../format.js';
import { Table } from './table.js';
import { Num } from './states.js';
import { confirm } from './dialog.js';
import { attempt } from './toast.js';

/** `rows` of GET listeners; those with an identifier can be restarted. */
export function ListenerTable({ rows, reload }) {
  const restart = async (row) => {
    if (!await confirm({ title: t('listeners.restartTitle'), text: t('listeners.restartText', { count: full(row.current_conns), name: row.identifier }), action: t('listeners.restart') })) return;
    if (await attempt(() => api.put(url`listeners/${row.identifier}/restart`), t('listeners.restarted'))) reload();
  };
  return html`<${Table} label=${t('nav.listeners')} rows=${rows} rowKey=${(row) => row.identifier ?? row.protocol + row.listen_on} columns=${[
    { label: t('listeners.name'), className: 'lead', value: (row) => html`<span class="mono">${row.identifier ?? row.protocol}</span>` },
    { label: t('word.address'), value: (row) => html`<span class="mono">${row.listen_on}</span>` },
    { label: t('listeners.current'), className: 'num', value: (row) => html`<${Num} value=${row.current_conns} />` },
    { label: t('listeners.most'), className: 'num', value: (row) => html`<${Num} value=${row.max_conns} />` },
    { label: t('listeners.acceptors'), className: 'num', value: (row) => html`<${Num} value=${row.acceptors} />` },
    { label: t('listeners.closed'), value: (row) => html`<span class="muted">${[].concat(row.shutdown_count ?? []).map((one) => Object.entries(one).map(([why, count]) => `${why.replaceAll('_', ' ')} ${short(count)}`).join(', ')).join(', ') || '–'}</span>` },
    { value: (row) => (row.identifier ? html`<button class="btn small ghost danger-text" onClick=${() => restart(row)}>${t('listeners.restart')}</button>` : '') },
  ]} />`;
}
