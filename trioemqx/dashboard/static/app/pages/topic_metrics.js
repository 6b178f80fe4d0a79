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

const Pair = ({ metrics, name }) => html`<span class="nowrap"><${Num} value=${metrics[`${name}.count`]} /> <span class="muted">${short(metrics[`${name}.rate`])}/s</span></span>`;
/** All of one way, and below it the same by QoS. */
const Way = ({ metrics, way }) => html`<div class="way"><${Pair} metrics=${metrics} name="messages.${way}" />
  <div class="muted">${[0, 1, 2].map((qos) => html`<span class="nowrap">QoS ${qos} <${Num} value=${metrics[`messages.qos${qos}.${way}.count`]} /></span>`)}</div></div>`;

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
      { label: t('word.topic'), className: 'lead', share: 28, value: (row) => html`<${Copyable} text=${row.topic} />` },
      { label: t('tm.in'), className: 'num', value: (row) => html`<${Way} metrics=${row.metrics} way="in" />` },
      { label: t('tm.out'), className: 'num', value: (row) => html`<${Way} metrics=${row.metrics} way="out" />` },
      { label: t('tm.dropped'), className: 'num', value: (row) => html`<${Pair} metrics=${row.metrics} name="messages.dropped" />` },
      { value: (row) => html`<button class="btn small ghost danger-text" onClick=${() => remove(row.topic)}>${t('tm.remove')}</button>` },
    ]} empty=${html`<${EmptyState} icon="bars" title=${t('tm.none')}>${t('tm.noneHint')}<//>`} />`}<//>
    ${adding && html`<${Dialog} title=${t('tm.add')} onClose=${close}><${Form} values=${{ topic: query.add }} submit=${t('tm.add')} onCancel=${close} onSubmit=${add}
      fields=${[{ name: 'topic', label: t('word.topic'), kind: 'string', required: true, help: t('tm.topicHelp'), autofocus: true }]} /><//>`}`;
}
