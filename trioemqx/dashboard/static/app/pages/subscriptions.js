// Subscriptions of all clients, and the groups that share some.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { link } from '../router.js';
import { Tabs } from '../components/tabs.js';
import { ServerTable } from '../components/table.js';
import { Badge, EmptyState, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';

const columns = () => [
  { label: t('word.filter'), className: 'lead', share: 45, value: (row) => html`<${Copyable} text=${row.topic} />` },
  { label: t('word.clientid'), share: 30, value: (row) => html`<${Copyable} text=${row.clientid} href=${link(['clients', row.clientid])} />` },
  { label: t('word.qos'), className: 'num', value: (row) => row.qos },
  { label: t('word.node'), value: (row) => row.node },
];

const filters = () => [
  { name: 'clientid', label: t('word.clientid') },
  { name: 'topic', label: t('subs.topic') },
  { name: '_match_topic', label: t('subs.match') },
  { name: 'share', label: t('subs.share') },
  { name: 'qos', label: t('word.qos'), type: 'select', options: [['0', '0'], ['1', '1'], ['2', '2']] },
];

const All = () => html`<${ServerTable} path="subscriptions" label=${t('nav.subscriptions')} columns=${columns} filters=${filters()}
  rowKey=${(row) => `${row.clientid} ${row.topic}`} empty=${html`<${EmptyState} title=${t('subs.none')}>${t('topics.noneHint')}<//>`} />`;

const sharedColumns = () => [
  { label: t('subs.group'), className: 'lead', share: 20, value: (row) => html`<${Copyable} text=${row.group} />` },
  { label: t('word.filter'), share: 30, value: (row) => html`<${Copyable} text=${row.filter ?? row.topic} />` },
  { label: t('subs.strategy'), value: (row) => html`<${Badge}>${row.strategy}<//>` },
  { label: t('subs.members'), share: 30, value: (row) => html`<div class="members">${row.members.slice(0, 20).map((member) => html`<${Copyable} key=${member.clientid} text=${member.clientid} href=${link(['clients', member.clientid])} />`)}
    ${row.members.length > 20 && html`<span class="muted">+ ${row.members.length - 20}</span>`}</div>` },
];

const Shared = () => html`<${ServerTable} path="shared_subscriptions" label=${t('subs.shared')} columns=${sharedColumns} rowKey=${(row) => `${row.group} ${row.filter}`}
  empty=${html`<${EmptyState} title=${t('subs.noShared')}>${t('subs.noSharedHint')}<//>`} />`;

export default function Subscriptions() {
  return html`<${PageHead} title=${t('nav.subscriptions')} note=${t('subs.note')} />
    <${Tabs} tabs=${[['all', t('subs.all'), () => html`<${All} />`], ['shared', t('subs.shared'), () => html`<${Shared} />`]]} />`;
}
