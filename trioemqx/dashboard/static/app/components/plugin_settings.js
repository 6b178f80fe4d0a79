// The settings of a plugin or a module as a form, made of its schema; on a page of its own and in a dialog.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { Card, EmptyState, Loaded } from './states.js';
import { Form } from './form.js';
import { flatten, fromSchema, nest } from './fields.js';
import { outcome } from './outcome.js';
import { confirm } from './dialog.js';
import { attempt, toast } from './toast.js';

const HIDDEN = '******';

export function Settings({ kind, name }) {
  const config = useApi(url`${kind}/${name}/config`);
  const [made, setMade] = useState(0);
  if (config.error?.status === 404) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.noConfig')} /></div>`;
  if (config.error?.code === 111) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.loadFirst')} /></div>`;
  const again = async () => { await config.reload(); setMade((n) => n + 1); };
  const save = async (fields, written) => {
    // Secrets that nobody touched, and values that are as they were, stay where they come from.
    const before = flatten(fields, config.data.values);
    const changed = Object.fromEntries(Object.entries(written).filter(([key, value]) => value !== HIDDEN && !(value === '' && before[key] === undefined) && JSON.stringify(value) !== JSON.stringify(before[key])));
    if (!Object.keys(changed).length) { toast.ok(t('plugin.unchanged')); return; }
    outcome((await api.put(url`${kind}/${name}/config`, { values: nest(changed, config.data.values) })).data);
    await again();
  };
  const forget = async () => {
    if (!await confirm({ title: t('plugin.forgetTitle'), text: t('plugin.forgetText', { name }), action: t('plugin.forget') })) return;
    if (await attempt(() => api.delete(url`${kind}/${name}/config`), t('action.deleted'))) await again();
  };
  return html`<${Loaded} of=${config}>${() => {
    const fields = fromSchema(config.data.schema, config.data.origins);
    if (!fields.length) return html`<div class="table-box"><${EmptyState} icon="sliders" title=${t('plugin.noConfig')} /></div>`;
    const saved = Object.values(config.data.origins ?? {}).includes('saved');
    return html`<${Card} title=${t('plugin.settings')} actions=${saved && html`<button class="btn small" onClick=${forget}>${t('plugin.forget')}</button>`}>
      <${Form} key=${made} fields=${fields} values=${flatten(fields, config.data.values)} submit=${t('action.save')} onSubmit=${(written) => save(fields, written)} /><//>`;
  }}<//>`;
}
