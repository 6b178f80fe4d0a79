// An address that no page has: of another version, or mistyped.
import { html } from '../lib.js';
import { t } from '../i18n.js';
import { PageHead } from '../components/states.js';
import { Gone } from '../components/gone.js';

export default function Nowhere() {
  return html`<${PageHead} title=${t('shell.nowhere')} /><${Gone} icon="search" title=${t('shell.nowhere')} text=${t('shell.nowhereHint')} to=${['overview']} label=${t('nav.overview')} />`;
}
