// What there is and what happens.

import { follow, get, page, Refused } from '../api.js';
import { append, h, icon } from '../dom.js';
import { count, plural, to } from '../format.js';
import { badge, card, digest, empty, facts, head, later, reference, source } from '../view.js';
import { moment } from '../format.js';

/** Recent events on this page. */
const EVENTS = 12;
/** Counted at most; more are "1000+". */
const COUNTED = 1000;

const TILES = [
  ['services', 'Services', 'catalogue', ['catalogue']],
  ['functions', 'Functions', 'functions', ['functions']],
  ['instances', 'Instances', 'instances', ['instances']],
  ['buckets', 'Buckets', 'buckets', ['buckets']],
  ['endpoints', 'Endpoints', 'peers', ['catalogue']],
  ['principals', 'Principals', 'people', ['access']],
];

export async function overview({ signal }) {
  const tile = ([kind, title, symbol, target]) => {
    const value = h('span', { class: 'tile-value' }, '…');
    page([kind], { query: { limit: COUNTED }, signal }).then(
      ({ items, next }) => { value.textContent = next === null ? count(items.length) : `${count(items.length)}+`; },
      () => { value.textContent = '–'; value.title = 'You may not list these'; });
    return h('a', { class: 'tile', href: to(...target) }, icon(symbol), value, h('span', { class: 'tile-name' }, title));
  };
  return [
    head('Overview', { lead: 'What this node carries, and what happens on it now.' }),
    h('div', { class: 'tiles' }, TILES.map(tile)),
    h('div', { class: 'columns wide-left' },
      card('Now', { actions: [h('a', { class: 'button small', href: to('audit') }, 'Audit log')] }, later(page(['events'], { query: { order: 'newest-first', limit: EVENTS }, signal }), (recent) => feed(recent.items, signal))),
      h('div', { class: 'stack' },
        card('This node', {}, later(get(['node'], { signal }), node)),
        card('Log', {}, later(get(['events', 'head'], { signal }), log)))),
  ];
}

function feed(recent, signal) {
  const list = h('ol', { class: 'feed', 'aria-label': 'Recent events, newest first' });
  const line = (event) => h('li', { class: 'feed-line' }, h('span', { class: `dot ${event.outcome === 'allowed' ? 'good' : 'bad'}` }), h('div', {}, h('p', {}, h('strong', {}, event.verb), ' ', event.outcome !== 'allowed' && badge(event.outcome)),
    h('p', { class: 'muted small' }, event.actor ?? 'somebody unknown', event.resource && [' · ', reference(event.resource)])), h('span', { class: 'muted small nowrap' }, moment(event.at)));
  append(list, recent.map(line));
  const state = h('p', { class: 'live', role: 'status' }, h('span', { class: 'pulse' }), 'connecting');
  const after = recent[0]?.seq ?? 0;
  follow(['events', 'watch'], { after, signal, onState: (up) => {
    state.classList.toggle('up', up);
    state.lastChild.textContent = up ? 'live' : 'not connected, trying again';
  }, onEvent: (event) => {
    list.prepend(line(event));
    list.firstChild.classList.add('fresh');
    while (list.childElementCount > EVENTS) list.lastChild.remove();
  } }).catch((error) => {
    if (error instanceof Refused) state.replaceChildren('not followed: ', error.message);
  });
  return [state, list];
}

function node(view) {
  return [facts([['Name', view.name], ['Version', view.version], ['Measurement', digest(view.measurement)]]),
    h('details', {}, h('summary', {}, 'Verifying key'), source(view.verifying_key.trim(), { label: 'Key' }),
      h('p', { class: 'muted small' }, 'A verifier takes the key from elsewhere: a liar would say its own.'))];
}

function log(headOf) {
  if (!headOf.anchor) return empty('Empty', 'Nothing has happened yet.');
  return [facts([['Events', plural(headOf.seq, 'event')], ['Signed end', digest(headOf.anchor)]]),
    h('p', { class: 'muted small' }, 'Keep the signed end elsewhere: with it, nobody can cut the log unseen.')];
}

