// Threat events of the mesh: live, over time, searched, one by one, reported.

import { change, follow, get, page, Refused } from '../api.js';
import { bars, legend, severity, SEVERITIES, timeline } from '../charts.js';
import { h, icon, replace } from '../dom.js';
import { count, moment, to } from '../format.js';
import { badge, button, card, digest, empty, facts, field, form, head, json, later, paged, select, source, table, tableRow, tabs } from '../view.js';

const PAGE = 50;
/** Events that the charts are drawn from. */
const DRAWN = 1000;
const LINES = 200;
const FILTERS = ['source', 'threat_type', 'severity', 'reporter', 'text'];
/** Columns of the timeline. */
const COLUMNS_MAX = 24;
const MINUTE = 60000;
/** Lengths of a column that people can think in. */
const STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 60 * MINUTE, 180 * MINUTE, 360 * MINUTE, 1440 * MINUTE, 7 * 1440 * MINUTE];

const tone = (text) => ({ critical: 'bad', high: 'high', medium: 'warn', low: 'low', info: 'info', other: 'plain' }[severity(text)]);
const severityBadge = (text) => badge(text, tone(text));

export const COLUMNS = [
  { title: 'Source', cell: (event) => h('a', { class: 'wrap', href: to('threats', event.seq) }, event.source_ip || '(none)') },
  { title: 'Type', cell: (event) => h('span', { class: 'wrap' }, event.threat_type) },
  { title: 'Severity', cell: (event) => severityBadge(event.severity) },
  { title: 'Reporter', cell: (event) => reporter(event.reporter) },
  { title: 'Came', cell: (event) => moment(event.received) },
];

const reporter = (key) => h('a', { href: to('reputations', key), title: key }, h('code', {}, key.slice(0, 12)));

export async function threats({ query, signal, reload }) {
  const asked = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? undefined]));
  const read = (after) => page(['intel', 'events'], { query: { ...asked, order: 'newest-first', limit: PAGE, after }, signal });
  let first;
  try {
    first = await read();
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return [head('Threats'), absent()];
    throw error;
  }
  const drawn = page(['intel', 'events'], { query: { ...asked, order: 'newest-first', limit: DRAWN }, signal });
  const list = h('div', {}, paged(first, read, (rows) => table('Threat events', COLUMNS, rows, { none: empty('No threat events', 'What this node detects, and what its peers report, appears here as it comes.') })));
  const charts = h('div', {}, later(drawn, ({ items }) => draw(items), { again: reload }));
  const state = h('p', { class: 'live', role: 'status' }, h('span', { class: 'pulse' }), 'connecting');
  watch({ list, charts, state, asked, seen: [], after: first.items[0]?.seq ?? 0, signal, drawn });
  return [
    head('Threats', { lead: 'Signed warnings of this node and its peers. Only events whose signature holds are kept.', actions: [h('a', { class: 'button primary', href: to('threats', 'report') }, icon('plus'), h('span', {}, 'Report'))] }),
    later(get(['intel', 'status'], { signal }), tiles),
    charts,
    card('Events', { actions: [state] }, search(asked), list),
  ];
}

function absent() {
  return empty('This node takes no part in threat intelligence', 'Switch on the listener `intel` in its configuration.');
}

function tiles(status) {
  const shown = [['links', 'Links open'], ['received', 'Received'], ['accepted', 'Kept'], ['duplicates', 'Heard again'], ['invalid', 'Forged'], ['refused', 'Refused']];
  const present = shown.filter(([name]) => typeof status[name] === 'number');
  return present.length > 0 && h('div', { class: 'tiles' }, present.map(([name, title]) => h('div', { class: 'tile' }, h('span', { class: 'tile-value' }, count(status[name])), h('span', { class: 'tile-name' }, title))));
}

function search(asked) {
  return form([
    field('Text', h('input', { name: 'text', type: 'search', value: asked.text ?? '', spellcheck: 'false' })),
    field('Source', h('input', { name: 'source', value: asked.source ?? '', spellcheck: 'false', autocapitalize: 'off' })),
    field('Type', h('input', { name: 'threat_type', value: asked.threat_type ?? '', spellcheck: 'false', autocapitalize: 'off' })),
    field('Severity', h('input', { name: 'severity', value: asked.severity ?? '', list: 'severities', spellcheck: 'false' })),
    h('datalist', { id: 'severities' }, SEVERITIES.slice(0, -1).map((name) => h('option', { value: name }))),
    field('Reporter', h('input', { name: 'reporter', value: asked.reporter ?? '', spellcheck: 'false', autocapitalize: 'off' })),
  ], { action: 'Search', class: 'filters', more: [h('a', { class: 'button', href: to('threats') }, 'All')], submit: (values) => {
    const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ''));
    location.hash = `#/threats${kept.size ? `?${kept}` : ''}`;
  } });
}

