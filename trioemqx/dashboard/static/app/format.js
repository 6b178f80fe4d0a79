// Numbers, sizes and times as people read them.
import { language } from './i18n.js';

const locale = () => (language.get() === 'zh' ? 'zh-CN' : 'en-GB');

/** All digits, grouped: 10,485,760. */
export const full = (n) => (typeof n === 'number' && Number.isFinite(n) ? n.toLocaleString(locale(), { maximumFractionDigits: 2 }) : '–');

/** Where numbers are short: in British English a million is an m, which is read as a thousandth. */
const compact = () => (language.get() === 'zh' ? 'zh-CN' : 'en-US');

/** Grouped below a million, then short: 12.35M. */
export function short(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  if (Math.abs(n) < 1e6) return n.toLocaleString(locale(), { maximumFractionDigits: Math.abs(n) < 10 ? 2 : Math.abs(n) < 1000 ? 1 : 0 });
  return n.toLocaleString(compact(), { notation: 'compact', maximumFractionDigits: 2 });
}

/** Bytes in powers of 1024: 1.5 MB. */
export function bytes(n) {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let step = 0;
  let value = n;
  while (Math.abs(value) >= 1024 && step < units.length - 1) { value /= 1024; step += 1; }
  return `${value.toLocaleString(locale(), { maximumFractionDigits: step && value < 100 ? 1 : 0 })} ${units[step]}`;
}

/** Milliseconds, and seconds once there are ten of them: 12.5 ms, 3,500 ms, 12.5 s. */
export const milliseconds = (n) => (Math.abs(n) < 10000 ? `${short(n)} ms` : `${short(n / 1000)} s`);

/** A share of 100. */
export const percent = (n) => (Number.isFinite(n) ? `${n.toLocaleString(locale(), { maximumFractionDigits: n < 10 ? 1 : 0 })} %` : '–');

/** Any of the API's times as a Date: RFC 3339, "2026-11-28 21:50:59" (UTC), seconds, milliseconds, microseconds, nanoseconds. */
export function date(value) {
  if (value === undefined || value === null || value === '' || value === 'undefined' || value === 'infinity') return null;
  if (typeof value === 'number' || /^\d+$/.test(value)) {
    let n = Number(value);
    while (n > 1e13) n /= 1000;
    const found = new Date(n < 1e11 ? n * 1000 : n);
    return Number.isNaN(found.getTime()) ? null : found;
  }
  const text = /^\d{4}-\d{2}-\d{2} \d{1,2}:\d{1,2}:\d{1,2}$/.test(value) ? isoOf(value) : value;
  const found = new Date(text);
  return Number.isNaN(found.getTime()) ? null : found;
}

const isoOf = (text) => text.replace(' ', 'T').replace(/T(\d{1,2}):(\d{1,2}):(\d{1,2})$/, (_, ...part) => `T${part.slice(0, 3).map((x) => x.padStart(2, '0')).join(':')}Z`);

/** Day and time in the browser's time zone. */
export function time(value) {
  const at = date(value);
  return at ? at.toLocaleString(locale(), { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }) : '–';
}

/** How long ago, or in how long. */
export function ago(value) {
  const at = date(value);
  if (!at) return '–';
  const seconds = (at.getTime() - Date.now()) / 1000;
  const words = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' });
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit);
  }
  return words.format(Math.round(seconds), 'second');
}

/** Seconds as the two largest units: 3 h 12 min. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  const zh = language.get() === 'zh';
  const parts = [[86400, zh ? '天' : 'd'], [3600, zh ? '小时' : 'h'], [60, zh ? '分' : 'min'], [1, zh ? '秒' : 's']];
  let rest = Math.round(seconds);
  const said = [];
  for (const [size, unit] of parts) {
    if (rest >= size || (size === 1 && !said.length)) { said.push(`${Math.floor(rest / size)} ${unit}`); rest %= size; }
    if (said.length === 2) break;
  }
  return said.join(' ');
}

const SECONDS = { day: 86400, hour: 3600, minute: 60, second: 1 };

/** EMQX's "1 days, 3 hours, 12 minutes, 5 seconds" in the language chosen. */
export function uptime(text) {
  const parts = [...String(text ?? '').matchAll(/(\d+) (day|hour|minute|second)s?/g)];
  return parts.length ? duration(parts.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0)) : text;
}
