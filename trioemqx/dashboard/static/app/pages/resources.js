// What actions send to: web servers, other brokers. Forms come from the types' schemas.
import { html, useState } from '../lib.js';
import { said, t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { setQuery } from '../router.js';
import { Refresh, Table } from '../components/table.js';
import { Badge, EmptyState, Loaded, PageHead, Skeleton } from '../components/states.js';
import { NeedsPlugin, notLoaded } from '../components/needs.js';
import { Clip, Copyable, shorten } from '../components/copyable.js';
import { confirm, Dialog } from '../components/dialog.js';
import { Form, Field } from '../components/form.js';
import { fromParams } from '../components/fields.js';
import { attempt, toast } from '../components/toast.js';

const USUAL = 'web_hook'; // the type that a new one has at first
const alive = (row) => (row.status ?? []).every((one) => one.is_alive);

function Edit({ row, types, first, onClose, reload }) {
  const [type, setType] = useState(row?.type ?? first ?? (types.find((one) => one.name === USUAL) ?? types[0])?.name);
  const chosen = types.find((one) => one.name === type);
  const [testing, setTesting] = useState(false);
  const fields = [{ name: ' description', label: t('word.description'), kind: 'string' }, ...fromParams(chosen?.params)];
  const save = async ({ ' description': description = '', ...config }) => {
    if (testing) {
      await api.post('resources?test=true', { type, config, description });
      toast.ok(t('resources.testWorks'));
      return;
    }
    if (row) await api.put(url`resources/${row.id}`, { config, description });
    else await api.post('resources', { type, config, description });
    toast.ok(t('action.saved'));
    onClose();
    reload();
  };
  return html`<${Dialog} wide title=${row ? row.id : t('resources.create')} onClose=${onClose} footer=${html`
      <button class="btn" form="resource" onClick=${() => setTesting(true)}>${t('resources.test')}</button><span class="grow" />
      <button type="button" class="btn" onClick=${onClose}>${t('action.cancel')}</button><button class="btn primary" form="resource" onClick=${() => setTesting(false)}>${t('action.save')}</button>`}>
    <div class="stack">${!row && html`<${Field} field=${{ name: 'type', label: t('word.type'), kind: 'select', required: true, options: types.map((one) => [one.name, said(one.title)]), help: said(chosen?.description) }} text=${type} onChange=${setType} />`}
    <${Form} key=${type} id="resource" fields=${fields} values=${row ? { ...row.config, ' description': row.description } : {}} onSubmit=${save} /></div><//>`;
}

export default function Resources({ query }) {
  const resources = useApi('resources', null, { every: 10 });
  const types = useApi('resource_types');
  const [open, setOpen] = useState(query.add ? 'new' : null);
  const close = () => { setOpen(null); setQuery({ add: '' }); };
  const titleOf = (name) => said(types.data?.find((one) => one.name === name)?.title) || name;
  const connect = (row) => attempt(() => api.post(url`resources/${row.id}`), t('resources.connected')).then(resources.reload);
  const remove = async (row) => {
    if (!await confirm({ title: t('resources.deleteTitle'), text: t('resources.deleteText', { id: shorten(row.id, 60) }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`resources/${row.id}`), t('action.deleted'))) resources.reload();
  };
  if (notLoaded(resources.error)) return html`<${PageHead} title=${t('nav.resources')} note=${t('resources.note')} /><${NeedsPlugin} name="emqx_rule_engine" reload=${() => { resources.reload(); types.reload(); }} />`;
  return html`<${PageHead} title=${t('nav.resources')} note=${t('resources.note')}><button class="btn primary" onClick=${() => setOpen('new')}>${t('resources.create')}</button><${Refresh} reload=${resources.reload} /><//>
    <${Loaded} of=${resources}>${() => html`<${Table} label=${t('nav.resources')} rows=${resources.data} rowKey=${(row) => row.id} columns=${[
      { label: t('resources.resource'), className: 'lead', share: 45, value: (row) => html`<div class="setting"><${Copyable} text=${row.id} /><${Clip} text=${row.description} /></div>` },
      { label: t('word.type'), value: (row) => titleOf(row.type) },
      { label: t('word.status'), value: (row) => html`<${Badge} kind=${alive(row) ? 'ok' : 'danger'}>${alive(row) ? t('resources.up') : t('resources.down')}<//>` },
      { value: (row) => html`<button class="btn small" onClick=${() => setOpen(row)}>${t('action.edit')}</button>
        <button class="btn small ghost" onClick=${() => connect(row)}>${t('resources.connect')}</button>
        <button class="btn small ghost danger-text" onClick=${() => remove(row)}>${t('action.delete')}</button>` },
    ]} empty=${html`<${EmptyState} icon="database" title=${t('resources.none')}>${t('resources.noneHint')}<//>`} />`}<//>
    ${open && (types.data ? html`<${Edit} row=${open === 'new' ? null : open} types=${types.data} first=${query.add} onClose=${close} reload=${resources.reload} />` : html`<${Skeleton} />`)}`;
}
