// Roles: lists of access rules under a name. The list of them, and one with its rules and who has it without a group.
import { html, useEffect, useRef, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { go, link, route } from '../router.js';
import { full } from '../format.js';
import { Icon } from './icons.js';
import { ServerTable, Table } from './table.js';
import { Badge, Card, EmptyState, ErrorBox, Loaded } from './states.js';
import { Clip, Copyable, shorten } from './copyable.js';
import { confirm, Dialog } from './dialog.js';
import { Form } from './form.js';
import { attempt, toast } from './toast.js';
import { Gone, Head, Members, membersOf, moved, Moves } from './roster.js';

const description = () => ({ name: 'description', label: t('word.description'), kind: 'string' });
const fresh = () => ({ topic: '', action: 'pubsub', access: 'allow' });
/** Ask, and delete; answers whether it was. The API refuses it for a role that somebody has, and says who. */
async function removed(role) {
  if (!await confirm({ title: t('roles.removeTitle'), text: t('roles.removeText', { name: shorten(role.name, 60) }), action: t('action.delete') })) return false;
  return attempt(() => api.delete(url`acl_roles/${role.name}`), t('action.deleted'));
}

function List({ needs }) {
  const [adding, setAdding] = useState(false);
  const create = async (values) => {
    await api.post('acl_roles', values);
    toast.ok(t('action.created'));
    go(['access'], { tab: 'roles', role: values.name });
  };
  const columns = (reload) => [
    { label: t('roles.role'), className: 'lead', share: 30, value: (row) => html`<${Copyable} text=${row.name} mono=${false} href=${link(['access'], { tab: 'roles', role: row.name })} />` },
    { label: t('word.description'), share: 30, value: (row) => html`<${Clip} text=${row.description} />` },
    { label: t('roles.rules'), className: 'num', value: (row) => full(row.rules) },
    { label: t('access.groups'), className: 'num', value: (row) => full(row.groups) },
    { label: t('roles.direct'), className: 'num', value: (row) => full(row.members) },
    { value: (row) => html`<button class="btn small ghost danger-text" onClick=${async () => { if (await removed(row)) reload(); }}>${t('action.delete')}</button>` },
  ];
  const fields = [{ name: 'name', label: t('word.name'), kind: 'string', required: true, autofocus: true }, description()];
  return html`<${ServerTable} path="acl_roles" needs=${needs} label=${t('access.roles')} columns=${columns} rowKey=${(row) => row.name} filters=${[{ name: 'roles', label: t('access.contains', { label: t('word.name') }), params: (text) => ({ _like_name: text }) }, { name: 'member', label: t('roster.of') }]}
      empty=${html`<${EmptyState} icon="key" title=${t('roles.none')}>${t('roles.noneHint')}<//>`}><button class="btn primary" onClick=${() => setAdding(true)}>${t('roles.add')}</button><//>
    ${adding && html`<${Dialog} title=${t('roles.add')} onClose=${() => setAdding(false)}><${Form} fields=${fields} submit=${t('action.create')} onCancel=${() => setAdding(false)} onSubmit=${create} /><//>`}`;
}

/** The rules as drafts; nothing counts before all of them are saved together. */
function Rules({ role, reload }) {
  const [rules, setRules] = useState(role.rules.map((rule, key) => ({ ...rule, key })));
  const [next, setNext] = useState(role.rules.length);
  const [failure, setFailure] = useState(null);
  const box = useRef(null);
  useEffect(() => { if (next > role.rules.length) box.current.querySelector('tbody tr:last-child input').focus(); }, [next]); // one was added
  const plain = rules.map(({ key, ...rule }) => rule);
  const dirty = JSON.stringify(plain) !== JSON.stringify(role.rules);
  const change = (at, part) => setRules(rules.map((rule, n) => (n === at ? { ...rule, ...part } : rule)));
  const add = () => { setRules([...rules, { ...fresh(), key: next }]); setNext(next + 1); };
  const save = async () => {
    setFailure(null);
    try { await api.put(url`acl_roles/${role.name}`, { rules: plain }); toast.ok(t('action.saved')); reload(); } catch (error) { setFailure(error); }
  };
  const choice = (row, part, label, options) => html`<select class="input" aria-label=${label} value=${row[part]} onChange=${(event) => change(row.n, { [part]: event.target.value })}>${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`;
  const columns = [
    { label: '#', className: 'num narrow', value: (row) => row.n + 1 },
    { label: t('word.filter'), share: 40, value: (row) => html`<input class="input mono" aria-label=${t('roles.filterOf', { number: row.n + 1 })} value=${row.topic} spellcheck=${false} onInput=${(event) => change(row.n, { topic: event.target.value })} />` },
    { label: t('access.action'), value: (row) => choice(row, 'action', t('access.action'), [['pub', t('access.pub')], ['sub', t('access.sub')], ['pubsub', t('access.pubsub')]]) },
    { label: t('access.access'), value: (row) => choice(row, 'access', t('access.access'), [['allow', t('access.allow')], ['deny', t('access.deny')]]) },
    { value: (row) => html`<${Moves} at=${row.n} count=${rules.length} name=${t('roles.ruleName', { number: row.n + 1 })} move=${(from, to) => setRules(moved(rules, from, to))} />
      <button type="button" class="btn icon small ghost" aria-label=${t('roles.removeRule', { number: row.n + 1 })} title=${t('roles.removeRule', { number: row.n + 1 })} onClick=${() => setRules(rules.filter((_, n) => n !== row.n))}><${Icon} name="trash" size=${16} /></button>` },
  ];
  return html`<${Card} title=${t('roles.rules')} flush className="role-rules" actions=${html`${dirty && html`<${Badge} kind="warn">${t('roles.unsaved')}<//>`}
      <button class="btn" data-add-rule onClick=${add}>${t('roles.addRule')}</button><button class="btn primary" data-save-rules disabled=${!dirty} onClick=${save}>${t('action.save')}</button>`}>
    <p class="muted pad">${t('roles.rulesNote')} ${t('access.topicHelp')}</p>
    ${failure && html`<div class="pad"><${ErrorBox} error=${failure} /></div>`}
    <div ref=${box}><${Table} label=${t('roles.rules')} rows=${rules.map((rule, n) => ({ ...rule, n }))} rowKey=${(row) => row.key} columns=${columns} empty=${html`<${EmptyState} icon="list" title=${t('roles.noRules')}>${t('roles.noRulesHint')}<//>`} /></div><//>`;
}

function One({ name, needs }) {
  const role = useApi(url`acl_roles/${name}`);
  const [saved, setSaved] = useState(0);
  const save = async (values) => { await api.put(url`acl_roles/${name}`, values); toast.ok(t('action.saved')); role.reload(); };
  if (role.error?.status === 404) return needs(role.reload);
  return html`<${Loaded} of=${role}>${() => (!role.data.name ? html`<${Gone} tab="roles" name=${name} />` : html`<div class="stack">
    <${Head} tab="roles" name=${name}><button class="btn danger" onClick=${async () => { if (await removed(role.data)) go(['access'], { tab: 'roles' }); }}>${t('action.delete')}</button><//>
    <${Rules} key=${`${name} ${saved}`} role=${role.data} reload=${async () => { await role.reload(); setSaved((n) => n + 1); }} />
    <${Card} title=${t('word.description')}><${Form} key=${role.data.description} fields=${[description()]} values=${role.data} submit=${t('action.save')} onSubmit=${save} /><//>
    <${Members} path=${membersOf('acl_roles', name)} title=${t('roles.directTitle')} hint=${t('roles.directNote')} removeText=${'roles.takeText'} onChange=${role.reload} /></div>`)}<//>`;
}

/** The tab. The role that is open stands in the address. */
export function Roles({ needs }) {
  const { role } = route.use().query;
  return role === undefined ? html`<${List} needs=${needs} />` : html`<${One} key=${role} name=${role} needs=${needs} />`;
}
