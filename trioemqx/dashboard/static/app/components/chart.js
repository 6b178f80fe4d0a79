// Line charts: uPlot, loaded when the first chart is shown. The figures are those of feed.js.
import { html, loadScript, loadStyle, useEffect, useRef, useState } from '../lib.js';
import { language } from '../i18n.js';
import { colour, theme } from '../theme.js';
import { bytes, short } from '../format.js';

const FOLDER = 'vendor/uplot-1.6.32/';
loadStyle(`${FOLDER}uplot.css`);

// Steps of an axis of bytes, so that it reads 4 kB, 8 kB.
const BINARY = Array.from({ length: 40 }, (_, n) => 2 ** n);

// Steps of an axis of things that are counted.
const WHOLE = Array.from({ length: 12 }, (_, n) => [1, 2, 5].map((step) => step * 10 ** n)).flat();

const clock = (seconds, withSeconds) => new Date(seconds * 1000).toLocaleTimeString(language.get() === 'zh' ? 'zh-CN' : 'en-GB', { hour: '2-digit', minute: '2-digit', second: withSeconds ? '2-digit' : undefined, hour12: false });

function options(box, series, format, height, whole) {
  const muted = colour('--muted');
  const line = colour('--line');
  const font = '12px system-ui, sans-serif';
  const grid = { stroke: line, width: 1 };
  const paths = window.uPlot.paths.linear();
  return {
    width: box.clientWidth,
    height,
    padding: [8, 26, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { show: false },
    scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
    axes: [
      { stroke: muted, font, grid: { show: false }, ticks: { show: false }, size: 26, gap: 6, space: 76, values: (u, splits) => { const span = u.scales.x.max - u.scales.x.min; return splits.map((at) => clock(at, span < 600)); } },
      { stroke: muted, font, grid, ticks: { show: false }, size: 58, space: 34, incrs: format === bytes ? BINARY : whole ? WHOLE : undefined, values: (_, splits) => splits.map(format) },
    ],
    series: [{}, ...series.map((one, n) => {
      const stroke = colour(`--chart-${(n % 6) + 1}`);
      return { label: one.label, stroke, width: 1.8, paths, points: { show: false }, spanGaps: false, fill: series.length === 1 ? stroke.replace('rgb(', 'rgba(').replace(')', ', .12)') : undefined };
    })],
  };
}

/** `data`: {t: [seconds], name: [numbers]}; `series`: [{name, label}]; `format` writes a value; `whole`: of what there are no halves. The legend shows the last values, or those under the pointer. */
export function Chart({ data, series, format = short, height = 190, version, label, whole }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const [ready, setReady] = useState(Boolean(window.uPlot));
  const shade = theme.use();
  useEffect(() => { loadScript(`${FOLDER}uplot.js`).then(() => setReady(true)); }, []);
  const rows = () => [data.t, ...series.map((one) => data[one.name] ?? data.t.map(() => null))];
  const names = series.map((one) => one.name).join();
  useEffect(() => {
    if (!ready) return undefined;
    const made = options(box.current, series, format, height, whole);
    made.hooks = { setCursor: [(u) => setAt(u.cursor.idx ?? null)] };
    plot.current = new window.uPlot(made, rows(), box.current);
    const watch = new ResizeObserver(() => plot.current?.setSize({ width: box.current.clientWidth, height }));
    watch.observe(box.current);
    return () => { watch.disconnect(); plot.current.destroy(); plot.current = null; };
  }, [ready, names, shade, data === null]);
  useEffect(() => { plot.current?.setData(rows()); }, [version, data]);
  const last = at !== null && at < data.t.length ? at : data.t.length - 1;
  return html`<figure class="chart" aria-label=${label}>
    <figcaption class="legend">
      ${series.map((one, n) => html`<span key=${one.name} class="legend-item"><i class="swatch c${(n % 6) + 1}" />${one.label} <b>${last >= 0 && data[one.name] ? format(data[one.name][last]) : '–'}</b></span>`)}
      <span class="legend-time">${at !== null && last >= 0 ? clock(data.t[last], true) : ''}</span>
    </figcaption>
    <div ref=${box} class="chart-box" data-points=${data.t.length} />
  </figure>`;
}

/** A small line without axes, for cards. */
export function Spark({ values, width = 120, height = 32 }) {
  const shown = (values ?? []).slice(-60);
  if (shown.length < 2) return html`<svg class="spark" width=${width} height=${height} aria-hidden="true" />`;
  const high = Math.max(...shown, 1e-9);
  const points = shown.map((value, n) => `${((n / (shown.length - 1)) * width).toFixed(1)},${(height - 2 - (Math.max(0, value ?? 0) / high) * (height - 4)).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" width=${width} height=${height} aria-hidden="true">
    <polygon points="0,${height} ${points.join(' ')} ${width},${height}" /><polyline points=${points.join(' ')} />
  </svg>`;
}
