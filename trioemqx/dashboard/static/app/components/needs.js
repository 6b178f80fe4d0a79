// Shown where a page is about something that is not loaded: what it is, and a button that loads it.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { api, url } from '../api.js';
import { attempt } from './toast.js';
import { EmptyState } from './states.js';

/** Whether an error of the API says that nobody serves the path: EMQX's modules answer 111, everything else HTTP 404. */
export const notLoaded = (error) => error?.status === 404 || error?.reason === 'module_not_loaded' || error?.message === 'module_not_loaded';

/** A module by its name. */
export function NeedsModule({ name, reload }) {
  const load = async () => { if (await attempt(() => api.put(url`modules/${name}/load`), t('modules.loaded', { name }))) reload(); };
  return html`<div class="table-box"><${EmptyState} icon="box" title=${t('needs.module', { name })}><button class="btn primary" onClick=${load}>${t('needs.load')}</button><//></div>`;
}

/** A plugin by its name; plugins are loaded on a node. */
export function NeedsPlugin({ name, reload }) {
  const load = () => attempt(async () => {
    const { data } = await api.get('nodes');
    await api.put(url`nodes/${data[0].node}/plugins/${name}/load`);
    reload();
  }, t('plugins.loaded', { name }));
  return html`<div class="table-box"><${EmptyState} icon="puzzle" title=${t('needs.plugin', { name })}><button class="btn primary" onClick=${load}>${t('needs.load')}</button><//></div>`;
}

/** Whether an error says that there is no such thing; EMQX says so with HTTP 200. */
export const notFound = (error) => error?.status === 404 || error?.code === 404;
