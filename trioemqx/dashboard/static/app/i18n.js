// Strings in English and Chinese. `t('clients.kick')`; the table is in strings/, one line a key.
import { remembered, store } from './lib.js';
import { inEnglish, withoutBinaries } from './english.js';
import { inChinese, learnChinese } from './said.js';
import { common } from './strings/common.js';
import { broker } from './strings/broker.js';
import { rules } from './strings/rules.js';
import { system } from './strings/system.js';
import { tools } from './strings/tools.js';

const TABLE = { ...common, ...broker, ...rules, ...system, ...tools };
export const LANGUAGES = [['en', 'English'], ['zh', '中文']];

const wished = remembered.get('language') ?? ((navigator.language || '').toLowerCase().startsWith('zh') ? 'zh' : 'en');
export const language = store(wished === 'zh' ? 'zh' : 'en');
if (language.get() === 'zh') await learnChinese().catch(console.error);
document.documentElement.lang = language.get() === 'zh' ? 'zh-CN' : 'en';

/** Switch to 'en' or 'zh', and remember it. */
export async function setLanguage(code) {
  if (code === 'zh') await learnChinese().catch(console.error);
  remembered.set('language', code);
  document.documentElement.lang = code === 'zh' ? 'zh-CN' : 'en';
  language.set(code);
}

const LONGEST = 200; // letters of a value: a sentence with a name of 60,000 is read by nobody

/** A value in a sentence: a long one without its middle. */
function inSentence(value) {
  const text = String(value);
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST / 2)}…${text.slice(-LONGEST / 4)}`;
}

/** The string of a key; `{name}` in it is replaced by `values.name`. An unknown key shows itself. */
export function t(key, values) {
  const pair = TABLE[key];
  const text = pair ? pair[language.get() === 'zh' ? 1 : 0] : key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? inSentence(values[name]) : whole)) : text;
}

/** Whether there is a string of that key: for names that come from the server, such as reasons. */
export const has = (key) => key in TABLE;

/** What the API says, a plain text or `{en, zh}`, in the language chosen; a text without a translation stays English. */
export function said(text) {
  if (text && typeof text === 'object') return text[language.get()] ?? text.en ?? '';
  return language.get() === 'zh' && typeof text === 'string' ? inChinese(text) : text ?? '';
}

/** An error of the API: as `said`, and its name in words. */
export function wrong(text) {
  if (typeof text !== 'string') return said(text);
  const plain = withoutBinaries(text);
  return language.get() === 'en' ? inEnglish(plain) : said(plain);
}
