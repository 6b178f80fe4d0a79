// Tables. `Table` shows rows; `ServerTable` asks the API for a page of them, with filters and page in the address.
import { html, useEffect, useRef, useState, remembered } from '../lib.js';
import { t } from '../i18n.js';
import { useApi } from '../api.js';
import { route, setQuery } from '../router.js';
import { short, full } from '../format.js';
import { Icon } from './icons.js';
import { EmptyState, ErrorBox, useBusy } from './states.js';
import { notLoaded } from './needs.js';

const classOf = ({ className = '', label, share }) => `${className} ${label ? '' : 'row-actions'} ${share ? 'cut' : ''}`.trim();
const widthOf = ({ share }) => (share ? { width: `${share}%` } : undefined);

/** `columns`: [{label, value(row), className?, share?}]; a column without a label holds the buttons of a row. One with a `share`, in percent
 *  of the width, takes that whatever stands in it: ids and topics, which are cut to fit. On a phone a row is a card. */
export function Table({ columns, rows, rowKey, empty, loading, label }) {
  if (!rows && loading) return html`<div class="table-box"><div class="pad"><div class="skeleton" aria-busy="true">${[0, 1, 2, 3, 4, 5].map((n) => html`<i class="w${n % 3}" />`)}</div></div></div>`;
  if (!rows?.length) return html`<div class="table-box">${empty ?? html`<${EmptyState} />`}</div>`;
  return html`<div class="table-box" tabindex="0" role="region" aria-label=${label}>
    <table class=${loading ? 'table is-loading' : 'table'}>
      <thead><tr>${columns.map((column) => html`<th scope="col" class=${classOf(column)} style=${widthOf(column)}>${column.label ?? html`<span class="hidden">${t('table.actions')}</span>`}</th>`)}</tr></thead>
      <tbody>${rows.map((row, n) => html`<tr key=${rowKey ? rowKey(row) : n}>${columns.map((column) => html`
        <td class=${classOf(column)} data-label=${column.label}>${column.value(row)}</td>`)}</tr>`)}</tbody>
    </table>
  </div>`;
}

/** One filter: {name, label, type: 'text'|'select'|'number', options: [[value, label]], params}. Text waits until one stops typing. `params(value)`
 *  are the API's, where they are others than {name: value}. */
function Filter({ filter, value, onChange }) {
  const [typed, setTyped] = useState(value ?? '');
  const timer = useRef(null);
  useEffect(() => { setTyped(value ?? ''); }, [value]);
  const type = (event) => {
    const text = event.target.value;
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(text), 300);
  };
  if (filter.type === 'select') {
    return html`<select class="input" aria-label=${filter.label} value=${value ?? ''} onChange=${(event) => onChange(event.target.value)}>
      <option value="">${filter.label}: ${t('table.any')}</option>
      ${filter.options.map(([option, label]) => html`<option value=${option}>${label}</option>`)}
    </select>`;
  }
  return html`<input class="input" type=${filter.type === 'number' ? 'number' : 'search'} aria-label=${filter.label} placeholder=${filter.label} value=${typed} onInput=${type} />`;
}

/** A row of filters over a list; the values are those of the address. */
export function Filters({ filters, query, children }) {
  const set = filters.some((filter) => query[filter.name]);
  const clear = () => setQuery({ ...Object.fromEntries(filters.map((filter) => [filter.name, ''])), _page: '' });
  return html`<div class="filters" role="search">
    ${filters.map((filter) => html`<${Filter} key=${filter.name} filter=${filter} value=${query[filter.name]} onChange=${(value) => setQuery({ [filter.name]: value, _page: '' })} />`)}
    ${set && html`<button class="btn ghost" onClick=${clear}>${t('table.clear')}</button>`}
    <div class="grow" />${children}
  </div>`;
}

/** The pages of a list: `meta` is the API's, count -1 when it does not know. */
export function Pager({ meta, shown }) {
  const page = meta.page ?? 1;
  const known = meta.count >= 0;
  const more = meta.hasnext ?? (known && page * meta.limit < meta.count);
  const first = (page - 1) * meta.limit + 1;
  const move = (to) => setQuery({ _page: to > 1 ? to : '' }, { step: true });
  return html`<div class="pager">
    <span class="muted" title=${known ? full(meta.count) : ''}>${shown ? t(known ? 'table.range' : 'table.rangeOpen', { first: full(first), last: full(first + shown - 1), count: short(meta.count) }) : ''}</span>
    <div class="grow" />
    <button class="btn icon" aria-label=${t('table.previous')} disabled=${page <= 1} onClick=${() => move(page - 1)}><${Icon} name="previous" /></button>
    <span class="muted">${t('table.page', { page: full(page) })}</span>
    <button class="btn icon" aria-label=${t('table.next')} disabled=${!more} onClick=${() => move(page + 1)}><${Icon} name="next" /></button>
  </div>`;
}

/** Ask anew, and a switch that does it each ten seconds; off at first, because an open page should cost nothing. */
export function Refresh({ reload, auto, setAuto }) {
  const [busy, again] = useBusy(() => reload());
  return html`<div class="btn-group">
    <button class="btn icon" aria-label=${t('action.refresh')} title=${t('action.refresh')} aria-busy=${busy} onClick=${again}><${Icon} name="refresh" /></button>
    ${setAuto && html`<button class="btn" aria-pressed=${auto} title=${t('table.autoNote')} onClick=${() => setAuto(!auto)}>${t('table.auto')}</button>`}
  </div>`;
}

/** [seconds, refresh control's props] of the switch, remembered for all lists. */
export function useAutoRefresh() {
  const [auto, setAuto] = useState(remembered.get('auto') === 'yes');
  return [auto ? 10 : 0, { auto, setAuto: (on) => { remembered.set('auto', on ? 'yes' : 'no'); setAuto(on); } }];
}

/** A list of the API at `path`, page by page. `columns` may be a function of `reload`; `fixed` are parameters that are always sent; `needs(reload)`
 *  is shown where what the list is about is not loaded. */
export function ServerTable({ path, columns, needs, filters = [], fixed, rowKey, empty, limit = 50, children, label, rowsOf = (data) => data }) {
  const { query } = route.use();
  const [every, auto] = useAutoRefresh();
  const wanted = Object.assign({}, ...filters.map(({ name, params }) => (params && query[name] ? params(query[name]) : { [name]: query[name] })));
  const asked = useApi(path, { ...wanted, ...fixed, _page: query._page ?? 1, _limit: limit }, { every });
  const rows = asked.data && rowsOf(asked.data);
  if (needs && notLoaded(asked.error)) return needs(asked.reload);
  const filtered = filters.some((filter) => query[filter.name]);
  const shown = typeof columns === 'function' ? columns(asked.reload) : columns;
  return html`<div>
    <${Filters} filters=${filters} query=${query}>${typeof children === 'function' ? children(asked) : children}<${Refresh} reload=${asked.reload} ...${auto} /><//>
    ${asked.error && html`<${ErrorBox} error=${asked.error} retry=${asked.reload} />`}
    ${(rows || !asked.error) && html`
      <${Table} label=${label} columns=${shown} rows=${rows} rowKey=${rowKey} loading=${asked.loading} empty=${filtered ? html`<${EmptyState} icon="search" title=${t('table.nothing')} />` : empty} />`}
    ${asked.meta && rows && html`<${Pager} meta=${asked.meta} shown=${rows.length} />`}
  </div>`;
}
