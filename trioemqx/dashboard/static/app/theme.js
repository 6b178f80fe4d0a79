// Light, dark, or what the system says. The colours themselves are in css/tokens.css.
import { remembered, store } from './lib.js';

export const theme = store(remembered.get('theme', 'auto'));
export const THEMES = ['auto', 'light', 'dark'];
const system = matchMedia('(prefers-color-scheme: dark)');

function apply() {
  if (theme.get() === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.get();
}

/** 'auto', 'light' or 'dark'; remembered in this browser. */
export function setTheme(name) {
  remembered.set('theme', name);
  theme.set(name);
}

/** Whether it is dark now. */
export const isDark = () => (theme.get() === 'auto' ? system.matches : theme.get() === 'dark');

/** The other one of light and dark. */
export const toggleTheme = () => setTheme(isDark() ? 'light' : 'dark');

/** A token as a colour that a canvas understands. */
export function colour(token) {
  const probe = document.createElement('i');
  probe.style.color = `var(${token})`;
  probe.hidden = true;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

theme.watch(apply);
system.addEventListener('change', () => theme.set(theme.get()));
apply();
