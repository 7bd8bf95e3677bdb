// The log: search it, follow it, verify it.

import { change, follow, page } from '../api.js';
import { h, replace } from '../dom.js';
import { count, moment, plural } from '../format.js';
import { badge, button, card, digest, empty, facts, field, form, head, json, paged, reference, select, table, tableRow } from '../view.js';

const PAGE = 50;
/** Lines kept while the log is followed. */
const LINES = 200;
const FILTERS = ['verb', 'resource', 'actor', 'outcome'];

const COLUMNS = [
  { title: 'Number', cell: (event) => h('code', {}, event.seq), class: 'narrow' },
  { title: 'When', cell: (event) => moment(event.at) },
  { title: 'What', cell: (event) => h('strong', { class: 'wrap' }, event.verb) },
  { title: 'Outcome', cell: (event) => badge(event.outcome), class: 'roomy' },
  { title: 'Who', cell: (event) => (event.actor ? reference(`principal/${event.actor}`) : h('span', { class: 'muted' }, 'unknown')), class: 'roomy' },
  { title: 'To what', cell: (event) => reference(event.resource) },
  { title: 'Facts', cell: (event) => h('details', { class: 'facts-fold' }, h('summary', {}, plural(Object.keys(event.facts).length, 'fact')), json({ ...event.facts, request: event.request })), class: 'roomy' },
];

export async function audit({ query, signal }) {
  const asked = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? undefined]));
  const read = (after) => page(['events'], { query: { ...asked, order: 'newest-first', limit: PAGE, after }, signal });
  const first = await read();
  const filter = form([
    field('What', h('input', { name: 'verb', value: asked.verb ?? '', placeholder: 'function. or function.created', spellcheck: 'false', autocapitalize: 'off' })),
    field('To what', h('input', { name: 'resource', value: asked.resource ?? '', placeholder: 'function/regression', spellcheck: 'false', autocapitalize: 'off' })),
    field('Who', h('input', { name: 'actor', value: asked.actor ?? '', spellcheck: 'false', autocapitalize: 'off' })),
    field('Outcome', select('outcome', [['', 'any'], 'allowed', 'denied', 'failed'], asked.outcome ?? '')),
  ], { action: 'Search', class: 'filters', submit: (values) => {
    const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ''));
    const target = `#/audit${kept.size ? `?${kept}` : ''}`;
    if (location.hash === target) location.reload();
    location.hash = target;
  } });
  const list = h('div', {}, paged(first, read, (rows) => table('Events', COLUMNS, rows, { none: empty('No event matches', 'Widen the search.') })));
  return [head('Audit log', { lead: 'Everything that was done or refused, in a chain of hashes that nobody can change unseen.' }),
    card('Verification', {}, verification()),
    card('Events', { actions: [live(list, asked, first.items[0]?.seq ?? 0, signal)] }, filter, list)];
}

function live(list, asked, after, signal) {
  const control = button('Follow', { kind: 'small', 'aria-pressed': 'false', on: { click: () => {
    control.disabled = true;
    control.lastChild.textContent = 'Following';
    control.setAttribute('aria-pressed', 'true');
    follow(['events', 'watch'], { query: asked, after, signal, onEvent: (event) => {
      const body = list.querySelector('tbody');
      if (!body) replace(list, table('Events', COLUMNS, [event]));
      else {
        body.prepend(tableRow(COLUMNS, event));
        body.firstChild.classList.add('fresh');
        while (body.childElementCount > LINES) body.lastChild.remove();
      }
    } }).catch((error) => { control.lastChild.textContent = error.message; });
  } } });
  return control;
}

function verification() {
  return form([field('Anchor', h('input', { name: 'anchor', placeholder: 'NUMBER:HASH', spellcheck: 'false', autocomplete: 'off' }), { hint: 'A signed end of the log that you kept elsewhere; without one, what was cut off at the end is not seen.' })],
    { action: 'Verify the log', class: 'inline', submit: async ({ anchor }) => {
      const result = await change('POST', ['events', 'verify'], anchor.trim() ? { anchor: anchor.trim() } : {});
      return h('div', { class: `verdict ${result.intact ? 'good' : 'bad'}` },
        h('p', {}, badge(result.intact ? 'intact' : 'not intact', result.intact ? 'good' : 'bad'), ` ${count(result.records)} records checked.`),
        result.findings.length > 0 && table('Findings', [{ title: 'Number', cell: (finding) => finding.seq }, { title: 'What', cell: (finding) => badge(finding.what, 'bad') }, { title: 'Detail', cell: (finding) => finding.detail }], result.findings),
        result.head.anchor && facts([['Signed end, to be kept elsewhere', digest(result.head.anchor, { chars: 40 })]]));
    } });
}
