// The buttons that load, unload and reload a plugin or a module.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url } from '../api.js';
import { link } from '../router.js';
import { confirm } from './dialog.js';
import { Badge } from './states.js';
import { attempt } from './toast.js';

const FIXED = 'emqx_management'; // what this page itself needs, and so cannot be unloaded
const OURSELVES = 'emqx_dashboard';

// Where what a plugin or module does is looked after.
const PAGES = {
  emqx_auth_mnesia: ['access'], emqx_retainer: ['retained'], emqx_rule_engine: ['rules'], emqx_dashboard: ['users'], emqx_management: ['applications'],
  emqx_mod_delayed: ['delayed'], emqx_mod_slow_subs: ['slow-subscriptions'], emqx_mod_topic_metrics: ['topic-metrics'], emqx_mod_trace: ['trace'],
};

/** A link to that page, if there is one. */
export const Manage = ({ row, small = true }) => (row.active && PAGES[row.name] ? html`<a class="btn ${small ? 'small ghost' : ''}" href=${link(PAGES[row.name])}>${t('plugins.manage')}</a>` : null);

/** Running, stopped, or not running although it should. */
export const StateBadge = ({ row }) => html`<${Badge} kind=${row.problem ? 'danger' : row.active ? 'ok' : ''}>${row.problem ? t('plugins.problem') : row.active ? t('word.running') : t('word.stopped')}<//>`;

/** `kind`: 'plugins' or 'modules'. `small` in tables. */
export function Switching({ kind, row, node, reload, small = true }) {
  const [busy, setBusy] = useState(false);
  const { name } = row;
  const change = async (what, done) => {
    setBusy(true);
    await attempt(() => api.put(url`nodes/${node}/` + `${kind}/${encodeURIComponent(name)}/${what}`), done);
    setBusy(false);
    reload();
  };
  const unload = async () => {
    if (await confirm({ title: t(kind === 'plugins' ? 'plugins.unloadTitle' : 'modules.unloadTitle', { name }), text: t(name === OURSELVES ? 'plugins.unloadDashboard' : kind === 'plugins' ? 'plugins.unloadText' : 'modules.unloadText', { name }), action: t('plugins.unload') })) await change('unload', t('plugins.unloaded', { name }));
  };
  if (name === FIXED) return html`<span class="muted">${t('plugins.fixed')}</span>`;
  const size = small ? 'small' : '';
  if (!row.active) return html`<button class="btn ${size}" disabled=${busy} data-load onClick=${() => change('load', t('plugins.loaded', { name }))}>${t('plugins.load')}</button>`;
  return html`<button class="btn ${size} ${small ? 'ghost' : ''}" disabled=${busy} data-reload onClick=${() => change('reload', t('plugins.reloaded', { name }))}>${t('action.reload')}</button>
    <button class="btn ${size} ${small ? 'ghost danger-text' : 'danger'}" disabled=${busy} onClick=${unload}>${t('plugins.unload')}</button>`;
}
