// Who else is in the network of threat intelligence, how far each is believed, and why.

import { get, page, Refused } from '../api.js';
import { sparkline } from '../charts.js';
import { h } from '../dom.js';
import { count, moment, to } from '../format.js';
import { badge, card, digest, empty, facts, head, later, paged, table } from '../view.js';
import { COLUMNS } from './threats.js';

const PAGE = 50;

const score = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));

export async function peers({ signal }) {
  let links;
  try {
    links = await get(['intel', 'peers'], { signal });
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return [head('Peers'), empty('This node takes no part in threat intelligence', 'Switch on the listener `intel` in its configuration.')];
    throw error;
  }
  const columns = [
    { title: 'Peer', cell: (peer) => h('span', {}, h('span', { class: 'wrap' }, peer.name || peer.address), peer.name && peer.name !== peer.address && h('span', { class: 'muted small block' }, peer.address)) },
    { title: 'State', cell: (peer) => h('span', {}, badge(peer.state), ' ', h('span', { class: 'muted small' }, moment(peer.since))) },
    { title: 'Version', cell: (peer) => (peer.version === 2 ? h('span', { class: 'chip' }, '2, TLS') : h('span', { class: 'chip' }, '1, clear text')) },
    { title: 'Score', cell: (peer) => score(peer.score) },
    { title: 'Received', cell: (peer) => `${count(peer.received)}, ${count(peer.accepted)} new, ${count(peer.invalid)} invalid` },
    { title: 'Sent', cell: (peer) => count(peer.sent) },
    { title: 'Problem', cell: (peer) => (peer.ignored ? h('span', { class: 'note bad' }, peer.ignored) : h('span', { class: 'muted' }, 'none')) },
  ];
  const reputations = await page(['intel', 'reputations'], { query: { limit: PAGE }, signal });
  return [
    head('Peers', { lead: 'Links carry events; reporters sign them. A link is judged by what it sends, a reporter by what it says.' }),
    card('Links', {}, table('Links', columns, links, { none: empty('No peers yet', 'Add one with `cryptomesh intel peer add HOST:PORT`.') })),
    card('Reporters', {}, paged(reputations, (after) => page(['intel', 'reputations'], { query: { limit: PAGE, after }, signal }), (rows) => table('Reporters', REPORTERS, rows, { none: empty('Nobody has reported anything', null) })))];
}

const REPORTERS = [
  { title: 'Reporter', cell: (each) => h('a', { href: to('reputations', each.key), title: each.key }, h('code', {}, each.key.slice(0, 16))) },
  { title: 'Organisation', cell: (each) => each.organisation ?? h('span', { class: 'muted' }, 'unknown') },
  { title: 'Standing', cell: (each) => badge(each.standing) },
  { title: 'Score', cell: (each) => score(each.score) },
  { title: 'Over time', cell: (each) => history(each) },
  { title: 'Events', cell: (each) => `${count(each.valid)} valid, ${count(each.invalid)} invalid` },
  { title: 'Last seen', cell: (each) => moment(each.last_seen) },
];

const history = (each) => sparkline('Score', (each.history ?? []).map((point) => [point.at, point.score]), each.mode === 'seed' ? { low: -10, high: 10 } : {});

export async function reputation({ params: [key], signal }) {
  const found = await get(['intel', 'reputations', key], { signal });
  const bad = ['banned', 'distrusted'].includes(found.standing);
  return [
    head(`Reporter ${key.slice(0, 16)}`, { trail: [['Peers', to('peers')]], badge: badge(found.standing) }),
    bad && h('p', { class: 'note bad' }, 'Events of this reporter are not believed. The reasons are below.'),
    h('div', { class: 'columns' },
      card('Score', {}, h('p', { class: 'big-number' }, score(found.score)), history(found), facts([['Rule', found.mode], ['Organisation', found.organisation], ['Valid', count(found.valid)], ['Invalid', count(found.invalid)], ['Borne out by others', count(found.corroborated)], ['Contradicted', count(found.contradicted)], ['First seen', moment(found.first_seen)], ['Last seen', moment(found.last_seen)], ['Key', digest(found.key, { chars: 24 })]])),
      card('Why', { lead: 'What the score is made of.' }, found.reasons.length ? table('Reasons', [{ title: 'What', cell: (reason) => h('span', { class: 'wrap' }, reason.what) }, { title: 'Effect', cell: (reason) => h('span', { class: reason.effect < 0 ? 'negative' : 'positive' }, `${reason.effect > 0 ? '+' : ''}${score(reason.effect)}`) }], found.reasons) : empty('Nothing weighs for or against it', null))),
    card('What it reported', {}, later(page(['intel', 'events'], { query: { reporter: key, order: 'newest-first', limit: 20 }, signal }), ({ items }) => table('Events', COLUMNS, items, { none: empty('No events', null) })))];
}
