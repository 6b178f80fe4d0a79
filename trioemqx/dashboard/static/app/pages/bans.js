// Who may not connect: client ids, user names, addresses.
import { html, useEffect, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url } from '../api.js';
import { time } from '../format.js';
import { setQuery } from '../router.js';
import { ServerTable } from '../components/table.js';
import { Badge, EmptyState, PageHead } from '../components/states.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form } from '../components/form.js';
import { attempt, toast } from '../components/toast.js';

const KINDS = { clientid: 'word.clientid', username: 'word.username', peerhost: 'clients.ip' };
const TIMES = [[300, 'bans.minutes5'], [3600, 'bans.hour'], [86400, 'bans.day'], [604800, 'bans.week'], [0, 'bans.forever']];
const FOREVER = 3155760000; // a hundred years, for "until": EMQX has no word for never

const fields = () => [
  { name: 'as', label: t('bans.what'), kind: 'select', options: Object.entries(KINDS).map(([value, label]) => [value, t(label)]), required: true, default: 'clientid', half: true },
  { name: 'who', label: t('bans.who'), kind: 'string', required: true, half: true, autofocus: true },
  { name: 'reason', label: t('bans.reason'), kind: 'string', required: true },
  { name: 'seconds', label: t('bans.howLong'), kind: 'select', options: TIMES.map(([value, label]) => [value, t(label)]), required: true, default: 3600 },
];

export default function Bans({ query }) {
  const [open, setOpen] = useState(Boolean(query.who));
  const [made, setMade] = useState(0);
  useEffect(() => { if (query.who) setOpen(true); }, [query.who]); // the address of another one while this page is open
  const close = () => { setOpen(false); setQuery({ who: '', as: '' }); };
  const add = async ({ seconds, ...rest }) => {
    const now = Math.floor(Date.now() / 1000);
    await api.post('banned', { ...rest, by: 'dashboard', at: now, until: now + (seconds || FOREVER) });
    toast.ok(t('bans.added'));
    setMade((n) => n + 1);
    close();
  };
  const remove = async (row, reload) => {
    if (!await confirm({ title: t('bans.removeTitle'), text: t('bans.removeText', { who: shorten(row.who, 60) }), action: t('bans.remove'), danger: false })) return;
    if (await attempt(() => api.delete(url`banned/${row.as}/${row.who}`), t('action.deleted'))) reload();
  };
  const columns = (reload) => [
    { label: t('bans.who'), className: 'lead', share: 25, value: (row) => html`<${Copyable} text=${row.who} />` },
    { label: t('bans.what'), value: (row) => html`<${Badge}>${KINDS[row.as] ? t(KINDS[row.as]) : row.as}<//>` },
    { label: t('bans.reason'), share: 22, value: (row) => html`<${Clip} text=${row.reason} />` },
    { label: t('bans.by'), share: 12, value: (row) => html`<${Clip} text=${row.by} />` },
    { label: t('bans.since'), className: 'nowrap', value: (row) => time(row.at) },
    { label: t('bans.until'), className: 'nowrap', value: (row) => (row.until - row.at >= FOREVER - 1 || row.until === 'infinity' ? t('word.never') : time(row.until)) },
    { value: (row) => html`<button class="btn small" onClick=${() => remove(row, reload)}>${t('bans.remove')}</button>` },
  ];
  return html`<${PageHead} title=${t('nav.bans')} note=${t('bans.note')}><button class="btn primary" onClick=${() => setOpen(true)}>${t('bans.add')}</button><//>
    <${ServerTable} key=${made} path="banned" label=${t('nav.bans')} columns=${columns} rowKey=${(row) => `${row.as} ${row.who}`} empty=${html`<${EmptyState} icon="ban" title=${t('bans.none')}>${t('bans.noneHint')}<//>`} />
    ${open && html`<${Dialog} title=${t('bans.add')} onClose=${close}><${Form} key=${query.who ?? ''} fields=${fields()} values=${query.who ? { who: query.who, as: query.as } : {}} submit=${t('bans.add')} onCancel=${close} onSubmit=${add} /><//>`}`;
}
