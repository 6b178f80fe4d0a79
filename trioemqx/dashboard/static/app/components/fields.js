// From a schema to the fields of a form: JSON Schema (plugins, modules) and EMQX's params (actions, resources).
import { said } from '../i18n.js';

const kindOf = (type, schema) => {
  const types = [].concat(type ?? 'string').filter((one) => one !== 'null');
  if (schema.enum) return 'select';
  if (schema.anyOf || schema.oneOf || types.length > 1) return 'any';
  if (types[0] === 'array' && ['object', 'array'].includes(schema.items?.type)) return 'json';
  return { integer: 'integer', number: 'number', boolean: 'boolean', array: 'lines', object: 'json', password: 'password', file: 'string', any: 'any' }[types[0]] ?? 'string';
};

const follow = (schema, root) => {
  const target = schema.$ref?.startsWith('#/') ? schema.$ref.slice(2).split('/').reduce((at, key) => at?.[key], root) : null;
  const merged = target ? { ...target, ...schema } : schema;
  const real = (merged.anyOf ?? merged.oneOf ?? []).filter((one) => one.type !== 'null');
  return real.length === 1 ? { ...real[0], ...merged } : merged;
};

const fixed = (schema) => schema.type === 'object' && schema.properties && Object.keys(schema.properties).length > 0;

/** Fields of the properties of a JSON Schema; groups within it become fields named `group.key`. `origins`: where each value comes from. */
export function fromSchema(schema, origins = {}, root = schema, before = '') {
  return Object.entries(schema.properties ?? {}).flatMap(([key, raw]) => {
    const one = follow(raw, root);
    const name = before + key;
    if (fixed(one)) return fromSchema(one, typeof origins[key] === 'object' ? origins[key] : Object.fromEntries(Object.keys(one.properties).map((inner) => [inner, origins[key]])), root, `${name}.`);
    return [{
      name,
      label: before ? name : one.title ?? key,
      help: said(one.description),
      kind: one.writeOnly ? 'password' : kindOf(one.type, one),
      options: one.enum?.map((value) => [value, String(value)]),
      required: schema.required?.includes(key),
      default: one.default,
      unit: said(one['x-unit']),
      min: one.minimum,
      max: one.maximum,
      origin: origins[key],
    }];
  });
}

/** {a: {b: 1}} as {'a.b': 1} for the names of the fields. */
export const flatten = (fields, values) => Object.fromEntries(fields.map(({ name }) => [name, name.split('.').reduce((at, key) => at?.[key], values)]));

/** The way back, for a group as a whole: what was not changed in it is sent along from `values`. */
export function nest(changed, values) {
  const result = {};
  for (const [name, value] of Object.entries(changed)) {
    const path = name.split('.');
    if (path.length > 1 && !(path[0] in result)) result[path[0]] = structuredClone(values[path[0]] ?? {});
    let at = result;
    for (const key of path.slice(0, -1)) at = at[key] ??= {};
    at[path[path.length - 1]] = value;
  }
  return result;
}

/** Fields of EMQX's `params` of an action or a resource type, in their order; `$resource` is left to the page. */
export function fromParams(params) {
  return Object.entries(params ?? {})
    .filter(([name]) => name !== '$resource')
    .sort(([, a], [, b]) => (a.order ?? 0) - (b.order ?? 0))
    .map(([name, one]) => ({
      name,
      label: said(one.title) || name,
      help: said(one.description),
      kind: one.input === 'textarea' ? 'text' : one.input === 'editable_select' ? 'any' : kindOf(one.type, one),
      options: one.enum?.map((value) => [value, String(value)]),
      required: one.required,
      default: one.default,
    }));
}

/** What stands in the control for a value. */
export function written(field, value) {
  if (field.kind === 'boolean') return Boolean(value);
  if (value === undefined || value === null) return '';
  if (field.kind === 'lines') return [].concat(value).join('\n');
  if (field.kind === 'json') return JSON.stringify(value, null, 2);
  return String(value);
}

/** The value that was written, or throws an Error with what is wrong; undefined for a field left empty. */
export function read(field, text, t) {
  if (field.kind === 'boolean') return text;
  if (text === '') {
    if (field.required) throw new Error(t('form.required'));
    return field.kind === 'string' || field.kind === 'text' || field.kind === 'password' ? '' : undefined;
  }
  if (field.kind === 'integer' || field.kind === 'number') {
    const number = Number(text);
    if (!Number.isFinite(number) || (field.kind === 'integer' && !Number.isInteger(number))) throw new Error(t(`form.${field.kind}`));
    if (field.min !== undefined && number < field.min) throw new Error(t('form.min', { min: field.min }));
    if (field.max !== undefined && number > field.max) throw new Error(t('form.max', { max: field.max }));
    return number;
  }
  if (field.kind === 'lines') return text.split('\n').map((line) => line.trim()).filter(Boolean);
  if (field.kind === 'json') {
    try { return JSON.parse(text); } catch (error) { throw new Error(t('form.json', { error: error.message })); }
  }
  if (field.kind === 'select') return field.options.find(([value]) => String(value) === text)?.[0] ?? text;
  if (field.kind === 'any') return /^(-?\d+(\.\d+)?|true|false)$/.test(text) ? JSON.parse(text) : text;
  return text;
}
