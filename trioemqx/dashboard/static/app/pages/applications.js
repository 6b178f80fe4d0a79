// Applications: who may use the HTTP API, with an AppID and a secret that is shown once.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { date, time } from '../format.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, EmptyState, Loaded, Notice, PageHead } from '../components/states.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';

/** The API's word for a text that nobody gave. */
const given = (text) => (text === 'undefined' ? '' : text);
const never = (row) => !row.expired || row.expired === 'undefined';
/** Unix seconds as a field for day and time wants them, in local time. */
const local = (seconds) => { const at = date(seconds); return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16); };

const ROLES = { administrator: 'apps.role.administrator', viewer: 'apps.role.viewer', publisher: 'apps.role.publisher' };
/** Only another role than administrator is told. */
const roleOf = (row) => row.role ?? 'administrator';
/** One that a newer version may have stored gives no rights. */
const roleBadge = (row) => {
  const role = roleOf(row);
  if (!Object.hasOwn(ROLES, role)) return html`<${Badge} kind="danger">${t('apps.roleUnknown', { role: shorten(role, 20) })}<//>`;
  return html`<${Badge} kind=${role === 'administrator' ? 'info' : ''}>${t(ROLES[role])}<//>`;
};

const fields = (fresh) => [
  ...(fresh ? [{ name: 'app_id', label: 'AppID', kind: 'string', required: true, help: t('apps.idHelp'), autofocus: true }] : []),
  { name: 'name', label: t('word.name'), kind: 'string', required: fresh },
  { name: 'desc', label: t('apps.remark'), kind: 'string' },
  { name: 'role', label: t('apps.role'), kind: 'select', required: true, options: Object.entries(ROLES).map(([role, name]) => [role, t(name)]), help: t('apps.roleHelp') },
  { name: 'expired', label: t('apps.expires'), kind: 'datetime', help: t('apps.expiresHelp') },
  { name: 'status', label: t('apps.enabled'), kind: 'boolean', default: true },
];

export default function Applications() {
  const apps = useApi('apps');
  const [edited, setEdited] = useState(null);
  const [secret, setSecret] = useState(null);
  const save = async ({ expired, ...values }) => {
    const body = { ...values, ...(expired ? { expired: Math.floor(new Date(expired).getTime() / 1000) } : {}) };
    if (edited.app_id) await api.put(url`apps/${edited.app_id}`, body);
    else {
      const { data } = await api.post('apps', body);
      setSecret({ id: values.app_id, secret: data.secret });
    }
    toast.ok(t('action.saved'));
    setEdited(null);
    apps.reload();
  };
  const remove = async (row) => {
    if (!await confirm({ title: t('apps.deleteTitle'), text: t('apps.deleteText', { id: shorten(row.app_id, 60) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`apps/${row.app_id}`), t('action.deleted'))) apps.reload();
  };
  return html`<${PageHead} title=${t('nav.applications')} note=${t('apps.note')}><button class="btn primary" onClick=${() => setEdited({})}>${t('apps.create')}</button><${Refresh} reload=${apps.reload} /><//>
    <${Loaded} of=${apps}>${() => html`<${Table} label=${t('nav.applications')} rows=${apps.data} rowKey=${(row) => row.app_id} columns=${[
      { label: 'AppID', className: 'lead', share: 20, value: (row) => html`<${Copyable} text=${row.app_id} />` },
      { label: t('word.name'), share: 16, value: (row) => html`<${Clip} text=${given(row.name)} />` },
      { label: t('apps.remark'), share: 24, value: (row) => html`<${Clip} text=${given(row.desc)} />` },
      { label: t('apps.role'), className: 'nowrap', value: roleBadge },
      { label: t('apps.expires'), className: 'nowrap', value: (row) => (never(row) ? t('word.never') : time(row.expired)) },
      { label: t('word.status'), value: (row) => html`<${Badge} kind=${row.status ? 'ok' : ''}>${row.status ? t('apps.enabled') : t('apps.disabled')}<//>` },
      { value: (row) => html`<button class="btn small" onClick=${() => setEdited(row)}>${t('action.edit')}</button>
        <button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>` },
    ]} empty=${html`<${EmptyState} icon="app" title=${t('apps.none')}>${t('apps.noneHint')}<//>`} />`}<//>
    ${edited && html`<${Dialog} title=${edited.app_id ? shorten(edited.app_id, 50) : t('apps.create')} onClose=${() => setEdited(null)}><${Form} fields=${fields(!edited.app_id)} values=${{ ...edited, name: given(edited.name), desc: given(edited.desc), role: roleOf(edited), expired: never(edited) ? '' : local(edited.expired) }}
      submit=${t('action.save')} onCancel=${() => setEdited(null)} onSubmit=${save} /><//>`}
    ${secret && html`<${Dialog} title=${t('apps.secretTitle', { id: shorten(secret.id, 50) })} onClose=${() => setSecret(null)} footer=${html`<button class="btn primary" data-autofocus onClick=${() => setSecret(null)}>${t('apps.secretKept')}</button>`}>
      <${Notice} kind="warn">${t('apps.secretOnce')}<//><p class="secret"><${Copyable} text=${secret.secret} most=${200} /></p><//>`}`;
}
