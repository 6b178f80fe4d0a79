// What roles and groups have in common: the way back to the list, who is in one, and an order that is changed by buttons.
import { html, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, url } from '../api.js';
import { link } from '../router.js';
import { full } from '../format.js';
import { Icon } from './icons.js';
import { ServerTable } from './table.js';
import { Badge, EmptyState } from './states.js';
import { Copyable, shorten } from './copyable.js';
import { confirm, Dialog } from './dialog.js';
import { Form } from './form.js';
import { attempt, toast } from './toast.js';

const AT_ONCE = 1000; // members in one request
const KINDS = { clientid: 'word.clientid', username: 'word.username' };

/** The name of a role or a group under its tab, with a link to the list; `children` are buttons. */
export const Head = ({ tab, name, children }) => html`<div class="row roster-head">
  <a class="btn icon ghost" href=${link(['access'], { tab })} aria-label=${t('roster.back')} title=${t('roster.back')}><${Icon} name="previous" /></a>
  <h2 class="grow"><${Copyable} text=${name} mono=${false} /></h2>${children}</div>`;

/** Shown where there is none of that name, perhaps any more. */
export const Gone = ({ tab, name }) => html`<div class="table-box"><${EmptyState} icon="key" title=${t('plugin.unknown', { name: shorten(name, 60) })}><a class="btn" href=${link(['access'], { tab })}>${t('roster.back')}</a><//></div>`;

/** Two buttons that move one of a list; `name` is what it is called for who cannot see it. */
export const Moves = ({ at, count, name, move }) => html`
  <button type="button" class="btn icon small ghost" data-move="up" disabled=${at === 0} aria-label=${t('roster.up', { name })} title=${t('roster.up', { name })} onClick=${() => move(at, at - 1)}><${Icon} name="up" size=${16} /></button>
  <button type="button" class="btn icon small ghost" data-move="down" disabled=${at === count - 1} aria-label=${t('roster.down', { name })} title=${t('roster.down', { name })} onClick=${() => move(at, at + 1)}><${Icon} name="down" size=${16} /></button>`;

/** A list with one of its items at another place. */
export function moved(list, from, to) {
  const result = [...list];
  result.splice(to, 0, ...result.splice(from, 1));
  return result;
}

/** Who is in a group, or has a role without one: a page at a time, for there may be a hundred thousand. `path` is the API's. */
export function Members({ path, title, hint, removeText, onChange }) {
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState(0);
  const changed = () => { setMade((n) => n + 1); onChange(); };
  const add = async ({ kind, names }) => {
    const refused = [];
    for (let at = 0; at < names.length; at += AT_ONCE) {
      const { data } = await api.post(path, names.slice(at, at + AT_ONCE).map((name) => ({ [kind]: name })));
      refused.push(...data.filter((one) => one.result !== 'ok'));
    }
    setAdding(false);
    changed();
    if (refused.length) toast.error(new Error(t('roster.refused', { count: full(refused.length), name: shorten(refused[0][kind], 40), reason: said(refused[0].result.replace(/^\{error,(.*)\}$/, '$1')) })));
    else toast.ok(t('roster.added', { count: full(names.length) }));
  };
  const remove = async (row, reload) => {
    const [[kind, name]] = Object.entries(row);
    if (!await confirm({ title: t('roster.removeTitle'), text: t(removeText, { name: shorten(name, 60) }), action: t('roster.remove') })) return;
    if (await attempt(() => api.delete(path, { [kind]: name }), t('roster.removed'))) { reload(); onChange(); }
  };
  const columns = (reload) => [
    { label: t('roster.member'), className: 'lead', share: 60, value: (row) => html`<${Copyable} text=${Object.values(row)[0]} />` },
    { label: t('word.type'), value: (row) => html`<${Badge}>${t(KINDS[Object.keys(row)[0]])}<//>` },
    { value: (row) => html`<button class="btn small ghost danger-text" onClick=${() => remove(row, reload)}>${t('roster.remove')}</button>` },
  ];
  const fields = [
    { name: 'kind', label: t('word.type'), kind: 'select', options: Object.entries(KINDS).map(([kind, label]) => [kind, t(label)]), required: true, default: 'clientid' },
    { name: 'names', label: t('roster.names'), kind: 'lines', required: true, rows: 6, help: t('roster.namesHelp') },
  ];
  return html`<section class="stack" data-members><div><h3>${title}</h3><p class="muted">${hint}</p></div>
    <${ServerTable} key=${made} path=${path} label=${title} columns=${columns} rowKey=${(row) => Object.entries(row)[0].join(' ')} filters=${[{ name: 'names', label: t('roster.contains'), params: (text) => ({ _like_name: text }) }]}
      empty=${html`<${EmptyState} icon="user" title=${t('roster.nobody')} />`}><button class="btn" data-add-members onClick=${() => setAdding(true)}>${t('roster.addMembers')}</button><//>
    ${adding && html`<${Dialog} title=${t('roster.addMembers')} onClose=${() => setAdding(false)}><${Form} fields=${fields} submit=${t('roster.addMembers')} onCancel=${() => setAdding(false)} onSubmit=${add} /><//>`}</section>`;
}

/** The path of the members of a role or a group. */
export const membersOf = (what, name) => url`${what}/${name}/members`;
