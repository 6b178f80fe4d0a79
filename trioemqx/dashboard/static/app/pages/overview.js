// The first page: how the broker is, now and over the last two hours.
import { html, useState } from '../lib.js';
import { has, t } from '../i18n.js';
import { useApi } from '../api.js';
import { columns, feed } from '../feed.js';
import { link } from '../router.js';
import { bytes, milliseconds, percent, short, uptime } from '../format.js';
import { Chart, Spark } from '../components/chart.js';
import { Badge, Card, ErrorBox, Facts, Loaded, Num, PageHead, Skeleton } from '../components/states.js';
import { MetricTables, StatsTable } from '../components/metrics.js';

const RANGES = [[300, 'overview.five'], [1800, 'overview.half'], [7200, 'overview.twoHours']];

/** The columns for the last `seconds`: of seconds when there are, else thinned. */
function windowOf(seconds) {
  const all = seconds <= 300 ? columns.recent : columns.history;
  if (!all.t.length) return all;
  const from = all.t.findIndex((at) => at >= all.t[all.t.length - 1] - seconds);
  return from <= 0 ? all : Object.fromEntries(Object.entries(all).map(([name, values]) => [name, Array.isArray(values) ? values.slice(from) : values]));
}

/** The reasons of which something was dropped in the time shown, the most frequent first; six fit into a chart. */
function reasons(data) {
  const total = (name) => data[name].reduce((sum, value) => sum + (value ?? 0), 0);
  return Object.keys(data).filter((name) => name.startsWith('dropped.')).map((name) => [total(name), name]).filter(([sum]) => sum > 0)
    .sort((a, b) => b[0] - a[0]).slice(0, 6).map(([, name]) => ({ name, label: has(`drop.${name.slice(8)}`) ? t(`drop.${name.slice(8)}`) : name.slice(8).replaceAll('_', ' ') }));
}

const Figure = ({ label, name, last, unit, href }) => html`<a class="figure card" href=${href} data-figure=${name}>
  <span class="muted">${label}</span>
  <strong><${Num} value=${last?.[name]} /> ${unit && html`<small>${unit}</small>`}</strong>
  <${Spark} values=${columns.recent[name]} />
</a>`;

function Charts() {
  const [range, setRange] = useState(300);
  feed.use();
  const data = windowOf(range);
  const version = data.t[data.t.length - 1];
  const dropped = reasons(data);
  const chart = (title, series, format, whole) => html`<${Card} title=${title}><${Chart} label=${title} data=${data} version=${version} series=${series} format=${format} whole=${whole} /><//>`;
  return html`
    <div class="row section-head"><h2 class="grow">${t('overview.charts')}</h2><div class="btn-group" role="group" aria-label=${t('overview.range')}>${RANGES.map(([seconds, label]) => html`
      <button class="btn small" aria-pressed=${range === seconds} onClick=${() => setRange(seconds)}>${t(label)}</button>`)}</div></div>
    <div class="chart-grid" data-chart-end=${version}>
      ${chart(t('overview.rates'), [{ name: 'received', label: t('overview.in') }, { name: 'sent', label: t('overview.out') }], short)}
      ${chart(t('overview.bytes'), [{ name: 'bytes_in', label: t('overview.in') }, { name: 'bytes_out', label: t('overview.out') }], bytes)}
      ${chart(t('overview.clients'), [{ name: 'connections', label: t('overview.connections') }, { name: 'sessions', label: t('overview.sessions') }], short, true)}
      ${chart(t('overview.subscriptions'), [{ name: 'subscriptions', label: t('overview.subscriptions') }, { name: 'topics', label: t('overview.topics') }, { name: 'retained', label: t('overview.retained') }], short, true)}
      ${dropped.length ? chart(t('overview.dropped'), dropped, short) : html`<${Card} title=${t('overview.dropped')}><p class="muted chart-none">${t('overview.noneDropped')}</p><//>`}
      ${chart(t('overview.cpu'), [{ name: 'cpu', label: 'CPU' }], percent)}
      ${chart(t('overview.memory'), [{ name: 'rss', label: 'RSS' }], bytes)}
      ${chart(t('overview.lag'), [{ name: 'lag', label: t('overview.lag') }], milliseconds)}
    </div>`;
}

export default function Overview() {
  const { last } = feed.use();
  const brokers = useApi('brokers', null, { every: 10 });
  const nodes = useApi('nodes', null, { every: 10 });
  const stats = useApi('stats', null, { every: 10 });
  const metrics = useApi('metrics', null, { every: 10 });
  const broker = brokers.data?.[0];
  const node = nodes.data?.[0];
  return html`<div class="stack">
    <${PageHead} title=${t('nav.overview')} note=${broker ? html`${broker.node} · ${broker.sysdescr} ${broker.version}` : ''}>
      ${broker && html`<${Badge} kind=${broker.node_status === 'Running' ? 'ok' : 'danger'}>${broker.node_status === 'Running' ? t('word.running') : broker.node_status}<//>`}
    <//>
    <div class="figures">
      <${Figure} label=${t('overview.received')} name="received" last=${last} unit=${t('overview.perSecond')} href=${link(['topic-metrics'])} />
      <${Figure} label=${t('overview.sent')} name="sent" last=${last} unit=${t('overview.perSecond')} href=${link(['topic-metrics'])} />
      <${Figure} label=${t('overview.connections')} name="connections" last=${last} href=${link(['clients'])} />
      <${Figure} label=${t('overview.subscriptions')} name="subscriptions" last=${last} href=${link(['subscriptions'])} />
    </div>
    <${Charts} />
    <${Card} title=${node ? html`<a href=${link(['nodes', node.node])}>${node.node}</a>` : t('word.node')}>
      ${node && broker ? html`<${Facts} rows=${[
        [t('overview.uptime'), uptime(broker.uptime)], [t('overview.version'), broker.version], [t('overview.python'), broker.otp_release],
        [t('overview.load'), `${node.load1} / ${node.load5} / ${node.load15}`], [t('overview.memory'), `${node.memory_used} / ${node.memory_total}`],
        [t('overview.fds'), html`<${Num} value=${node.max_fds} />`], [t('overview.time'), broker.datetime],
      ]} />` : [brokers, nodes].filter((one) => one.error).slice(0, 1).map((one) => html`<${ErrorBox} error=${one.error} retry=${() => Promise.all([brokers.reload(), nodes.reload()])} />`)}
      ${!(node && broker) && !brokers.error && !nodes.error && html`<${Skeleton} lines=${2} />`}
    <//>
    <${Card} title=${t('overview.stats')} flush><${Loaded} of=${stats}>${() => html`<${StatsTable} stats=${stats.data[0].stats} />`}<//><//>
    <div><div class="row section-head"><h2>${t('overview.metrics')}</h2><span class="muted">${t('overview.metricsNote')}</span></div>
      <${Loaded} of=${metrics}>${() => html`<${MetricTables} metrics=${metrics.data[0].metrics} />`}<//></div>
  </div>`;
}
