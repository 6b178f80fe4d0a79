// Forms from fields: [{name, label, kind, help, required, default, options, unit, placeholder}]; see fields.js for the kinds.
import { html, useEffect, useRef, useState } from '../lib.js';
import { has, t } from '../i18n.js';
import { ErrorBox, Badge } from './states.js';
import { read, written } from './fields.js';

let ids = 0;

/** The control of one field. Also used alone, for what is no form. */
export function Control({ field, id, text, onChange, invalid }) {
  const common = { id, class: 'input', 'aria-invalid': invalid ? 'true' : undefined, 'aria-describedby': `${id}-help`, required: field.required, onInput: (event) => onChange(event.target.value) };
  if (field.kind === 'boolean') return html`<input type="checkbox" class="switch" id=${id} checked=${text} aria-describedby="${id}-help" onChange=${(event) => onChange(event.target.checked)} />`;
  if (field.kind === 'select') {
    return html`<select ...${common} value=${text}>${!field.required && field.default === undefined && html`<option value="">–</option>`}${field.options.map(([value, label]) => html`<option value=${String(value)}>${label}</option>`)}</select>`;
  }
  if (['text', 'lines', 'json'].includes(field.kind)) return html`<textarea ...${common} rows=${field.rows ?? 4} spellcheck=${false} class="input ${field.kind === 'lines' ? '' : 'mono'}" placeholder=${field.placeholder} value=${text} />`;
  const type = { password: 'password', integer: 'number', number: 'number', datetime: 'datetime-local' }[field.kind] ?? 'text';
  return html`<span class="with-unit"><input ...${common} type=${type} step=${field.kind === 'number' ? 'any' : undefined} list=${field.options ? `${id}-list` : undefined}
      autocomplete=${field.autocomplete ?? (field.kind === 'password' ? 'new-password' : 'off')} placeholder=${field.placeholder} value=${text} data-autofocus=${field.autofocus} />
    ${field.options && html`<datalist id="${id}-list">${field.options.map(([value]) => html`<option value=${String(value)} />`)}</datalist>`}
    ${field.unit && html`<span class="unit">${field.unit}</span>`}</span>`;
}

/** A label, its control, the help and what is wrong. */
export function Field({ field, text, onChange, error }) {
  const [id] = useState(() => { ids += 1; return `f${ids}`; });
  return html`<div class="field ${field.kind === 'boolean' ? 'inline' : ''} ${field.half ? 'half' : ''}">
    <label for=${id}>${field.label}${field.required && html`<span class="required" aria-hidden="true"> *</span>`} ${field.origin && html`<${Badge} kind=${field.origin === 'default' ? '' : 'info'}>${has(`origin.${field.origin}`) ? t(`origin.${field.origin}`) : field.origin}<//>`}</label>
    <${Control} field=${field} id=${id} text=${text} onChange=${onChange} invalid=${error} />
    <div id="${id}-help" class="field-help">${error ? html`<span class="field-error">${error}</span>` : field.help}</div>
  </div>`;
}

/** The texts of all fields, to begin with. */
const start = (fields, values) => Object.fromEntries(fields.map((field) => [field.name, written(field, values?.[field.name] ?? field.default)]));

/** A whole form. `onSubmit(values)` may throw; what it throws is shown. `values` fills it in, `fields` may be a function of the texts.
 *  `id` lets a button outside submit it: <button form=${id}>. `onDraft(texts)` hears of every change. */
export function Form({ fields, values, onSubmit, submit, onCancel, id, onDraft, children }) {
  const listed = (texts) => (typeof fields === 'function' ? fields(texts) : fields);
  const [texts, setTexts] = useState(() => start(listed(values ?? {}), values));
  const [errors, setErrors] = useState({});
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(0);
  const form = useRef(null);
  const shown = listed(texts);
  useEffect(() => { if (tried) form.current.querySelector('[aria-invalid]')?.focus(); }, [tried]);
  useEffect(() => { if (failure) form.current.querySelector('[role=alert]')?.scrollIntoView({ block: 'nearest' }); }, [failure]);
  useEffect(() => onDraft?.(texts), [texts]);
  const textOf = (field) => texts[field.name] ?? written(field, values?.[field.name] ?? field.default);
  const change = (name, text) => { setTexts((old) => ({ ...old, [name]: text })); setErrors((old) => ({ ...old, [name]: undefined })); };
  const send = async (event) => {
    event.preventDefault();
    if (busy) return;
    const result = {};
    const wrong = {};
    for (const field of shown) {
      try { const value = read(field, textOf(field), t); if (value !== undefined) result[field.name] = value; } catch (error) { wrong[field.name] = error.message; }
    }
    setErrors(wrong);
    if (Object.keys(wrong).length) { setTried(tried + 1); return; }
    setBusy(true);
    setFailure(null);
    try { await onSubmit(result); } catch (error) { setFailure(error); }
    setBusy(false);
  };
  return html`<form id=${id} ref=${form} class="form" onSubmit=${send} novalidate>
    ${shown.map((field) => html`<${Field} key=${field.name} field=${field} text=${textOf(field)} error=${errors[field.name]} onChange=${(text) => change(field.name, text)} />`)}
    ${children}
    ${failure && html`<${ErrorBox} error=${failure} />`}
    ${submit && html`<div class="form-foot">${onCancel && html`<button type="button" class="btn" onClick=${onCancel}>${t('action.cancel')}</button>`}
      <button class="btn primary" aria-busy=${busy}>${submit}</button></div>`}
  </form>`;
}
