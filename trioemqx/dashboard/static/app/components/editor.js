// An editor for SQL and JSON: CodeMirror 5, loaded when the first one is shown.
import { html, loadScript, loadStyle, useEffect, useLayoutEffect, useRef } from '../lib.js';

const FOLDER = 'vendor/codemirror-5.65.21/';

async function load() {
  for (const style of ['show-hint.css', 'codemirror.css']) loadStyle(FOLDER + style);
  await loadScript(`${FOLDER}codemirror.js`);
  await Promise.all(['sql.js', 'javascript.js', 'show-hint.js', 'placeholder.js', 'matchbrackets.js'].map((name) => loadScript(FOLDER + name)));
}

/** What may come where the cursor is: `words` are [{text, kind}] that begin with, or else contain, what has been typed. */
function hints(editor, words) {
  const cursor = editor.getCursor();
  const line = editor.getLine(cursor.line);
  let from = cursor.ch;
  while (from && /[\w$./]/.test(line[from - 1])) from -= 1;
  const typed = line.slice(from, cursor.ch).toLowerCase();
  const list = words.filter((word) => word.text.toLowerCase().includes(typed) && word.text.toLowerCase() !== typed)
    .sort((a, b) => b.text.toLowerCase().startsWith(typed) - a.text.toLowerCase().startsWith(typed) || a.text.localeCompare(b.text))
    .slice(0, 60)
    .map((word) => ({
      text: word.insert ?? word.text,
      render(element) {
        const kind = document.createElement('span');
        kind.className = 'hint-kind';
        kind.textContent = word.kind;
        element.append(word.text, kind);
      },
    }));
  return { list, from: { line: cursor.line, ch: from }, to: cursor };
}

/** `mode`: 'sql' or 'json'. `words()`: what completion offers (Ctrl-Space, and while typing). Tab leaves the editor, as in any field. */
export function Editor({ value, onChange, mode = 'sql', words, label, rows = 8, onRun }) {
  const area = useRef(null);
  const editor = useRef(null);
  const latest = useRef({});
  latest.current = { onChange, words, onRun };
  useEffect(() => {
    let gone = false;
    load().then(() => {
      if (gone) return;
      const complete = (made) => latest.current.words && made.showHint({ completeSingle: false, hint: () => hints(made, latest.current.words()) });
      const made = window.CodeMirror.fromTextArea(area.current, {
        mode: mode === 'sql' ? 'text/x-mysql' : { name: 'javascript', json: true },
        lineWrapping: true,
        matchBrackets: true,
        viewportMargin: Infinity,
        extraKeys: { 'Ctrl-Space': complete, 'Ctrl-Enter': () => latest.current.onRun?.(), 'Cmd-Enter': () => latest.current.onRun?.(), Tab: false, 'Shift-Tab': false },
      });
      made.getInputField().setAttribute('aria-label', label);
      made.on('change', () => latest.current.onChange(made.getValue()));
      made.on('inputRead', (_, change) => { if (/^[\w$.]$/.test(change.text[0])) complete(made); });
      editor.current = made;
    });
    return () => { gone = true; editor.current?.toTextArea(); };
  }, []);
  // Before the next key can be pressed: a value of before it would put the text back, and both would chase each other.
  useLayoutEffect(() => {
    if (editor.current && editor.current.getValue() !== value) editor.current.setValue(value);
  }, [value]);
  return html`<div class="editor rows-${rows}"><textarea ref=${area} class="input mono" rows=${rows} aria-label=${label} value=${value} onInput=${(event) => onChange(event.target.value)} /></div>`;
}
