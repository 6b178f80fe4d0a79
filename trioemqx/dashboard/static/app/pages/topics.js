// The routing table: which filters are subscribed, and where.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { link } from '../router.js';
import { ServerTable } from '../components/table.js';
import { EmptyState, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { Publish } from '../components/publish.js';

const columns = () => [
  { label: t('word.filter'), className: 'lead', share: 60, value: (row) => html`<${Copyable} text=${row.topic} href=${link(['subscriptions'], { topic: row.topic })} />` },
  { label: t('word.node'), value: (row) => row.node },
  { value: (row) => (/[+#]/.test(row.topic) ? '' : html`<a class="btn small ghost" href=${link(['topic-metrics'], { add: row.topic })}>${t('topics.metrics')}</a>`) },
];

export default function Topics() {
  return html`<${PageHead} title=${t('nav.topics')} note=${t('topics.note')}><${Publish} /><//>
    <${ServerTable} path="routes" label=${t('nav.topics')} columns=${columns} rowKey=${(row) => `${row.node} ${row.topic}`}
      filters=${[{ name: 'topic', label: t('topics.search') }]} empty=${html`<${EmptyState} icon="tree" title=${t('topics.none')}>${t('topics.noneHint')}<//>`} />`;
}
