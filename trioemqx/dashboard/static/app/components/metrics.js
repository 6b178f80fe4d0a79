// EMQX's counters and figures as tables: for the overview and the page of a node.
import { html } from '../lib.js';
import { has, t } from '../i18n.js';
import { Card, Num } from './states.js';

const GROUPS = ['client', 'session', 'delivery', 'messages', 'packets', 'bytes'];

/** `stats`: {"topics.count": n, "topics.max": n, …} as pairs of now and highest. */
export function StatsTable({ stats }) {
  const names = Object.keys(stats).filter((key) => key.endsWith('.count')).map((key) => key.slice(0, -6)).filter((name) => has(`stat.${name}`));
  return html`<div class="stat-grid">${names.map((name) => html`<div key=${name}>
    <span class="muted">${t(`stat.${name}`)}</span><b><${Num} value=${stats[`${name}.count`]} /></b><small class="muted">${t('word.max')} <${Num} value=${stats[`${name}.max`]} /></small>
  </div>`)}</div>`;
}

/** A name in words that may stand on two lines: broken behind a dot or before an underscore, not within a word. */
const Breakable = ({ text }) => text.split(/(?<=\.)|(?=_)/).map((part) => html`${part}<wbr />`);

/** `metrics`: {"packets.connect.received": n, …} in a box for each first word; `all` shows zeros as well. */
export function MetricTables({ metrics, all }) {
  const groups = new Map([...GROUPS, 'other'].map((name) => [name, []]));
  for (const [key, value] of Object.entries(metrics)) {
    if (!all && !value) continue;
    const first = key.split('.', 1)[0];
    (groups.get(first) ?? groups.get('other')).push([key, value]);
  }
  return html`<div class="metric-grid">${[...groups].filter(([, rows]) => rows.length).map(([name, rows]) => html`
    <${Card} key=${name} title=${t(`metrics.${name}`)}><dl class="metric-list">${rows.map(([key, value]) => html`
      <div key=${key}><dt class="mono"><${Breakable} text=${key} /></dt><dd><${Num} value=${value} /></dd></div>`)}</dl><//>`)}</div>`;
}
