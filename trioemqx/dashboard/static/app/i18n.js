// Strings in English and Chinese. `t('clients.kick')`; the table is in strings/, one line a key.
import { remembered, store } from './lib.js';
import { common } from './strings/common.js';
import { broker } from './strings/broker.js';
import { rules } from './strings/rules.js';
import { system } from './strings/system.js';
import { tools } from './strings/tools.js';

const TABLE = { ...common, ...broker, ...rules, ...system, ...tools };
export const LANGUAGES = [['en', 'English'], ['zh', '中文']];

const wished = remembered.get('language') ?? ((navigator.language || '').toLowerCase().startsWith('zh') ? 'zh' : 'en');
export const language = store(wished === 'zh' ? 'zh' : 'en');
document.documentElement.lang = language.get() === 'zh' ? 'zh-CN' : 'en';

/** Switch to 'en' or 'zh', and remember it. */
export function setLanguage(code) {
  remembered.set('language', code);
  document.documentElement.lang = code === 'zh' ? 'zh-CN' : 'en';
  language.set(code);
}

/** The string of a key; `{name}` in it is replaced by `values.name`. An unknown key shows itself. */
export function t(key, values) {
  const pair = TABLE[key];
  const text = pair ? pair[language.get() === 'zh' ? 1 : 0] : key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole)) : text;
}

/** Whether there is a string of that key: for names that come from the server, such as reasons. */
export const has = (key) => key in TABLE;

/** `{en, zh}` of the API, or a plain text, in the language chosen. */
export function pick(text) {
  if (text && typeof text === 'object') return text[language.get()] ?? text.en ?? '';
  return text ?? '';
}
