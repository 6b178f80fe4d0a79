// The nodes of the cluster.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { useApi } from '../api.js';
import { link } from '../router.js';
import { uptime } from '../format.js';
import { Refresh, Table } from '../components/table.js';
import { Diagnostics } from '../components/diagnostics.js';
import { Badge, Loaded, Num, PageHead } from '../components/states.js';

const columns = () => [
  { label: t('word.name'), className: 'lead', value: (row) => html`<a class="mono" href=${link(['nodes', row.node])}>${row.node}</a>` },
  { label: t('word.status'), value: (row) => html`<${Badge} kind=${row.node_status === 'Running' ? 'ok' : 'danger'}>${row.node_status === 'Running' ? t('word.running') : row.node_status}<//>` },
  { label: t('nodes.connections'), className: 'num', value: (row) => html`<${Num} value=${row.connections} />` },
  { label: t('overview.uptime'), className: 'nowrap', value: (row) => uptime(row.uptime) },
  { label: t('overview.version'), value: (row) => row.version },
  { label: t('overview.load'), className: 'num', value: (row) => `${row.load1} / ${row.load5} / ${row.load15}` },
  { label: t('nodes.memory'), className: 'num', value: (row) => `${row.memory_used} / ${row.memory_total}` },
  { label: t('overview.fds'), className: 'num', value: (row) => html`<${Num} value=${row.max_fds} />` },
];

export default function Nodes() {
  const nodes = useApi('nodes');
  return html`<${PageHead} title=${t('nav.nodes')} note=${t('nodes.note')}><${Diagnostics} /><${Refresh} reload=${nodes.reload} /><//>
    <${Loaded} of=${nodes}>${() => html`<${Table} label=${t('nav.nodes')} columns=${columns()} rows=${nodes.data} rowKey=${(row) => row.node} />`}<//>`;
}