/** New events go on top of the list and into the charts. */
function watch({ list, charts, state, asked, after, signal, drawn }) {
  let all = [];
  let redraw = null;
  drawn.then(({ items }) => { all = [...all, ...items].slice(0, DRAWN); }, () => {});
  follow(['intel', 'events', 'watch'], { query: asked, after, signal, onState: (up) => {
    state.classList.toggle('up', up);
    state.lastChild.textContent = up ? 'live' : 'not connected, trying again';
  }, onEvent: (event) => {
    all = [event, ...all].slice(0, DRAWN);
    const body = list.querySelector('tbody');
    if (!body) replace(list, table('Threat events', COLUMNS, [event]));
    else {
      body.prepend(tableRow(COLUMNS, event));
      body.firstChild.classList.add('fresh');
      while (body.childElementCount > LINES) body.lastChild.remove();
    }
    // A flood of events is drawn twice a second.
    redraw ??= setTimeout(() => { redraw = null; if (!signal.aborted) replace(charts, draw(all)); }, 500);
  } }).catch((error) => state.replaceChildren('not followed: ', error.message));
}

function tally(events, of) {
  const counts = new Map();
  for (const event of events) counts.set(of(event), (counts.get(of(event)) ?? 0) + 1);
  return [...counts].toSorted(([, a], [, b]) => b - a);
}

function draw(events) {
  if (events.length === 0) return null;
  const bySeverity = new Map(tally(events, (event) => severity(event.severity)));
  return [
    card('Over time', { lead: events.length >= DRAWN ? `The last ${count(DRAWN)} events.` : undefined }, legend(), overTime(events)),
    h('div', { class: 'columns' },
      card('Severity', {}, bars('Events by severity', SEVERITIES.filter((name) => bySeverity.has(name)).map((name) => [name, bySeverity.get(name), name]))),
      card('Type', {}, bars('Events by type', tally(events, (event) => event.threat_type).slice(0, 6)))),
  ];
}

function overTime(events) {
  const times = events.map((event) => Date.parse(event.received));
  const end = Math.max(Date.now(), ...times);
  const span = Math.max(MINUTE, end - Math.min(...times));
  const step = STEPS.find((length) => span / length <= COLUMNS_MAX - 1) ?? STEPS.at(-1);
  const columns = Math.min(COLUMNS_MAX, Math.max(8, Math.ceil(span / step) + 1));
  const start = Math.floor(end / step) * step - (columns - 1) * step;
  const buckets = Array.from({ length: columns }, (_, index) => ({ start: start + index * step, counts: {} }));
  events.forEach((event, index) => {
    const bucket = buckets[Math.floor((times[index] - start) / step)];
    if (bucket) bucket.counts[severity(event.severity)] = (bucket.counts[severity(event.severity)] ?? 0) + 1;
  });
  const format = new Intl.DateTimeFormat('en-GB', step >= 1440 * MINUTE ? { day: '2-digit', month: 'short' } : { hour: '2-digit', minute: '2-digit' });
  return timeline('Events over time, by severity', buckets, (bucket) => format.format(bucket.start));
}

