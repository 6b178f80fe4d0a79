// Line icons on a grid of 24, drawn for this dashboard.
import { html } from '../lib.js';

const PATHS = {
  gauge: 'M4 17a8.500 8.500 0 1 1 16 0 M12 15l4-5 M12 15v.01',
  plug: 'M9 3v5 M15 3v5 M6 8h12v3a6 6 0 0 1-12 0z M12 17v4',
  tree: 'M5 4v13a2 2 0 0 0 2 2h4 M5 10h6 M14 7h6v6h-6z M14 16h6v5h-6z',
  inbox: 'M4 13l3-8h10l3 8v6H4z M4 13h5a3 3 0 0 0 6 0h5',
  pin: 'M9 3h6l-1 7 4 4H6l4-4z M12 14v7',
  clock: 'M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18 M12 7v5l3.500 2',
  branch: 'M6 4v16 M6 9c0 5 12 1 12 7v4 M18 4v.01 M18 20v.01',
  database: 'M5 6c0-4 14-4 14 0s-14 4-14 0v12c0 4 14 4 14 0V6 M5 12c0 4 14 4 14 0',
  bars: 'M5 20V11 M12 20V4 M19 20v-6',
  snail: 'M4 18h12a5 5 0 1 0-5-5a2.500 2.500 0 0 0 5 0 M4 18c0-3 2-4 3-6 M20 6v4 M17 6v2',
  search: 'M10.500 4a6.500 6.500 0 1 0 0 13a6.500 6.500 0 0 0 0-13 M15.500 15.500L20 20',
  bell: 'M6 17V11a6 6 0 0 1 12 0v6l2 1H4z M10 21h4',
  puzzle: 'M4 8h5a2 2 0 1 1 4 0h5v5a2 2 0 1 1 0 4v4H4z',
  box: 'M4 8l8-4 8 4v9l-8 4-8-4z M4 8l8 4 8-4 M12 12v9',
  key: 'M8 11a4 4 0 1 0 0 8a4 4 0 0 0 0-8 M11 12l9-9 M16 7l3 3',
  ban: 'M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18 M6 6l12 12',
  send: 'M4 12l16-8-5 16-4-7z M11 13l9-9',
  code: 'M8 7l-5 5 5 5 M16 7l5 5-5 5 M14 4l-4 16',
  server: 'M4 4h16v7H4z M4 13h16v7H4z M8 7.500v.01 M8 16.500v.01',
  ear: 'M12 4v9 M8 8a5 5 0 0 1 8 0 M5 6a9 9 0 0 1 14 0 M9 13h6v7H9z',
  app: 'M4 4h7v7H4z M13 13h7v7h-7z M13 4h7v7h-7z M4 13h7v7H4z',
  user: 'M12 4a4 4 0 1 0 0 8a4 4 0 0 0 0-8 M4 21c0-7 16-7 16 0',
  archive: 'M4 4h16v5H4z M5 9v11h14V9 M10 13h4',
  sliders: 'M5 4v16 M12 4v16 M19 4v16 M3 15h4 M10 8h4 M17 13h4',
  list: 'M8 6h12 M8 12h12 M8 18h12 M4 6v.01 M4 12v.01 M4 18v.01',
  copy: 'M9 9h11v11H9z M5 15H4V4h11v1',
  check: 'M5 13l4 4L19 7',
  close: 'M6 6l12 12 M18 6L6 18',
  menu: 'M4 7h16 M4 12h16 M4 17h16',
  sun: 'M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8 M12 3v1 M12 20v1 M3 12h1 M20 12h1 M5.600 5.600l.7.7 M17.700 17.700l.7.7 M5.600 18.400l.7-.7 M17.700 6.300l.7-.7',
  moon: 'M20 14A8.500 8.500 0 0 1 10 4a8.500 8.500 0 1 0 10 10z',
  out: 'M14 4h6v16h-6 M10 8l-4 4 4 4 M6 12h9',
  refresh: 'M20 11a8 8 0 0 0-14.500-4L4 9 M4 4v5h5 M4 13a8 8 0 0 0 14.500 4L20 15 M20 20v-5h-5',
  plus: 'M12 5v14 M5 12h14',
  trash: 'M5 7h14 M9 7V4h6v3 M7 7l1 13h8l1-13 M10 11v5 M14 11v5',
  edit: 'M4 20h4L19 9l-4-4L4 16z M13 7l4 4',
  play: 'M7 4l12 8-12 8z',
  stop: 'M6 6h12v12H6z',
  download: 'M12 4v11 M7 11l5 5 5-5 M4 20h16',
  upload: 'M12 16V5 M7 9l5-5 5 5 M4 20h16',
  next: 'M9 5l7 7-7 7',
  up: 'M5 15l7-7 7 7',
  down: 'M5 9l7 7 7-7',
  previous: 'M15 5l-7 7 7 7',
  warning: 'M12 4L2.500 20h19z M12 10v4 M12 17v.01',
  info: 'M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18 M12 11v5 M12 8v.01',
  language: 'M4 6h9 M8.500 4v2c0 4-2 7-5 8 M6 9c1 3 4 5 6 5 M12 20l4-9 4 9 M13.500 17h5',
  eye: 'M3 12c4-8 14-8 18 0c-4 8-14 8-18 0 M12 9.500a2.500 2.500 0 1 0 0 5a2.500 2.500 0 0 0 0-5',
};

/** An icon by name; it says nothing to a screen reader, the control around it does. */
export const Icon = ({ name, size = 18 }) => html`
  <svg width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.800" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    <path d=${PATHS[name]} />
  </svg>`;

/** The mark of the dashboard. */
export const Mark = ({ size = 28 }) => html`
  <svg width=${size} height=${size} viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" fill="#0b6e75" />
    <g fill="none" stroke="#fff" stroke-width="2.600" stroke-linecap="round">
      <path d="M8 22a8 8 0 0 1 16 0" /><path d="M12.500 22a3.500 3.500 0 0 1 7 0" opacity=".75" /><path d="M16 8.500v.01" stroke-width="4.500" />
    </g>
  </svg>`;
