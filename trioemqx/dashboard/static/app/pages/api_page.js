// The HTTP API: where its documents are, and every endpoint of this door.
import { html } from '../lib.js';
import { said, t } from '../i18n.js';
import { useApi } from '../api.js';
import { route } from '../router.js';
import { Filters, Table } from '../components/table.js';
import { Badge, Card, EmptyState, Loaded, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';

const KINDS = { GET: 'info', POST: 'ok', PUT: 'warn', DELETE: 'danger' };

export default function ApiPage() {
  const index = useApi('');
  const { query } = route.use();
  const wanted = (query.q ?? '').toLowerCase();
  const base = new URL('api/v4/', document.baseURI).href.split('#')[0];
  return html`<${PageHead} title=${t('nav.api')} note=${t('apiPage.note')}><a class="btn primary" href="api-docs" target="_blank" rel="noopener">${t('apiPage.open')}</a><a class="btn" href="api/v4/openapi.json" download="openapi.json">OpenAPI</a><//>
    <div class="stack"><${Card} title=${t('apiPage.curl')}><pre class="block">${`curl -u <AppID>:<AppSecret> ${base.replace(/:\d+\//, ':8081/')}clients`}</pre><p class="muted">${t('apiPage.curlNote')}</p><//>
    <div><${Filters} query=${query} filters=${[{ name: 'q', label: t('table.search') }]} />
    <${Loaded} of=${index}>${() => html`<${Table} label=${t('nav.api')} rows=${index.data.filter((row) => `${row.method} ${row.path} ${row.descr} ${said(row.descr)}`.toLowerCase().includes(wanted))} columns=${[
      { label: t('audit.method'), value: (row) => html`<${Badge} kind=${KINDS[row.method]}>${row.method}<//>` },
      { label: t('audit.path'), className: 'lead', share: 45, value: (row) => html`<${Copyable} text=${row.path} />` },
      { label: t('word.description'), value: (row) => said(row.descr) },
    ]} empty=${html`<${EmptyState} icon="search" title=${t('table.nothing')} />`} />`}<//></div></div>`;
}