export async function threat({ params: [seq], signal }) {
  const event = await get(['intel', 'events', seq], { signal });
  const trail = [['Threats', to('threats')]];
  return [
    head(event.source_ip || 'Event', { trail, badge: severityBadge(event.severity), lead: event.threat_type }),
    h('div', { class: 'columns' },
      card('Event', {}, facts([['Source', h('code', { class: 'wrap' }, event.source_ip)], ['Type', h('span', { class: 'wrap' }, event.threat_type)], ['Severity', severityBadge(event.severity)],
        ['Said to have happened', h('span', { class: 'wrap' }, event.timestamp)], ['Marking', event.tlp && h('span', { class: 'chip' }, `TLP:${event.tlp.toUpperCase()}`)], ['Id', digest(event.id, { chars: 20 })]])),
      card('How it came', {}, facts([['Number', event.seq], ['Came', moment(event.received, { exact: true })], ['From', h('span', { class: 'wrap' }, event.origin)], ['Reporter', digest(event.reporter, { chars: 20 })],
        ['Standing', h('span', {}, badge(event.standing), ' ', h('a', { href: to('reputations', event.reporter) }, 'why'))]]))),
    verification(event),
    card('Forms', {}, tabs('Forms of the event', [
      ['STIX 2.1', () => later(get(['intel', 'events', seq, 'stix'], { signal }), (bundle) => json(bundle, { label: 'STIX bundle' }))],
      ['MISP', () => later(get(['intel', 'events', seq, 'misp'], { signal }), (exported) => json(exported, { label: 'Event of MISP' }))],
      ['Key', () => source(event.reporter_pubkey, { label: 'Key' })],
      ['Signature', () => source(event.signature, { label: 'Signature' })],
      ['JSON', () => json(event)],
    ])),
  ];
}

/** The text that is signed: Python's `json.dumps(fields, sort_keys=True)`, which escapes all but printable ASCII. */
export function canonical(event) {
  const quoted = (text) => JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `{${['id', 'reporter_pubkey', 'severity', 'source_ip', 'threat_type', 'timestamp'].map((name) => `"${name}": ${quoted(event[name])}`).join(', ')}}`;
}

function verification(event) {
  const box = h('div', { 'aria-live': 'polite' });
  const ask = button('Verify here', { kind: 'primary', symbol: 'instances', on: { click: async () => {
    ask.disabled = true;
    replace(box, await judged(event));
    ask.disabled = false;
  } } });
  return card('Signature', { actions: [ask], lead: 'The node checked it before it kept the event. This page can check it again, with the key that the event names.' }, box);
}

/** Salt of the signatures: the longest that a key of 2048 bits has room for. */
const SALT_BYTES = 222;

async function judged(event) {
  if (!crypto.subtle) return h('p', { class: 'note warn' }, 'Browsers check signatures on HTTPS and on localhost only.');
  try {
    const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const key = await crypto.subtle.importKey('spki', bytes(event.reporter_pubkey.replace(/-----[^-]+-----|\s/g, '')), { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['verify']);
    const holds = await crypto.subtle.verify({ name: 'RSA-PSS', saltLength: SALT_BYTES }, key, bytes(event.signature), new TextEncoder().encode(canonical(event)));
    return h('p', {}, badge(holds ? 'holds' : 'does not hold', holds ? 'good' : 'bad'), holds ? ' This key signed exactly this event.' : ' The event is not what this key signed.');
  } catch (error) {
    return h('p', { class: 'note warn' }, `This browser cannot check it: ${error.message}`);
  }
}

export async function report() {
  const make = form([
    field('Source', h('input', { name: 'source_ip', required: true, maxlength: 256, spellcheck: 'false', autocapitalize: 'off', placeholder: '203.0.113.7' }), { hint: 'The address that the threat comes from.' }),
    field('Type', h('input', { name: 'threat_type', required: true, maxlength: 256, list: 'types', placeholder: 'Port Scan' })),
    h('datalist', { id: 'types' }, ['Port Scan', 'SSH Brute Force', 'SQL Injection', 'DDoS', 'Malware', 'Phishing', 'Command and Control', 'Data Exfiltration'].map((value) => h('option', { value }))),
    field('Severity', select('severity', [['Low', 'Low'], ['Medium', 'Medium'], ['High', 'High'], ['Critical', 'Critical']], 'Medium')),
    field('Marking', select('tlp', [['clear', 'TLP:CLEAR, for everybody'], ['green', 'TLP:GREEN, for the community'], ['amber', 'TLP:AMBER, for organisations that need it'], ['red', 'TLP:RED, for nobody else']], 'green'), { hint: 'Says how far peers may pass it on.' }),
  ], { action: 'Sign and share', submit: async (values) => {
    const event = await change('POST', ['intel', 'events'], values);
    return h('div', { class: 'verdict good' }, h('p', {}, badge('shared', 'good'), ' Signed with this node’s key, kept, and on its way to the peers. ', h('a', { href: to('threats', event.seq) }, 'Show it')));
  } });
  return [head('Report a threat', { trail: [['Threats', to('threats')]], lead: 'Your node signs the event. Peers check the signature and weigh it by this node’s reputation.' }), card('What was seen', {}, make)];
}

