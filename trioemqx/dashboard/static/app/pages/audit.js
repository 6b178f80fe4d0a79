// Who changed what, from where.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { time } from '../format.js';
import { ServerTable } from '../components/table.js';
import { Badge, EmptyState, PageHead } from '../components/states.js';
import { Copyable } from '../components/copyable.js';

const METHODS = ['POST', 'PUT', 'DELETE', 'ctl'];
const DOORS = ['dashboard', 'management', 'ctl'];
const columns = () => [
  { label: t('audit.time'), className: 'nowrap lead', value: (row) => time(row.at) },
  { label: t('audit.actor'), share: 14, value: (row) => html`<${Copyable} text=${row.who || '–'} mono=${false} />` },
  { label: t('audit.via'), value: (row) => html`<${Badge}>${row.door}<//>` },
  { label: t('audit.peer'), value: (row) => html`<span class="mono">${row.peer || '–'}</span>` },
  { label: t('audit.what'), share: 40, value: (row) => html`<span class="row"><b class="mono">${row.method}</b> <${Copyable} text=${row.path} /></span>` },
  { label: t('audit.result'), value: (row) => html`<${Badge} kind=${row.result === 'ok' ? 'ok' : 'danger'}>${row.result}<//>` },
];

export default function Audit() {
  return html`<${PageHead} title=${t('nav.audit')} note=${t('audit.note')} />
    <${ServerTable} path="audit" label=${t('nav.audit')} columns=${columns} filters=${[{ name: 'who', label: t('audit.actor') }, { name: 'door', label: t('audit.via'), type: 'select', options: DOORS.map((name) => [name, name]) }, { name: 'method', label: t('audit.method'), type: 'select', options: METHODS.map((name) => [name, name]) }, { name: '_like_path', label: t('audit.path') }]}
      empty=${html`<${EmptyState} icon="list" title=${t('audit.none')} />`} />`;
}
