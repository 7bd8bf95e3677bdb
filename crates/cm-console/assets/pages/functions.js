// Functions, their runs and what those went through.

import { download, address, get, page } from '../api.js';
import { h } from '../dom.js';
import { bytes, count, moment, to } from '../format.js';
import { badge, card, digest, empty, facts, head, header, json, later, paged, reference, table, tabs } from '../view.js';
import { history, remover } from './catalogue.js';

const PAGE = 50;
/** Runs whose states are drawn. */
const RUNS = 200;

export async function functions({ signal }) {
  const query = { limit: PAGE, order: 'newest-first' };
  const first = await page(['functions'], { query, signal });
  const columns = [
    { title: 'Name', cell: (each) => h('a', { class: 'wrap', href: to('functions', each.id) }, each.name) },
    { title: 'Executor', cell: (each) => h('span', { class: 'chip' }, each.executor) },
    { title: 'State', cell: (each) => badge(each.deployment_status) },
    { title: 'Microservice', cell: (each) => (each.microservice_id ? reference(`microservice/${each.microservice_id}`) : h('span', { class: 'muted' }, '–')) },
    { title: 'Created', cell: (each) => moment(each.created_at) },
  ];
  return [head('Functions', { lead: 'What can be computed, and how the data is protected while it runs.' }),
    card('All functions', {}, paged(first, (after) => page(['functions'], { query: { ...query, after }, signal }), (rows) => table('Functions', columns, rows,
      { none: empty('No functions yet', 'Register one with `cryptomesh function register POLICY.json --program NAME=FILE`.') })))];
}

export async function oneFunction({ params: [id], signal }) {
  const found = await get(['functions', id], { signal });
  const confidential = found.executor === 'confidential';
  return [
    head(found.name, { trail: [['Functions', to('functions')]], badge: badge(found.deployment_status), lead: found.description, actions: [remover('functions', 'function', found, { after: to('functions') })] }),
    h('div', { class: 'columns' },
      card('What it is', {}, facts([['Executor', h('span', { class: 'chip' }, found.executor)], ['Image', found.image && h('code', { class: 'wrap' }, found.image)],
        ['Microservice', found.microservice_id && reference(`microservice/${found.microservice_id}`)], ['Endpoint', found.endpoint_id && reference(`endpoint/${found.endpoint_id}`)],
        ['Active object', found.active_object_id && reference(`active-object/${found.active_object_id}`)], ['Processors', found.resources?.cpu], ['Memory', found.resources?.ram],
        ['Security policy', typeof found.security_policy === 'string' ? reference(`security-policy/${found.security_policy}`) : found.security_policy && json(found.security_policy)]])),
      card('Record', {}, facts(header(found)))),
    card('Runs', { lead: 'Each run with every state that it went through, and what it came to.' }, later(runs(id, signal), showRuns)),
    card('More', {}, tabs('More of the function', [
      ...(confidential ? [['Programs', () => files(id, 'programs', signal)], ['Data files', () => files(id, 'data-files', signal)],
        ['Policy', () => (found.confidential ? json(typeof found.confidential.policy === 'string' ? parsed(found.confidential.policy) : found.confidential.policy, { label: 'Policy' }) : empty('No policy', null))]] : []),
      ['Events', () => history(`function/${id}`, signal)],
      ['JSON', () => json(found)],
    ])),
  ];
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** States and results, by the instance and the run that they belong to. */
async function runs(id, signal) {
  const query = { limit: RUNS, order: 'newest-first' };
  const [states, results] = await Promise.all([page(['functions', id, 'states'], { query, signal }), page(['functions', id, 'results'], { query, signal })]);
  const all = new Map();
  const of = (entry) => {
    const key = `${entry.instance_id ?? ''}/${entry.metadata?.run ?? ''}`;
    if (!all.has(key)) all.set(key, { instance: entry.instance_id, run: entry.metadata?.run, states: [], results: [] });
    return all.get(key);
  };
  for (const state of states.items.toReversed()) of(state).states.push(state);
  for (const result of results.items) of(result).results.push(result);
  const last = (run) => run.states.at(-1)?.created_at ?? run.results[0]?.created_at ?? '';
  return { runs: [...all.values()].toSorted((a, b) => last(b).localeCompare(last(a))), more: states.next !== null || results.next !== null };
}

function showRuns({ runs: found, more }) {
  if (found.length === 0) return empty('It has not run yet', 'Runs appear here with every state they go through.');
  const columns = [
    { title: 'Run', cell: (run) => (run.instance ? h('span', {}, reference(`instance/${run.instance}`), run.run && h('span', { class: 'muted' }, ` run ${run.run}`)) : h('span', { class: 'muted' }, 'without an instance')) },
    { title: 'States', cell: (run) => h('ol', { class: 'states' }, run.states.map((state) => h('li', {}, badge(state.state), h('span', { class: 'muted small' }, moment(state.created_at))))) },
    { title: 'Result', cell: (run) => (run.results.length === 0 ? h('span', { class: 'muted' }, '–') : run.results.map((result) => h('div', {}, badge(result.metadata.outcome ?? result.name), ' ',
      h('span', { class: 'muted small' }, [result.metadata.exit_code !== undefined && `exit ${result.metadata.exit_code}`, result.metadata.wall_ms !== undefined && `${result.metadata.wall_ms} ms`].filter(Boolean).join(', '))))) },
  ];
  return [table('Runs', columns, found), more && h('p', { class: 'muted small' }, `The last ${count(RUNS)} states are shown.`)];
}

function files(id, kind, signal) {
  const columns = [
    { title: 'Name', cell: (file) => h('code', { class: 'wrap' }, file.name) },
    { title: 'Size', cell: (file) => bytes(file.size) },
    { title: 'SHA-256', cell: (file) => digest(file.sha256, { chars: 16 }) },
    { title: '', cell: (file) => (file.size === null ? h('span', { class: 'muted' }, 'not uploaded') : download(address(['functions', id, kind, file.name]), file.name, 'Download')) },
  ];
  return later(get(['functions', id, kind], { signal }), (found) => table(kind, columns, found, { none: empty(kind === 'programs' ? 'No programs' : 'No data files', null) }));
}
