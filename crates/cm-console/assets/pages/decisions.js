// Explains how a decision would go, without doing anything.

import { change, page } from '../api.js';
import { h, icon } from '../dom.js';
import { badge, card, field, form, head, select } from '../view.js';

const ACTIONS = ['read', 'list', 'create', 'update', 'delete', 'invoke', 'grant'];

export async function decisions({ query, signal, me }) {
  const known = await page(['principals'], { query: { limit: 1000 }, signal }).then(({ items }) => items.map((each) => each.id), () => []);
  const names = h('datalist', { id: 'principals' }, known.map((id) => h('option', { value: id })));
  const ask = form([
    field('Who', h('input', { name: 'principal', list: 'principals', required: true, value: query.get('principal') ?? me.principal, spellcheck: 'false', autocapitalize: 'off' })),
    field('does what', select('action', ACTIONS, query.get('action') ?? 'read')),
    field('to which', h('input', { name: 'resource', required: true, value: query.get('resource') ?? '', placeholder: 'function/regression', spellcheck: 'false', autocapitalize: 'off' }), { hint: 'KIND/ID, or KIND/* for the collection.' }),
  ], { action: 'Explain', class: 'filters', submit: async (question) => answer(question, await change('POST', ['decisions'], question)) });
  return [head('Decisions', { lead: 'Ask whether somebody may do something, and why. Nothing is done.' }), card('Question', {}, names, ask)];
}

function answer({ principal, action, resource }, { allowed, reasons }) {
  return h('div', { class: `verdict ${allowed ? 'good' : 'bad'}` },
    h('p', { class: 'verdict-line' }, icon(allowed ? 'check' : 'cross'), h('strong', {}, principal), allowed ? ' may ' : ' may not ', action, ' ', h('code', { class: 'wrap' }, resource), ' ', badge(allowed ? 'allowed' : 'denied')),
    h('ol', { class: 'reasons' }, reasons.map((reason) => h('li', {}, reason))));
}
