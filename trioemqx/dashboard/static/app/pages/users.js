// Who may log in to the dashboard; one's own password.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { changePassword, session } from '../session.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, Loaded, PageHead } from '../components/states.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';
import { passwordFields } from './login.js';

function Password({ user, onClose }) {
  const own = user === session.get().username;
  const change = async ({ old, fresh, again }) => {
    if (fresh !== again) throw new Error(t('login.differ'));
    if (own) await changePassword(old, fresh);
    else await api.put(url`change_pwd/${user}`, { old_pwd: old, new_pwd: fresh });
    toast.ok(t('login.changed'));
    onClose();
  };
  return html`<${Dialog} title=${t('users.passwordOf', { user })} onClose=${onClose}><${Form} fields=${passwordFields()} submit=${t('action.save')} onCancel=${onClose} onSubmit=${change} /><//>`;
}

export default function Users() {
  const users = useApi('users');
  const [open, setOpen] = useState(null); // ['add'], ['edit', row], ['password', name]
  const me = session.use();
  const close = () => setOpen(null);
  const add = async (values) => { await api.post('users', values); toast.ok(t('action.created')); close(); users.reload(); };
  const edit = async ({ tags }) => { await api.put(url`users/${open[1].username}`, { tags }); toast.ok(t('action.saved')); close(); users.reload(); };
  const remove = async (row) => {
    if (!await confirm({ title: t('users.deleteTitle'), text: t('users.deleteText', { user: row.username }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`users/${row.username}`), t('action.deleted'))) users.reload();
  };
  const tags = { name: 'tags', label: t('users.tags'), kind: 'string', required: true, help: t('users.tagsHelp') };
  return html`<${PageHead} title=${t('nav.users')} note=${t('users.note')}>
      <button class="btn" onClick=${() => setOpen(['password', me.username])}>${t('users.own')}</button><button class="btn primary" onClick=${() => setOpen(['add'])}>${t('users.add')}</button><${Refresh} reload=${users.reload} /><//>
    <${Loaded} of=${users}>${() => html`<${Table} label=${t('nav.users')} rows=${users.data} rowKey=${(row) => row.username} columns=${[
      { label: t('word.username'), className: 'lead', share: 30, value: (row) => html`<span class="row"><${Copyable} text=${row.username} mono=${false} /> ${row.username === me.username && html`<${Badge} kind="info">${t('users.you')}<//>`}</span>` },
      { label: t('users.tags'), share: 30, value: (row) => html`<${Clip} text=${row.tags} />` },
      { value: (row) => html`<button class="btn small" onClick=${() => setOpen(['password', row.username])}>${t('access.newPassword')}</button>
        <button class="btn small ghost" onClick=${() => setOpen(['edit', row])}>${t('action.edit')}</button>
        ${row.username !== 'admin' && html`<button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>`}` },
    ]} />`}<//>
    ${open?.[0] === 'add' && html`<${Dialog} title=${t('users.add')} onClose=${close}><${Form} submit=${t('action.create')} onCancel=${close} onSubmit=${add} fields=${[
      { name: 'username', label: t('word.username'), kind: 'string', required: true, autofocus: true }, { name: 'password', label: t('word.password'), kind: 'password', required: true }, { ...tags, default: 'viewer' }]} /><//>`}
    ${open?.[0] === 'edit' && html`<${Dialog} title=${shorten(open[1].username, 50)} onClose=${close}><${Form} submit=${t('action.save')} onCancel=${close} onSubmit=${edit} values=${open[1]} fields=${[tags]} /><//>`}
    ${open?.[0] === 'password' && html`<${Password} user=${open[1]} onClose=${close} />`}`;
}
