// One node: what it is, its listeners, all its counters.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { url, useApi } from '../api.js';
import { link } from '../router.js';
import { bytes, uptime } from '../format.js';
import { Refresh } from '../components/table.js';
import { Copyable } from '../components/copyable.js';
import { Gone } from '../components/gone.js';
import { notFound } from '../components/needs.js';
import { Badge, Card, Facts, Loaded, Num, PageHead } from '../components/states.js';
import { MetricTables, StatsTable } from '../components/metrics.js';
import { ListenerTable } from '../components/listeners.js';

export default function Node({ path: [, name] }) {
  const node = useApi(url`nodes/${name}`, null, { every: 10 });
  const broker = useApi(url`brokers/${name}`);
  const stats = useApi(url`nodes/${name}/stats`, null, { every: 10 });
  const metrics = useApi(url`nodes/${name}/metrics`, null, { every: 10 });
  const listeners = useApi(url`nodes/${name}/listeners`);
  const reload = () => { for (const one of [node, broker, stats, metrics, listeners]) one.reload(); };
  if (notFound(node.error)) return html`<${PageHead} title=${html`<${Copyable} text=${name} most=${60} />`} note=${html`<a href=${link(['nodes'])}>${t('nav.nodes')}</a>`} /><${Gone} icon="server" title=${t('nodes.gone')} to=${['nodes']} label=${t('nav.nodes')} />`;
  const size = (value) => (typeof value === 'number' ? bytes(value) : value);
  return html`<div class="stack">
    <${PageHead} title=${html`<span class="mono">${name}</span>`} note=${html`<a href=${link(['nodes'])}>${t('nav.nodes')}</a>`}>
      ${node.data && html`<${Badge} kind=${node.data.node_status === 'Running' ? 'ok' : 'danger'}>${node.data.node_status === 'Running' ? t('word.running') : node.data.node_status}<//>`}<${Refresh} reload=${reload} /><//>
    <${Card} title=${t('nodes.basics')}><${Loaded} of=${node}>${() => html`<${Facts} rows=${[
      [t('overview.uptime'), uptime(node.data.uptime)], [t('overview.version'), `${broker.data?.sysdescr ?? ''} ${node.data.version}`], [t('overview.python'), node.data.otp_release],
      [t('nodes.connections'), html`<${Num} value=${node.data.connections} />`], [t('overview.load'), `${node.data.load1} / ${node.data.load5} / ${node.data.load15}`],
      [t('nodes.memory'), `${size(node.data.memory_used)} / ${size(node.data.memory_total)}`], [t('overview.fds'), html`<${Num} value=${node.data.max_fds} />`], [t('overview.time'), broker.data?.datetime]]} />`}<//><//>
    <${Card} title=${t('overview.stats')} flush><${Loaded} of=${stats}>${() => html`<${StatsTable} stats=${stats.data} />`}<//><//>
    <${Card} title=${t('nav.listeners')} flush><${Loaded} of=${listeners}>${() => html`<${ListenerTable} rows=${listeners.data} reload=${listeners.reload} />`}<//><//>
    <div><div class="section-head"><h2>${t('nodes.metricsOf')}</h2></div><${Loaded} of=${metrics}>${() => html`<${MetricTables} metrics=${metrics.data} all />`}<//></div>
  </div>`;
}
