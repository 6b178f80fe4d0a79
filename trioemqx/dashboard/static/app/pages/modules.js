// Modules: the parts of EMQX that can be switched on and off.
import { html } from '../lib.js';
import { said, t } from '../i18n.js';
import { useApi } from '../api.js';
import { link } from '../router.js';
import { Refresh, Table } from '../components/table.js';
import { Loaded, PageHead } from '../components/states.js';
import { Manage, StateBadge, Switching } from '../components/switching.js';

export default function Modules() {
  const modules = useApi('modules');
  const rows = () => modules.data.flatMap((node) => node.modules.map((row) => ({ ...row, node: node.node })));
  return html`<${PageHead} title=${t('nav.modules')} note=${t('modules.note')}><${Refresh} reload=${modules.reload} /><//>
    <${Loaded} of=${modules}>${() => html`<${Table} label=${t('nav.modules')} rows=${rows()} rowKey=${(row) => row.node + row.name} columns=${[
      { label: t('word.name'), className: 'lead', value: (row) => html`<a class="mono" href=${link(['modules', row.name])}>${row.name}</a>` },
      { label: t('word.description'), className: 'text', value: (row) => html`${said(row.description)}${row.problem && html`<div class="danger-text">${said(row.problem)}</div>`}` },
      { label: t('word.status'), value: (row) => html`<${StateBadge} row=${row} />` },
      { value: (row) => html`<${Manage} row=${row} /><${Switching} kind="modules" row=${row} node=${row.node} reload=${modules.reload} />` },
    ]} />`}<//>`;
}
