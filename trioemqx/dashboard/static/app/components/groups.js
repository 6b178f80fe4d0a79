// Groups: roles for many clients and users at once. The list of them, and one with its roles and its members.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { go, link, route } from '../router.js';
import { full } from '../format.js';
import { Icon } from './icons.js';
import { ServerTable, Table } from './table.js';
import { Card, EmptyState, ErrorBox, Loaded } from './states.js';
import { Clip, Copyable, shorten } from './copyable.js';
import { confirm, Dialog } from './dialog.js';
import { Form } from './form.js';
import { attempt, toast } from './toast.js';
import { Gone, Head, Members, membersOf, moved, Moves } from './roster.js';

const OFFERED = 200; // roles that the field offers; any other can be typed

const about = () => [
  { name: 'description', label: t('word.description'), kind: 'string', half: true },
  { name: 'priority', label: t('groups.priority'), kind: 'integer', default: 0, required: true, half: true, help: t('groups.priorityHelp') },
];

/** Ask, and delete; answers whether it was. */
async function removed(group) {
  if (!await confirm({ title: t('groups.removeTitle'), text: t('groups.removeText', { name: shorten(group.name, 60), count: full(group.members) }), action: t('action.delete') })) return false;
  return attempt(() => api.delete(url`acl_groups/${group.name}`), t('action.deleted'));
}

function List({ needs }) {
  const [adding, setAdding] = useState(false);
  const create = async (values) => {
    await api.post('acl_groups', values);
    toast.ok(t('action.created'));
    go(['access'], { tab: 'groups', group: values.name });
  };
  const columns = (reload) => [
    { label: t('groups.group'), className: 'lead', share: 26, value: (row) => html`<${Copyable} text=${row.name} mono=${false} href=${link(['access'], { tab: 'groups', group: row.name })} />` },
    { label: t('word.description'), share: 24, value: (row) => html`<${Clip} text=${row.description} />` },
    { label: t('access.roles'), share: 24, value: (row) => html`<${Clip} text=${row.roles.map((role) => shorten(role, 60)).join(', ')} />` },
    { label: t('groups.priority'), className: 'num', value: (row) => full(row.priority) },
    { label: t('groups.members'), className: 'num', value: (row) => full(row.members) },
    { value: (row) => html`<button class="btn small ghost danger-text" onClick=${async () => { if (await removed(row)) reload(); }}>${t('action.delete')}</button>` },
  ];
  const fields = [{ name: 'name', label: t('word.name'), kind: 'string', required: true, autofocus: true }, ...about()];
  return html`<${ServerTable} path="acl_groups" needs=${needs} label=${t('access.groups')} columns=${columns} rowKey=${(row) => row.name} filters=${[{ name: 'groups', label: t('access.contains', { label: t('word.name') }), params: (text) => ({ _like_name: text }) }, { name: 'member', label: t('roster.of') }]}
      empty=${html`<${EmptyState} icon="user" title=${t('groups.none')}>${t('groups.noneHint')}<//>`}><button class="btn primary" onClick=${() => setAdding(true)}>${t('groups.add')}</button><//>
    ${adding && html`<${Dialog} title=${t('groups.add')} onClose=${() => setAdding(false)}><${Form} fields=${fields} submit=${t('action.create')} onCancel=${() => setAdding(false)} onSubmit=${create} /><//>`}`;
}

function GroupRoles({ group, reload }) {
  const offered = useApi('acl_roles', { _limit: OFFERED });
  const [busy, setBusy] = useState(false);
  const [added, setAdded] = useState(0);
  const put = async (roles) => {
    await api.put(url`acl_groups/${group.name}`, { roles });
    await reload();
  };
  const change = async (roles) => { // nothing is greyed out meanwhile: that would take the focus from whoever works by keyboard
    if (busy) return;
    setBusy(true);
    await attempt(() => put(roles));
    setBusy(false);
  };
  const remove = async (role) => {
    if (!await confirm({ title: t('groups.takeTitle'), text: t('groups.takeText', { name: shorten(role, 60) }), action: t('roster.remove') })) return;
    await change(group.roles.filter((other) => other !== role));
  };
  const add = async ({ role }) => { await put([...group.roles, role]); setAdded((n) => n + 1); };
  const options = (offered.data ?? []).filter((one) => !group.roles.includes(one.name)).map((one) => [one.name, one.name]);
  const columns = [
    { label: '#', className: 'num narrow', value: (row) => row.n + 1 },
    { label: t('roles.role'), className: 'lead', share: 70, value: (row) => html`<${Copyable} text=${row.name} mono=${false} href=${link(['access'], { tab: 'roles', role: row.name })} />` },
    { value: (row) => html`<${Moves} at=${row.n} count=${group.roles.length} name=${shorten(row.name, 60)} move=${(from, to) => change(moved(group.roles, from, to))} />
      <button type="button" class="btn icon small ghost danger-text" aria-label=${t('groups.take', { name: shorten(row.name, 60) })} title=${t('groups.take', { name: shorten(row.name, 60) })} onClick=${() => remove(row.name)}><${Icon} name="trash" size=${16} /></button>` },
  ];
  return html`<${Card} title=${t('access.roles')} flush className="group-roles">
    <p class="muted pad">${t('groups.rolesNote')}</p>
    <${Table} label=${t('access.roles')} rows=${group.roles.map((name, n) => ({ name, n }))} rowKey=${(row) => row.name} columns=${columns} empty=${html`<${EmptyState} icon="key" title=${t('groups.noRoles')} />`} />
    <div class="pad"><${Form} key=${added} fields=${[{ name: 'role', label: t('groups.addRole'), kind: 'string', required: true, options }]} submit=${t('access.addUser')} onSubmit=${add} /></div><//>`;
}

function One({ name, needs }) {
  const group = useApi(url`acl_groups/${name}`);
  const save = async (values) => { await api.put(url`acl_groups/${name}`, values); toast.ok(t('action.saved')); group.reload(); };
  if (group.error?.status === 404) return needs(group.reload);
  if (group.error && !group.data) return html`<${ErrorBox} error=${group.error} retry=${group.reload} />`;
  return html`<${Loaded} of=${group}>${() => (!group.data.name ? html`<${Gone} tab="groups" name=${name} />` : html`<div class="stack">
    <${Head} tab="groups" name=${name}><button class="btn danger" onClick=${async () => { if (await removed(group.data)) go(['access'], { tab: 'groups' }); }}>${t('action.delete')}</button><//>
    <${GroupRoles} group=${group.data} reload=${group.reload} />
    <${Card} title=${t('groups.about')}><${Form} key=${`${group.data.priority} ${group.data.description}`} fields=${about()} values=${group.data} submit=${t('action.save')} onSubmit=${save} /><//>
    <${Members} path=${membersOf('acl_groups', name)} title=${t('groups.members')} hint=${t('groups.membersNote')} removeText=${'groups.outText'} onChange=${group.reload} /></div>`)}<//>`;
}

/** The tab. The group that is open stands in the address. */
export function Groups({ needs }) {
  const { group } = route.use().query;
  return group === undefined ? html`<${List} needs=${needs} />` : html`<${One} key=${group} name=${group} needs=${needs} />`;
}
