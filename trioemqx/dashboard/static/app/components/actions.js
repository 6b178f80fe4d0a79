// The actions of a rule: forms from their schemas, each with actions to fall back on.
import { html } from '../lib.js';
import { said, t } from '../i18n.js';
import { link } from '../router.js';
import { Field } from './form.js';
import { fromParams, read, written } from './fields.js';
import { Icon } from './icons.js';
import { Badge, Num } from './states.js';

/** An action of the API as a draft: the texts of its fields. */
export const draftOf = (action, definitions) => ({
  name: action.name,
  id: action.id,
  texts: Object.fromEntries([...fromParams(definitions.get(action.name)?.params).map((field) => [field.name, written(field, action.params?.[field.name] ?? field.default)]), ['$resource', action.params?.$resource ?? '']]),
  fallbacks: (action.fallbacks ?? []).map((one) => draftOf(one, definitions)),
  metrics: action.metrics,
});

/** Drafts as the API wants them; throws an Error that names the action and the field. */
export const actionsOf = (drafts, definitions) => drafts.map((draft) => {
  const definition = definitions.get(draft.name);
  const params = {};
  for (const field of fromParams(definition?.params)) {
    try {
      const value = read(field, draft.texts[field.name] ?? written(field, field.default), t);
      if (value !== undefined) params[field.name] = value;
    } catch (error) { throw new Error(`${said(definition.title)}, ${field.label}: ${error.message}`); }
  }
  if (definition?.types?.length) {
    if (!draft.texts.$resource) throw new Error(`${said(definition.title)}: ${t('rule.resourceNeeded')}`);
    params.$resource = draft.texts.$resource;
  }
  return { ...(draft.id ? { id: draft.id } : {}), name: draft.name, params, fallbacks: actionsOf(draft.fallbacks, definitions) };
});

function ResourceField({ definition, resources, value, onChange }) {
  const fitting = resources.filter((one) => definition.types.includes(one.type));
  return html`<${Field} field=${{ name: '$resource', label: t('rule.resource'), kind: 'select', required: true, options: [['', t('rule.choose')], ...fitting.map((one) => [one.id, `${one.id} ${one.description ? `(${one.description})` : ''}`])],
    help: html`<a href=${link(['resources'], { add: definition.types[0] })}>${t('rule.newResource')}</a>` }} text=${value ?? ''} onChange=${onChange} />`;
}

function Action({ draft, definitions, resources, onChange, onRemove, depth }) {
  const definition = definitions.get(draft.name);
  const set = (name, text) => onChange({ ...draft, texts: { ...draft.texts, [name]: text } });
  const [metrics] = draft.metrics ?? [];
  return html`<div class="action" data-action=${draft.name}>
    <div class="row"><h3 class="grow">${definition ? said(definition.title) : draft.name} <span class="muted mono">${draft.name}</span></h3>
      ${metrics && html`<${Badge} kind="ok">${t('rule.success')} <${Num} value=${metrics.success} /><//>${metrics.failed > 0 && html`<${Badge} kind="danger">${t('rule.failed')} <${Num} value=${metrics.failed} /><//>`}`}
      <button type="button" class="btn icon small ghost danger-text" aria-label=${t('rule.removeAction')} title=${t('rule.removeAction')} onClick=${onRemove}><${Icon} name="trash" size=${16} /></button></div>
    ${definition?.description && html`<p class="muted">${said(definition.description)}</p>`}
    <div class="form">
      ${definition?.types?.length > 0 && html`<${ResourceField} definition=${definition} resources=${resources} value=${draft.texts.$resource} onChange=${(text) => set('$resource', text)} />`}
      ${fromParams(definition?.params).map((field) => html`<${Field} key=${field.name} field=${field} text=${draft.texts[field.name] ?? written(field, field.default)} onChange=${(text) => set(field.name, text)} />`)}
    </div>
    ${depth === 0 && html`<div class="fallbacks"><p class="muted">${t('rule.fallbacks')}</p>
      <${Actions} drafts=${draft.fallbacks} definitions=${definitions} resources=${resources} depth=${1} onChange=${(fallbacks) => onChange({ ...draft, fallbacks })} /></div>`}
  </div>`;
}

/** The list with a choice of one more. `definitions`: Map of name → action of the API. */
export function Actions({ drafts, definitions, resources, onChange, depth = 0 }) {
  const add = (event) => {
    const { value } = event.target;
    event.target.value = '';
    if (value) onChange([...drafts, draftOf({ name: value }, definitions)]);
  };
  return html`<div class="actions-list">
    ${drafts.map((draft, n) => html`<${Action} key=${draft.id ?? n} draft=${draft} definitions=${definitions} resources=${resources} depth=${depth}
      onChange=${(next) => onChange(drafts.map((old, at) => (at === n ? next : old)))} onRemove=${() => onChange(drafts.filter((_, at) => at !== n))} />`)}
    <select class="input add-action" aria-label=${depth ? t('rule.addFallback') : t('rule.addAction')} data-add-action=${depth} onChange=${add}>
      <option value="">${depth ? t('rule.addFallback') : t('rule.addAction')}</option>
      ${[...definitions.values()].map((one) => html`<option value=${one.name}>${said(one.title)}</option>`)}
    </select>
  </div>`;
}
