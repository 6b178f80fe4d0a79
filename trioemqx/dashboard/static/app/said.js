// What the server says, in Chinese. Its texts are English, in its code; `chinese/` has them beside their translation.
const exact = new Map();
const patterns = []; // [English around the {}, Chinese around its {} and {*}], the longest first
const DEEPEST = 3; // texts inside of texts

/** Fetch the table; English readers do not need it. */
export async function learnChinese() {
  if (exact.size) return;
  const parts = await Promise.all([import('./chinese/settings.js'), import('./chinese/plugins.js'), import('./chinese/api.js'), import('./chinese/messages.js')]);
  for (const [english, chinese] of parts.flatMap((part) => Object.values(part)).flatMap(Object.entries)) {
    if (english.includes('{}')) patterns.push([english.split('{}'), chinese]);
    else exact.set(english, chinese);
  }
  patterns.sort(([one], [other]) => other.join('').length - one.join('').length);
}

/** What stands for the {} of a pattern in a text, or null. */
function caught(around, text) {
  const [first, last] = [around[0], around[around.length - 1]];
  if (!text.startsWith(first) || !text.endsWith(last)) return null;
  const end = text.length - last.length;
  const values = [];
  let at = first.length;
  for (const part of around.slice(1, -1)) {
    const next = text.indexOf(part, at);
    if (next < 0 || next > end) return null;
    values.push(text.slice(at, next));
    at = next + part.length;
  }
  return at > end ? null : [...values, text.slice(at, end)];
}

/** A text of the server in Chinese; one that nobody has translated stays as it is. */
export function inChinese(text, depth = 0) {
  if (exact.has(text)) return exact.get(text);
  for (const [around, chinese] of depth < DEEPEST ? patterns : []) {
    const values = caught(around, text);
    if (values) return chinese.replace(/\{(\*?)\}/g, (_, deeper) => (deeper ? inChinese(values.shift(), depth + 1) : values.shift()));
  }
  return text;
}
