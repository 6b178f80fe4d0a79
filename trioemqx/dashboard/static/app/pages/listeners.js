// What the broker listens on.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { useApi } from '../api.js';
import { Refresh } from '../components/table.js';
import { Loaded, PageHead } from '../components/states.js';
import { ListenerTable } from '../components/listeners.js';

export default function Listeners() {
  const listeners = useApi('listeners');
  return html`<${PageHead} title=${t('nav.listeners')} note=${t('listeners.note')}><${Refresh} reload=${listeners.reload} /><//>
    <${Loaded} of=${listeners}>${() => listeners.data.map((node) => html`<div key=${node.node}>
      ${listeners.data.length > 1 && html`<h2 class="section-head">${node.node}</h2>`}<${ListenerTable} rows=${node.listeners} reload=${listeners.reload} /></div>`)}<//>`;
}
