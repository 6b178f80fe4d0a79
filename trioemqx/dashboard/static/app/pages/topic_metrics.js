// Counters of single topics that one has asked to be measured.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { short } from '../format.js';
import { setQuery } from '../router.js';
import { Refresh, Table } from '../components/table.js';
import { EmptyState, Loaded, Num, PageHead } from '../components/states.js';
import { Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt } from '../components/toast.js';
import { NeedsModule, notLoaded } from '../components/needs.js';

const pair = (metrics, name) => html`<span><${Num} value=${metrics[`${name}.count`]} /> <span class="muted">${short(metrics[`${name}.rate`])}/s</span></span>`;
const byQos = (metrics, way) => [0, 1, 2].map((qos) => short(metrics[`messages.qos${qos}.${way}.count`])).join(' · ');

export default function TopicMetrics({ query }) {
  const list = useApi('topic-metrics', null, { every: 5 });
  const [adding, setAdding] = useState(Boolean(query.add));
  const close = () => { setAdding(false); setQuery({ add: '' }); };
  const add = async ({ topic }) => { await api.post('topic-metrics', { topic }); close(); list.reload(); };
  const remove = async (topic) => {
    if (!await confirm({ title: t('tm.removeTitle'), text: t('tm.removeText', { topic: shorten(topic, 80) }), action: t('tm.remove') })) return;
    if (await attempt(() => api.delete(url`topic-metrics/${topic}`), t('action.deleted'))) list.reload();
  };
  if (notLoaded(list.error)) return html`<${PageHead} title=${t('nav.topicMetrics')} note=${t('tm.note')} /><${NeedsModule} name="emqx_mod_topic_metrics" reload=${list.reload} />`;
  return html`<${PageHead} title=${t('nav.topicMetrics')} note=${t('tm.note')}><button class="btn primary" onClick=${() => setAdding(true)}>${t('tm.add')}</button><${Refresh} reload=${list.reload} /><//>
    <${Loaded} of=${list}>${() => html`<${Table} label=${t('nav.topicMetrics')} rows=${list.data} rowKey=${(row) => row.topic} columns=${[
      { label: t('word.topic'), className: 'lead', share: 30, value: (row) => html`<${Copyable} text=${row.topic} />` },
      { label: t('tm.in'), className: 'num', value: (row) => pair(row.metrics, 'messages.in') },
      { label: t('tm.out'), className: 'num', value: (row) => pair(row.metrics, 'messages.out') },
      { label: t('tm.dropped'), className: 'num', value: (row) => pair(row.metrics, 'messages.dropped') },
      { label: t('tm.qosIn'), className: 'num', value: (row) => byQos(row.metrics, 'in') },
      { label: t('tm.qosOut'), className: 'num', value: (row) => byQos(row.metrics, 'out') },
      { value: (row) => html`<button class="btn small ghost danger-text" onClick=${() => remove(row.topic)}>${t('tm.remove')}</button>` },
    ]} empty=${html`<${EmptyState} icon="bars" title=${t('tm.none')}>${t('tm.noneHint')}<//>`} />`}<//>
    ${adding && html`<${Dialog} title=${t('tm.add')} onClose=${close}><${Form} values=${{ topic: query.add }} submit=${t('tm.add')} onCancel=${close} onSubmit=${add}
      fields=${[{ name: 'topic', label: t('word.topic'), kind: 'string', required: true, help: t('tm.topicHelp'), autofocus: true }]} /><//>`}`;
}
