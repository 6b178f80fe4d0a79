// Which deliveries take longest: clients and topics, the slowest first.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { api } from '../api.js';
import { link } from '../router.js';
import { milliseconds } from '../format.js';
import { ServerTable } from '../components/table.js';
import { Ago, EmptyState, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { confirm } from '../components/dialog.js';
import { attempt } from '../components/toast.js';
import { NeedsModule } from '../components/needs.js';

const columns = () => [
  { label: t('word.clientid'), className: 'lead', share: 35, value: (row) => html`<${Copyable} text=${row.clientid} href=${link(['clients', row.clientid])} />` },
  { label: t('word.topic'), share: 40, value: (row) => html`<${Copyable} text=${row.topic} />` },
  { label: t('slow.time'), className: 'num', value: (row) => milliseconds(row.timespan) },
  { label: t('slow.last'), value: (row) => html`<${Ago} value=${row.last_update_time} />` },
];

export default function Slow() {
  const clear = async (reload) => {
    if (!await confirm({ title: t('slow.clearTitle'), text: t('slow.clearText'), action: t('slow.clear') })) return;
    if (await attempt(() => api.delete('slow_subscriptions'), t('action.deleted'))) reload();
  };
  return html`<${PageHead} title=${t('nav.slow')} note=${t('slow.note')}><a class="btn" href=${link(['modules', 'emqx_mod_slow_subs'])}>${t('slow.settings')}</a><//>
    <${ServerTable} path="slow_subscriptions" needs=${(reload) => html`<${NeedsModule} name="emqx_mod_slow_subs" reload=${reload} />`} label=${t('nav.slow')} columns=${columns} empty=${html`<${EmptyState} icon="snail" title=${t('slow.none')}>${t('slow.noneHint')}<//>`}>
      ${(asked) => html`<button class="btn" disabled=${!asked.data?.length} onClick=${() => clear(asked.reload)}>${t('slow.clear')}</button>`}<//>`;
}
