// The one place that knows where Preact and htm are.
export {
  h, html, render, createContext, useState, useReducer, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext,
  useErrorBoundary,
} from '../vendor/htm-3.1.1/htm-preact.js';
import { useEffect, useRef, useState } from '../vendor/htm-3.1.1/htm-preact.js';

const loading = new Map();

/** Load a classic script of `vendor/` once; resolves when it has run. For libraries that are no modules. */
export function loadScript(path) {
  if (!loading.has(path)) {
    loading.set(path, new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = path;
      script.async = false;
      script.onload = resolve;
      script.onerror = () => { loading.delete(path); reject(new Error(`cannot load ${path}`)); };
      document.head.append(script);
    }));
  }
  return loading.get(path);
}

/** Load a style sheet of `vendor/` once, in front of our own, which may then override it. */
export function loadStyle(path) {
  if (document.querySelector(`link[href="${path}"]`)) return;
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = path;
  document.head.prepend(link);
}

/** A value that many components watch: `get`, `set`, and the hook `use`. */
export function store(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) { value = next; for (const watcher of [...watchers]) watcher(); },
    watch(watcher) { watchers.add(watcher); return () => watchers.delete(watcher); },
    use() {
      const [, again] = useState(0);
      useEffect(() => this.watch(() => again((n) => n + 1)), []);
      return value;
    },
  };
}

/** What a page keeps between visits in this browser; a browser that forbids it just forgets. */
export const remembered = {
  get(key, otherwise = null) { try { return localStorage.getItem(`trioemqx.${key}`) ?? otherwise; } catch { return otherwise; } },
  set(key, value) { try { localStorage.setItem(`trioemqx.${key}`, value); } catch { /* private window */ } },
};

/** Call `act` each `seconds` while the page can be seen. 0: never. */
export function useInterval(act, seconds) {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    if (!seconds) return undefined;
    const timer = setInterval(() => { if (!document.hidden) latest.current(); }, seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
}
