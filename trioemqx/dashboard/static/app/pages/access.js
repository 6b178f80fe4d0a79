// Users of the built-in authentication, rows of the access list, and roles and groups: the plugin emqx_auth_mnesia.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { Tabs } from '../components/tabs.js';
import { ServerTable } from '../components/table.js';
import { Ago, Badge, EmptyState, PageHead } from '../components/states.js';
import { Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';
import { NeedsPlugin } from '../components/needs.js';
import { Chains } from '../components/chain.js';
import { Groups } from '../components/groups.js';
import { Roles } from '../components/roles.js';

const needs = (reload) => html`<${NeedsPlugin} name="emqx_auth_mnesia" reload=${reload} />`;

function Users({ kind }) {
  const [edited, setEdited] = useState(null); // {} a new one, or a row
  const [made, setMade] = useState(0);
  const label = kind === 'username' ? t('word.username') : t('word.clientid');
  const save = async (values) => {
    if (edited[kind]) await api.put(url`auth_${kind}/${edited[kind]}`, { password: values.password });
    else await api.post(`auth_${kind}`, values);
    toast.ok(t('action.saved'));
    setEdited(null);
    setMade((n) => n + 1);
  };
  const remove = async (row, reload) => {
    if (!await confirm({ title: t('access.removeUserTitle'), text: t('access.removeUserText', { name: shorten(row[kind], 60) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`auth_${kind}/${row[kind]}`), t('action.deleted'))) reload();
  };
  const columns = (reload) => [
    { label, className: 'lead', share: 50, value: (row) => html`<${Copyable} text=${row[kind]} />` },
    { label: t('word.created'), value: (row) => html`<${Ago} value=${row.created_at} />` },
    { value: (row) => html`<button class="btn small" onClick=${() => setEdited(row)}>${t('access.newPassword')}</button>
      <button class="btn small ghost danger-text" onClick=${() => remove(row, reload)}>${t('action.delete')}</button>` },
  ];
  const fields = [
    ...(edited?.[kind] ? [] : [{ name: kind, label, kind: 'string', required: true, autofocus: true }]),
    { name: 'password', label: t('word.password'), kind: 'password', required: true, help: t('access.passwordHelp') },
  ];
  return html`<${ServerTable} key=${made} path="auth_${kind}" needs=${needs} label=${label} columns=${columns} rowKey=${(row) => row[kind]} filters=${[{ name: `_like_${kind}`, label: t('access.contains', { label }) }]}
      empty=${html`<${EmptyState} icon="key" title=${t('access.noUsers')}>${t('access.noUsersHint')}<//>`}><button class="btn primary" onClick=${() => setEdited({})}>${t('access.addUser')}</button><//>
    ${edited && html`<${Dialog} title=${edited[kind] ? shorten(edited[kind], 50) : t('access.addUser')} onClose=${() => setEdited(null)}>
      <${Form} fields=${fields} submit=${t('action.save')} onCancel=${() => setEdited(null)} onSubmit=${save} /><//>`}`;
}

const WHO = { username: 'word.username', clientid: 'word.clientid', all: 'access.everybody' };

function Acl() {
  const [kind, setKind] = useState('username');
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState(0);
  const path = kind === 'all' ? 'acl/$all' : `acl/${kind}`;
  const create = async ({ who, ...rest }) => {
    await api.post('acl', kind === 'all' ? rest : { ...rest, [kind]: who });
    toast.ok(t('action.created'));
    setAdding(false);
    setMade((n) => n + 1);
  };
  const remove = async (row, reload) => {
    if (!await confirm({ title: t('access.removeRowTitle'), text: t('access.removeRowText', { topic: shorten(row.topic, 60) }), action: t('action.delete') })) return;
    const of = kind === 'all' ? url`acl/$all/topic/${row.topic}` : url`acl/${kind}/${row[kind]}/topic/${row.topic}`;
    if (await attempt(() => api.delete(of), t('action.deleted'))) reload();
  };
  const actions = [['pub', t('access.pub')], ['sub', t('access.sub')], ['pubsub', t('access.pubsub')]];
  const columns = (reload) => [
    ...(kind === 'all' ? [] : [{ label: t(WHO[kind]), className: 'lead', share: 25, value: (row) => html`<${Copyable} text=${row[kind]} />` }]),
    { label: t('word.filter'), className: kind === 'all' ? 'lead' : '', share: 40, value: (row) => html`<${Copyable} text=${row.topic} />` },
    { label: t('access.action'), value: (row) => actions.find(([value]) => value === row.action)?.[1] ?? row.action },
    { label: t('access.access'), value: (row) => html`<${Badge} kind=${row.access === 'allow' ? 'ok' : 'danger'}>${row.access === 'allow' ? t('access.allow') : t('access.deny')}<//>` },
    { value: (row) => html`<button class="btn small ghost danger-text" onClick=${() => remove(row, reload)}>${t('action.delete')}</button>` },
  ];
  const fields = [
    ...(kind === 'all' ? [] : [{ name: 'who', label: t(WHO[kind]), kind: 'string', required: true, autofocus: true }]),
    { name: 'topic', label: t('word.filter'), kind: 'string', required: true, help: t('access.topicHelp') },
    { name: 'action', label: t('access.action'), kind: 'select', options: actions, required: true, default: 'pubsub', half: true },
    { name: 'access', label: t('access.access'), kind: 'select', options: [['allow', t('access.allow')], ['deny', t('access.deny')]], required: true, default: 'allow', half: true },
  ];
  return html`<${ServerTable} key=${kind + made} path=${path} needs=${needs} label=${t('access.acl')} columns=${columns} empty=${html`<${EmptyState} icon="key" title=${t('access.noRows')}>${t('access.noRowsHint')}<//>`}>
      <div class="btn-group" role="group" aria-label=${t('access.who')}>${Object.entries(WHO).map(([name, label]) => html`<button class="btn" aria-pressed=${kind === name} onClick=${() => setKind(name)}>${t(label)}</button>`)}</div>
      <button class="btn primary" onClick=${() => setAdding(true)}>${t('access.addRow')}</button><//>
    ${adding && html`<${Dialog} title=${t('access.addRow')} onClose=${() => setAdding(false)}><${Form} fields=${fields} submit=${t('action.create')} onCancel=${() => setAdding(false)} onSubmit=${create} /><//>`}`;
}

export default function Access() {
  return html`<${PageHead} title=${t('nav.usersAcl')} note=${t('access.note')} /><${Tabs} tabs=${[
    ['username', t('access.byUser'), () => html`<${Users} kind="username" />`],
    ['clientid', t('access.byClient'), () => html`<${Users} kind="clientid" />`],
    ['acl', t('access.acl'), () => html`<${Acl} />`],
    ['roles', t('access.roles'), () => html`<${Roles} needs=${needs} />`],
    ['groups', t('access.groups'), () => html`<${Groups} needs=${needs} />`],
    ['chain', t('chain.title'), () => html`<${Chains} />`]]} />`;
}
