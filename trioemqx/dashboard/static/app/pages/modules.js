// Modules: the parts of EMQX that can be switched on and off, each a card with what it is good for and its form.
import { html, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { useApi } from '../api.js';
import { link } from '../router.js';
import { Refresh } from '../components/table.js';
import { EmptyState, Loaded, PageHead } from '../components/states.js';
import { Icon } from '../components/icons.js';
import { Dialog } from '../components/dialog.js';
import { Settings } from '../components/plugin_settings.js';
import { Manage, StateBadge, Switching } from '../components/switching.js';

// Name of a module → its icon, and how one begins with it. Others have their description only.
const GUIDES = {
  emqx_mod_acl_internal: ['key', 'modules.guideAcl'],
  emqx_mod_delayed: ['clock', 'modules.guideDelayed'],
  emqx_mod_presence: ['bell', 'modules.guidePresence'],
  emqx_mod_rewrite: ['edit', 'modules.guideRewrite'],
  emqx_mod_slow_subs: ['snail', 'modules.guideSlow'],
  emqx_mod_subscription: ['inbox', 'modules.guideSubscription'],
  emqx_mod_topic_metrics: ['bars', 'modules.guideTopicMetrics'],
  emqx_mod_trace: ['search', 'modules.guideTrace'],
};

function Module({ row, reload, onSettings }) {
  const [icon, guide] = GUIDES[row.name] ?? ['box'];
  return html`<li class="card module">
    <div class="module-head"><${Icon} name=${icon} size=${24} /><h2 class="grow"><a class="mono" href=${link(['modules', row.name])}>${row.name}</a></h2><${StateBadge} row=${row} /></div>
    <div class="module-text"><p>${said(row.description)}</p>${guide && html`<p class="muted">${t(guide)}</p>`}${row.problem && html`<p class="danger-text">${said(row.problem)}</p>`}</div>
    <div class="module-foot">${row.active && html`<button class="btn small" data-settings onClick=${onSettings}>${t('plugin.settings')}</button>`}<${Manage} row=${row} /><div class="grow" /><${Switching} kind="modules" row=${row} node=${row.node} reload=${reload} /></div>
  </li>`;
}

export default function Modules() {
  const modules = useApi('modules');
  const [open, setOpen] = useState(null);
  const rows = () => modules.data.flatMap((node) => node.modules.map((row) => ({ ...row, node: node.node })));
  const close = () => { setOpen(null); modules.reload(); };
  return html`<${PageHead} title=${t('nav.modules')} note=${t('modules.note')}><${Refresh} reload=${modules.reload} /><//>
    <${Loaded} of=${modules}>${() => (rows().length
      ? html`<ul class="modules">${rows().map((row) => html`<${Module} key=${row.node + row.name} row=${row} reload=${modules.reload} onSettings=${() => setOpen(row.name)} />`)}</ul>`
      : html`<div class="table-box"><${EmptyState} icon="box" /></div>`)}<//>
    ${open && html`<${Dialog} wide title=${open} onClose=${close}><${Settings} kind="modules" name=${open} /><//>`}`;
}
