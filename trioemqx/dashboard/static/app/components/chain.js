// Who decides about connecting, publishing and subscribing, and in which order: auth_order and acl_order as two lists.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { link } from '../router.js';
import { full } from '../format.js';
import { Icon } from './icons.js';
import { outcome } from './outcome.js';
import { Table } from './table.js';
import { Badge, Card, EmptyState, Loaded } from './states.js';
import { attempt } from './toast.js';

/** Setting of the order, the hook points it is about, and the setting of what holds when nobody decided. */
const CHAINS = [
  ['auth_order', ['client_authenticate'], 'allow_anonymous', 'chain.auth', 'chain.nobody'],
  ['acl_order', ['client_check_acl_now', 'client_check_acl'], 'acl_nomatch', 'chain.acl', 'chain.noMatch'],
];

function Chain({ chain: [key, points, rest, title, otherwise], hooks, configs, reload }) {
  const [busy, setBusy] = useState(false);
  const listed = points.flatMap((point) => hooks.find((hook) => hook.point === point)?.implementations ?? []);
  const rows = listed.filter((row, n) => listed.findIndex((other) => other.plugin === row.plugin) === n);
  const setting = configs.find((row) => row.key === key);
  const change = async (act) => { setBusy(true); await attempt(act); await reload(); setBusy(false); };
  const move = (from, to) => change(async () => {
    const names = rows.map((row) => row.plugin);
    names.splice(to, 0, ...names.splice(from, 1));
    outcome((await api.put('configs', { [key]: names })).data);
  });
  const forget = () => change(() => api.delete(url`configs/${key}`));
  const button = (row, n, to, name, icon) => html`<button class="btn icon small ghost" data-move=${`${key} ${row.plugin} ${name}`} disabled=${busy || to < 0 || to >= rows.length}
    aria-label=${t(`chain.${name}`, { plugin: row.plugin })} title=${t(`chain.${name}`, { plugin: row.plugin })} onClick=${() => move(n, to)}><${Icon} name=${icon} size=${16} /></button>`;
  return html`<${Card} title=${t(title)} flush actions=${setting?.origin === 'saved' && html`<button class="btn small" disabled=${busy} onClick=${forget}>${t('settings.forget')}</button>`}>
    <${Table} label=${t(title)} rows=${rows.map((row, n) => ({ ...row, n }))} rowKey=${(row) => row.plugin} columns=${[
      { label: '#', className: 'num narrow', value: (row) => row.n + 1 },
      { label: t('plugins.plugin'), className: 'lead', value: (row) => html`<a class="mono" href=${link([row.plugin.startsWith('emqx_mod_') ? 'modules' : 'plugins', row.plugin])}>${row.plugin}</a>` },
      { label: t('word.status'), value: () => html`<${Badge} kind="ok">${t('word.running')}<//>` },
      { label: t('plugins.errors'), className: 'num', value: (row) => (row.errors === undefined || row.errors === null ? '–' : full(row.errors)) },
      { value: (row) => html`${button(row, row.n, row.n - 1, 'up', 'up')}${button(row, row.n, row.n + 1, 'down', 'down')}` },
    ]} empty=${html`<${EmptyState} icon="key" title=${t('chain.none')} />`} />
    <p class="pad muted">${t(otherwise)} <a class="mono" href=${link(['settings'], { q: rest })}>${rest} = ${String(configs.find((row) => row.key === rest)?.value)}</a></p><//>`;
}

export function Chains() {
  const hooks = useApi('hooks');
  const configs = useApi('configs');
  const reload = () => Promise.all([hooks.reload(), configs.reload()]);
  return html`<${Loaded} of=${hooks}>${() => html`<${Loaded} of=${configs}>${() => html`<div class="stack"><p class="muted">${t('chain.note')}</p>
    ${CHAINS.map((chain) => html`<${Chain} key=${chain[0]} chain=${chain} hooks=${hooks.data} configs=${configs.data} reload=${reload} />`)}</div>`}<//>`}<//>`;
}
